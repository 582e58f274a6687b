"""Writing a scan's folder, part by part, so that an interrupted scan goes on from the parts that are finished."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlmm.api.scan_task import Unit
from jaxlmm.engine import Keeper, Pairs
from jaxlmm.errors import OptionError, ResumeError
from jaxlmm.results import FitMany, Scan, ScanHeader
from jaxlmm.results.scan_folder import KIND, MANIFEST, NULL, VERSION, load_scan, read_manifest, write_null

UNFINISHED = "unfinished"
"""The folder within, of what is known of finished parts; gone when all are."""

PART_ROWS = 2**20
"""The most rows of a file."""

PART_PAIRS = {"one ratio": 2**20, "null": 2**16, "refit": 2**11}
"""Pairs of a part, by how they are tested: at most a few minutes of work."""


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """The folder of one scan.

    Files ``part-*.parquet`` hold the table. Where some pairs are kept out of all, they are written at the end, and
    each part's own are among what is unfinished.
    """

    path: Path

    @classmethod
    def claimed(cls, out: Any, resume: bool) -> Folder:
        """Take a folder before anything is computed.

        Raises
        ------
        OptionError
            If there is something else, or a scan that is not to be gone on with.
        DataError
            If its scan is of another version of the layout.
        """
        path = Path(out)
        if path.exists() and not path.is_dir():
            raise OptionError(f"out: expected a folder, got {path}, which is a file.")
        if path.is_dir() and any(file != _beside(path / MANIFEST) for file in path.iterdir()):
            if not (path / MANIFEST).is_file():
                raise OptionError(f"out: expected a new or an empty folder, got {path}, which holds something else.")
            if not resume:
                raise OptionError(
                    f"out: {path} holds a scan, which is never overwritten: go on with it by resume=True, delete it, "
                    "or name another folder."
                )
            read_manifest(path)
        return cls(path)

    def begin(self, digests: dict[str, str], n_parts: int) -> Scan | None:
        """Write down which scan it is, or check that it is the one that is there; return that if it is finished.

        Raises
        ------
        ResumeError
            If it is another one.
        """
        if not (self.path / MANIFEST).exists():  # the first file, so that whatever stops it, the folder is known again
            self.path.mkdir(parents=True, exist_ok=True)
            self._write({"finished": False, "digests": digests, "n_parts": n_parts})
        record = read_manifest(self.path)
        other = [name for name, digest in digests.items() if record["digests"].get(name) != digest]
        if other or record["n_parts"] != n_parts:
            raise ResumeError(
                f"resume: expected the scan that {self.path} was begun with, got one in which other than there are: "
                f"{', '.join(other) or 'the parts'}. Scan into another folder, or delete this one."
            )
        if record["finished"]:
            return load_scan(self.path)
        (self.path / UNFINISHED).mkdir(exist_ok=True)
        return None

    def is_done(self, number: int) -> bool:
        """Whether a part is finished."""
        return self._part(number).exists()

    def put(self, number: int, keeper: Keeper, untested: dict[int, str], table: Callable[[Pairs], Any]) -> None:
        """Write a part: its rows if all pairs are kept, and what is known of it, last."""
        pairs, n_rows = keeper.finish(), 0
        if keeper.everything and pairs is not None:
            n_rows = pairs.marker.size
            _in_place(self.path / part_name(number), lambda path: table(pairs).to_parquet(path, index=False))
        kept = {} if pairs is None or keeper.everything else pairs._asdict()
        known: dict[str, Any] = {
            "counts": keeper.tally.counts, "lowest": keeper.tally.lowest, "n_rows": np.int64(n_rows),
            "untested": np.array(json.dumps({str(place): reason for place, reason in untested.items()})),
        }  # fmt: skip

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez_compressed(file, **known, **kept)

        _in_place(self._part(number), write)

    def take(self, number: int, keeper: Keeper) -> tuple[dict[int, str], int]:
        """Hand what a finished part kept to a keeper; return the untested responses, and the rows of its file."""
        with np.load(self._part(number), allow_pickle=False) as known:
            keeper.tally.merge(known["counts"], known["lowest"])
            if "marker" in known:
                keeper.add(Pairs(*(known[name] for name in Pairs._fields)))
            untested = {int(place): reason for place, reason in json.loads(str(known["untested"])).items()}
            return untested, int(known["n_rows"])

    def finish(
        self, header: ScanHeader, null: FitMany | dict[str, FitMany], files: dict[str, int], digests: dict[str, str],
        n_parts: int,
    ) -> Scan:  # fmt: skip
        """Write the fits without a marker and the manifest, and let go of what was unfinished."""
        _in_place(self.path / NULL, lambda path: write_null(null, path))
        record = dataclasses.asdict(header)
        self._write(
            {"finished": True, "digests": digests, "n_parts": n_parts, "files": files, "header": record}
        )  # fmt: skip
        shutil.rmtree(self.path / UNFINISHED)
        return load_scan(self.path)

    def put_rows(self, pairs: Pairs, table: Callable[[Pairs], Any]) -> dict[str, int]:
        """Write rows in files of a size that fits into memory; return these."""
        files = {}
        for number, first in enumerate(range(0, max(pairs.marker.size, 1), PART_ROWS)):
            some = table(pairs.at(np.arange(first, min(first + PART_ROWS, pairs.marker.size))))
            _in_place(self.path / part_name(number), functools.partial(some.to_parquet, index=False))
            files[part_name(number)] = len(some)
        return files

    def _write(self, record: dict[str, Any]) -> None:
        text = json.dumps({"kind": KIND, "version": VERSION, **record}, indent=1, allow_nan=False)
        _in_place(self.path / MANIFEST, lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def _part(self, number: int) -> Path:
        return self.path / UNFINISHED / f"part-{number:05d}.npz"


def planned(units: Sequence[Unit], limit: int, size: int) -> list[list[Unit]]:
    """Return units in parts of about ``limit`` pairs, larger ones divided at multiples of ``size`` markers.

    >>> parts = planned([Unit(0, 0, 0, 2, 0, 100), Unit(0, 1, 0, 1, 0, 100)], limit=150, size=64)
    >>> [[(unit.pattern, unit.start, unit.stop) for unit in part] for part in parts]
    [[(0, 0, 64), (0, 64, 100)], [(1, 0, 100)]]
    """
    parts: list[list[Unit]] = [[]]
    for unit in units:
        step = max(limit // (size * (unit.last - unit.first)), 1) * size
        for start in range(unit.start, unit.stop, step):
            if sum(one.n_pairs for one in parts[-1]) >= limit:
                parts.append([])
            parts[-1].append(unit._replace(start=start, stop=min(start + step, unit.stop)))
    return parts


def part_name(number: int) -> str:
    """Return the name of the file of a part's rows."""
    return f"part-{number:05d}.parquet"


def _in_place(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    write(_beside(path))
    os.replace(_beside(path), path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
