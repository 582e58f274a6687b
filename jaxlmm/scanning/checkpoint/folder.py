"""The folder of a scan, written part by part, so that an interrupted scan is resumed from its finished parts."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlmm._util import PARTIAL, NumpyArray, left_by_an_ended_process, partial_name, write_text, write_whole, writing
from jaxlmm.errors import DataError, ResumeError
from jaxlmm.inference import Reason
from jaxlmm.results import FitMany
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
"""The folder of the records of finished parts, inside the scan's; removed when all are finished."""

PART_ROWS = 2**20
"""The most rows of a file where only some pairs are kept."""

DIGEST_BYTES = 16
"""Length of the digest at the end of a part's record."""


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """The folder of one scan; ``scan`` is the digest of its inputs, once it has :meth:`begun <begin>`.

    Files ``part-*.parquet`` hold the table. If only some pairs are kept, they are written at the end, and until then
    the record of each part holds its own.
    """

    path: Path
    scan: str = ""

    def begin(self, digests: dict[str, str], n_parts: int, alone: bool = True) -> tuple[Folder, dict[str, Any]]:
        """Write the manifest of a new scan, or check that it is that of this scan; return the folder and the manifest.

        What others were writing is removed: all of it if this process works ``alone``, else that of ended processes.

        Raises
        ------
        ResumeError
            If it is that of another scan.
        """
        with writing(self.path):
            for leftover in (*self.path.glob(f"{PARTIAL}*"), *self.path.glob(f"{UNFINISHED}/{PARTIAL}*")):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                elif alone or left_by_an_ended_process(leftover):
                    leftover.unlink(missing_ok=True)
        if not (self.path / MANIFEST).exists():  # the first file: the folder is recognized wherever the scan stops
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
            self._remove_records()
        scan = _digest(json.dumps([digests, n_parts], sort_keys=True).encode())
        return dataclasses.replace(self, scan=scan.hex()), record

    def start(self, digests: dict[str, str], n_parts: int) -> None:
        """Write the manifest of a scan without finished parts."""
        self._write({"finished": False, "digests": digests, "n_parts": n_parts})

    def done(self, numbers: Iterable[int]) -> set[int]:
        """Return which of the parts are finished, and their files unchanged."""
        return {number for number in numbers if self._record(number) is not None}

    def all_written(self, n_parts: int) -> bool:
        """Return whether there is a record of every part, whatever is in it."""
        return all(self._record_path(number).exists() for number in range(n_parts))

    @property
    def shared(self) -> Path:
        """The folder of what processes at work on this scan share."""
        return self.path / UNFINISHED

    @property
    def is_finished(self) -> bool:
        """Whether the manifest is that of a finished scan."""
        return bool(read_manifest(self.path)["finished"])

    def put(self, number: int, keep: PairFilter, untested: Mapping[int, str], table: Callable[[Pairs], Any]) -> None:
        """Write a part: its rows if all pairs are kept, then its record."""
        pairs, n_rows = keep.finish(), 0
        seal: list[Any] = [0, ""]
        if keep.everything and pairs is not None:
            n_rows, seal = pairs.marker.size, self.put_file(number, pairs, table)
        kept = {} if pairs is None or keep.everything else pairs._asdict()
        record: dict[str, Any] = {
            "scan": np.array(self.scan), "part": np.int64(number), "counts": keep.counts.counts,
            "lowest": keep.counts.lowest, "n_rows": np.int64(n_rows), "size": np.int64(seal[0]),
            "checksum": np.array(seal[1]),
            "untested": np.array(json.dumps({str(response): reason for response, reason in untested.items()})),
        }  # fmt: skip
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **record, **kept)
        content = buffer.getvalue()
        write_whole(self._record_path(number), lambda path: path.write_bytes(content + _digest(content)))

    def put_file(self, number: int, pairs: Pairs, table: Callable[[Pairs], Any]) -> list[Any]:
        """Write the rows of pairs to the file of a part; return its seal, size and checksum."""
        path, rows = self.path / part_name(number), table(pairs)
        write_whole(path, lambda aside: aside.write_bytes(rows.to_parquet(index=False)))
        return sealed(path)

    def take(self, number: int, keep: PairFilter) -> tuple[dict[int, Reason], int, list[Any]]:
        """Add the pairs and counts of a finished part's record to a filter.

        Returns the untested responses, and the number of rows of its file with its seal.
        """
        record = self._record(number)
        if record is None:
            raise DataError(
                f"{self.path}: part {number} was finished, and has been changed since; go on with the same call and "
                "resume=True."
            )
        keep.counts.merge(record["counts"], record["lowest"])
        if "marker" in record:
            keep.add(Pairs(*(record[name] for name in Pairs._fields)))
        untested = {int(response): reason for response, reason in json.loads(str(record["untested"])).items()}
        return untested, int(record["n_rows"]), _seal_of(record)

    def put_rows(self, pairs: Pairs, table: Callable[[Pairs], Any]) -> dict[str, tuple[int, list[Any]]]:
        """Write rows to files that fit into memory each; return the numbers of rows and seals of files by name."""
        files = {}
        for number, first in enumerate(range(0, max(pairs.marker.size, 1), PART_ROWS)):
            batch = pairs.at(np.arange(first, min(first + PART_ROWS, pairs.marker.size)))
            files[part_name(number)] = batch.marker.size, self.put_file(number, batch, table)
        return files

    def finish(
        self,
        header: ScanHeader,
        null: FitMany | dict[str, FitMany],
        files: dict[str, tuple[int, list[Any]]],
        digests: dict[str, str],
        n_parts: int,
    ) -> Scan:
        """Write the fits without a marker and, when all else is on the disk, the manifest of a finished scan."""
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
        """Write the manifest of a finished scan, and remove the records of its parts.

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
        self._remove_records()
        return scan_of(self.path, read_manifest(self.path))

    def without_copies(self, record: dict[str, Any], wrong: dict[str, str]) -> dict[str, str]:
        """Remove copies of files under names that the manifest does not list; return the other damages by file.

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
        return {name: damage for name, damage in wrong.items() if name in listed}

    def _record(self, number: int) -> dict[str, NumpyArray] | None:
        """Return the record of a part; None if the part is not finished, or its files are not what was written."""
        try:
            content = self._record_path(number).read_bytes()
        except OSError:
            return None
        if content[-DIGEST_BYTES:] != _digest(content[:-DIGEST_BYTES]):
            return None
        try:
            with np.load(io.BytesIO(content[:-DIGEST_BYTES]), allow_pickle=False) as file:
                record = dict(file)
            if str(record["scan"]) != self.scan or int(record["part"]) != number:
                return None
            rows, path = int(record["n_rows"]), self.path / part_name(number)
            return None if rows and broken(path, _seal_of(record)) else record
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None

    def _remove_records(self) -> None:
        """Remove the records, which another process may remove too."""
        aside = self.path / partial_name(UNFINISHED)
        with writing(self.path):
            try:
                (self.path / UNFINISHED).rename(aside)
            except FileNotFoundError:
                return
        shutil.rmtree(aside, ignore_errors=True)

    def _write(self, record: dict[str, Any]) -> None:
        text = json.dumps({"kind": KIND, "version": VERSION, **record}, indent=1, allow_nan=False)
        write_text(self.path / MANIFEST, text + "\n")

    def _record_path(self, number: int) -> Path:
        return self.path / UNFINISHED / f"part-{number:05d}.npz"


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _seal_of(record: dict[str, NumpyArray]) -> list[Any]:
    return [int(record["size"]), str(record["checksum"])]
