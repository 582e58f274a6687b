"""Writing a scan's folder, part by part, so that an interrupted scan goes on from the parts that are finished."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxlmm._util import PARTIAL, NumpyArray, write_text, write_whole, writing
from jaxlmm.errors import DataError, OptionError, ResumeError
from jaxlmm.results import FitMany
from jaxlmm.scanning.checkpoint.lock import LOCK, check_free, held
from jaxlmm.scanning.kernels import PairFilter, Pairs
from jaxlmm.scanning.output import (
    KIND,
    MANIFEST,
    NULL,
    VERSION,
    Scan,
    ScanHeader,
    broken,
    damaged,
    part_name,
    read_manifest,
    scan_of,
    sealed,
    write_null,
)

UNFINISHED = "unfinished"
"""The folder within, of what is known of finished parts; gone when all are."""

PART_ROWS = 2**20
"""The most rows of a file."""

DIGEST = 16
"""Bytes of the digest at the end of what is known of a part."""


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """The folder of one scan, which ``scan`` tells from others once it has :meth:`begun <begin>`.

    Files ``part-*.parquet`` hold the table. Where some pairs are kept out of all, they are written at the end, and
    each part's own are among what is unfinished.
    """

    path: Path
    scan: str = ""

    @classmethod
    @contextlib.contextmanager
    def claimed(cls, out: Any, resume: bool) -> Iterator[Folder]:
        """Hold a folder for this process, before anything is computed; a new one without a scan is taken away again.

        Raises
        ------
        OptionError
            If there is something else, or a scan that is not to be gone on with.
        DataError
            If its scan is of another version of the layout, or its manifest is damaged.
        ResumeError
            If another process is at work there.
        OutputError
            If nothing can be written there.
        """
        path = Path(out)
        if path.exists() and not path.is_dir():
            raise OptionError(f"out: expected a folder, got {path}, which is a file.")
        if path.is_dir():
            check_free(path)
            if _check_there(path, resume) and not os.access(path, os.W_OK):  # if nothing is damaged, nothing is written
                yield cls(path)
                return
        with writing(path):
            new = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
        try:
            with held(path):
                yield cls(path)
        finally:
            with contextlib.suppress(OSError):  # that are not empty
                for folder in new:
                    folder.rmdir()

    def begin(self, digests: dict[str, str], n_parts: int) -> tuple[Folder, dict[str, Any]]:
        """Write down which scan it is, or check that it is the one that is there; return the manifest.

        Raises
        ------
        ResumeError
            If it is another one.
        """
        with writing(self.path):
            for left in (*self.path.glob(f"{PARTIAL}*"), *self.path.glob(f"{UNFINISHED}/{PARTIAL}*")):
                left.unlink()
        if not (self.path / MANIFEST).exists():  # the first file, so that whatever stops it, the folder is known again
            self.start(digests, n_parts)
        record = read_manifest(self.path)
        other = [name for name, digest in digests.items() if record["digests"].get(name) != digest]
        if other or record["n_parts"] != n_parts:
            raise ResumeError(
                f"resume: expected the scan that {self.path} was begun with, got one in which other than there are: "
                f"{', '.join(other) or 'the parts'}. Scan into another folder, or delete this one."
            )
        if not record["finished"]:
            with writing(self.path):
                (self.path / UNFINISHED).mkdir(exist_ok=True)
        else:
            self._let_go()
        scan = hashlib.blake2b(json.dumps([digests, n_parts], sort_keys=True).encode(), digest_size=DIGEST).hexdigest()
        return dataclasses.replace(self, scan=scan), record

    def start(self, digests: dict[str, str], n_parts: int) -> None:
        """Write down that a scan is begun."""
        self._write({"finished": False, "digests": digests, "n_parts": n_parts})

    def done(self, n_parts: int) -> set[int]:
        """Return the numbers of the parts that are finished, and whose files are what was written."""
        return {number for number in range(n_parts) if self._known(number) is not None}

    def put(self, number: int, keep: PairFilter, untested: dict[int, str], table: Callable[[Pairs], Any]) -> None:
        """Write a part: its rows if all pairs are kept, and what is known of it, last."""
        pairs, n_rows = keep.finish(), 0
        seal: list[Any] = [0, ""]
        if keep.everything and pairs is not None:
            n_rows, seal = pairs.marker.size, self.put_file(number, pairs, table)
        kept = {} if pairs is None or keep.everything else pairs._asdict()
        known: dict[str, Any] = {
            "scan": np.array(self.scan), "part": np.int64(number), "counts": keep.counts.counts,
            "lowest": keep.counts.lowest, "n_rows": np.int64(n_rows), "size": np.int64(seal[0]),
            "checksum": np.array(seal[1]),
            "untested": np.array(json.dumps({str(place): reason for place, reason in untested.items()})),
        }  # fmt: skip
        held = io.BytesIO()
        np.savez_compressed(held, **known, **kept)
        content = held.getvalue()
        write_whole(self._part(number), lambda path: path.write_bytes(content + _digest(content)))

    def put_file(self, number: int, pairs: Pairs, table: Callable[[Pairs], Any]) -> list[Any]:
        """Write rows to a file of their own; return its seal."""
        path, rows = self.path / part_name(number), table(pairs)
        write_whole(path, lambda aside: aside.write_bytes(rows.to_parquet(index=False)))
        return sealed(path)

    def take(self, number: int, keep: PairFilter) -> tuple[dict[int, str], int, list[Any]]:
        """Hand what a finished part kept to a filter.

        Returns the untested responses, and the rows of its file with its seal.
        """
        known = self._known(number)
        if known is None:
            raise DataError(
                f"{self.path}: part {number} was finished, and has been changed since; go on with the same call and "
                "resume=True."
            )
        keep.counts.merge(known["counts"], known["lowest"])
        if "marker" in known:
            keep.add(Pairs(*(known[name] for name in Pairs._fields)))
        untested = {int(place): reason for place, reason in json.loads(str(known["untested"])).items()}
        return untested, int(known["n_rows"]), _seal_of(known)

    def put_rows(self, pairs: Pairs, table: Callable[[Pairs], Any]) -> dict[str, tuple[int, list[Any]]]:
        """Write rows in files of a size that fits into memory; return their numbers of rows and seals by name."""
        files = {}
        for number, first in enumerate(range(0, max(pairs.marker.size, 1), PART_ROWS)):
            some = pairs.at(np.arange(first, min(first + PART_ROWS, pairs.marker.size)))
            files[part_name(number)] = some.marker.size, self.put_file(number, some, table)
        return files

    def finish(
        self,
        header: ScanHeader,
        null: FitMany | dict[str, FitMany],
        files: dict[str, tuple[int, list[Any]]],
        digests: dict[str, str],
        n_parts: int,
    ) -> Scan:
        """Write the fits without a marker and, when all else is on the disk, that the scan is finished."""
        record = {
            "digests": digests,
            "n_parts": n_parts,
            "files": {name: rows for name, (rows, _) in files.items()},
            "checksums": {**{name: seal for name, (_, seal) in files.items()}, NULL: self.put_null(null)},
            "header": dataclasses.asdict(header),
        }
        return self.write_finished(record)

    def put_null(self, null: FitMany | dict[str, FitMany]) -> list[Any]:
        """Write the fits without a marker; return the file's seal."""
        write_whole(self.path / NULL, lambda path: write_null(null, path))
        return sealed(self.path / NULL)

    def write_finished(self, record: dict[str, Any]) -> Scan:
        """Write the manifest of a finished scan, and let go of what was unfinished.

        Raises
        ------
        DataError
            If a file is not what the manifest says; then the scan is not finished.
        """
        wrong = damaged(self.path, record)
        if wrong:
            raise DataError(
                f"{self.path}: expected the files that were written, got {', '.join(wrong.values())}; go on with the "
                "same call and resume=True."
            )
        self._write({**record, "finished": True})
        self._let_go()
        return scan_of(self.path, read_manifest(self.path))

    def without_copies(self, record: dict[str, Any], wrong: dict[str, str]) -> dict[str, str]:
        """Take away copies of files under names that the manifest does not list; return what else is wrong.

        Raises
        ------
        DataError
            If such a file is no copy.
        """
        listed = {*record["files"], NULL}
        for name in wrong.keys() - listed:
            if sealed(self.path / name) not in record.get("checksums", {}).values():
                raise DataError(f"{self.path}: expected the files of its manifest, got {wrong[name]}.")
            with writing(self.path):
                (self.path / name).unlink()
        return {name: what for name, what in wrong.items() if name in listed}

    def _known(self, number: int) -> dict[str, NumpyArray] | None:
        """Return what is known of a part; None if it is not finished, or not what was written."""
        try:
            content = self._part(number).read_bytes()
        except OSError:
            return None
        if content[-DIGEST:] != _digest(content[:-DIGEST]):
            return None
        try:
            with np.load(io.BytesIO(content[:-DIGEST]), allow_pickle=False) as file:
                known = dict(file)
            if str(known["scan"]) != self.scan or int(known["part"]) != number:
                return None
            rows, path = int(known["n_rows"]), self.path / part_name(number)
            return None if rows and broken(path, _seal_of(known)) else known
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None

    def _let_go(self) -> None:
        with writing(self.path):
            if (self.path / UNFINISHED).exists():
                shutil.rmtree(self.path / UNFINISHED)

    def _write(self, record: dict[str, Any]) -> None:
        text = json.dumps({"kind": KIND, "version": VERSION, **record}, indent=1, allow_nan=False)
        write_text(self.path / MANIFEST, text + "\n")

    def _part(self, number: int) -> Path:
        return self.path / UNFINISHED / f"part-{number:05d}.npz"


def _check_there(path: Path, resume: bool) -> bool:
    """Raise if what a folder holds is not to be gone on with; return whether that is finished."""
    names = {file.name for file in path.iterdir() if not file.name.startswith(PARTIAL)} - {LOCK}
    begun = MANIFEST in names or (names == {UNFINISHED} and any((path / UNFINISHED).glob("part-*.npz")))
    if names - {UNFINISHED} and MANIFEST not in names:
        raise OptionError(f"out: expected a new or an empty folder, got {path}, which holds something else.")
    if begun and not resume:
        raise OptionError(
            f"out: {path} holds a scan, which is never overwritten: go on with it by resume=True, delete it, or name "
            "another folder."
        )
    return MANIFEST in names and bool(read_manifest(path)["finished"])


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def _seal_of(known: dict[str, NumpyArray]) -> list[Any]:
    return [int(known["size"]), str(known["checksum"])]
