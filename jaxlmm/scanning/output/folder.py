"""Reading a scan's folder: its table in files of rows, its header, and the fits without a marker."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.results import FitMany
from jaxlmm.results.many import serialize as many_record
from jaxlmm.scanning.output.manifest import NULL, damaged, header_of, read_manifest
from jaxlmm.scanning.output.result import Scan

NULL_FITS_KEY = b"jaxlmm.fit_many"
"""The key, in the metadata of ``null.parquet``, of the fits as :meth:`jaxlmm.FitMany.save` writes them."""


@dataclasses.dataclass(frozen=True, eq=False)
class FolderTable:
    """The table of a scan in a folder, read at each call; ``files`` has the number of rows by file."""

    folder: Path
    files: Mapping[str, int]
    responses: tuple[str, ...]

    def __len__(self) -> int:
        return sum(self.files.values())

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows, with some of the columns, or all, by response.

        Those of one response keep the order in which they were scanned: by chromosome with ``loco=True``.
        """
        with_response = None if columns is None else list(dict.fromkeys(["response", *columns]))
        table = pd.concat(list(self.parts(with_response)), ignore_index=True)
        if len(self.responses) > 1:
            response = pd.Index(self.responses).get_indexer(pd.Index(table["response"]))
            table = table.iloc[response.argsort(kind="stable")].reset_index(drop=True)
        return table if columns is None else table[list(columns)]

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the rows of one file after the other.

        Raises
        ------
        DataError
            If a file is gone or damaged since the scan was loaded.
        """
        for name in self.files:
            with _reading(self.folder / name):
                part = pd.read_parquet(self.folder / name, columns=None if columns is None else list(columns))
            yield part

    def numbers(self, column: str) -> tuple[Int[NumpyArray, " k"], Float[NumpyArray, " k"]]:
        """Return, of all rows in no order, the index of the response, and the numbers of one column.

        Raises
        ------
        DataError
            If a file is gone or damaged since the scan was loaded.
        """
        import pyarrow.parquet as pq

        codes, values, index = [np.zeros(0, np.int64)], [np.zeros(0)], pd.Index(self.responses)
        for name in self.files:
            with _reading(self.folder / name):  # names are read once for each group of rows, not for each row
                table = pq.read_table(self.folder / name, columns=["response", column], read_dictionary=["response"])
                response = table["response"].unify_dictionaries().combine_chunks()
            codes.append(index.get_indexer(pd.Index(response.dictionary.to_pylist()))[response.indices.to_numpy()])
            values.append(table[column].to_numpy())
        return np.concatenate(codes), np.concatenate(values)


def load_scan(folder: Path) -> Scan:
    """Return the scan in a folder; its table stays there.

    Raises
    ------
    DataError
        If it is no folder of a scan, another version, unfinished, or a file is gone or is not what was written.
    """
    record = read_manifest(folder)
    if not record["finished"]:
        raise DataError(
            f"{folder}: expected a finished scan, got one that was interrupted; go on with the same call and "
            "resume=True."
        )
    wrong = damaged(folder, record)
    if wrong:
        raise DataError(
            f"{folder}: expected the files of its manifest, got {', '.join(wrong.values())}; the same call with "
            "resume=True, and without share=, makes them again."
        )
    return scan_of(folder, record)


def scan_of(folder: Path, record: Mapping[str, Any]) -> Scan:
    """Return the finished scan of a manifest, whose files were checked."""
    header, path = header_of(folder, record), folder.absolute()
    return Scan(header, FolderTable(path, record["files"], header.responses), functools.partial(read_null, path))


def write_null(null: FitMany | dict[str, FitMany], path: Path) -> None:
    """Write fits without a marker as a table with a row for each response, and completely in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_chromosome = null if isinstance(null, dict) else {"": null}
    tables = []
    for chromosome, fits in by_chromosome.items():
        rows = fits.glance()
        for name, values in zip(fits.estimates.labels.parameters, fits.estimates.report.T, strict=True):
            rows[name] = values
        if chromosome:
            rows.insert(0, "chromosome", chromosome)
        tables.append(rows)
    table = pa.Table.from_pandas(pd.concat(tables, ignore_index=True), preserve_index=False)
    record = json.dumps({chromosome: many_record.text_of(fits) for chromosome, fits in by_chromosome.items()})
    metadata = {**(table.schema.metadata or {}), NULL_FITS_KEY: record.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def read_null(folder: Path) -> FitMany | dict[str, FitMany]:
    """Return the fits without a marker that :func:`write_null` wrote.

    Raises
    ------
    DataError
        If the file is gone or damaged since the scan was loaded.
    """
    import pyarrow.parquet as pq

    with _reading(folder / NULL):
        texts = json.loads(pq.read_schema(folder / NULL).metadata[NULL_FITS_KEY])
    fits = {name: FitMany(many_record.estimates_of(json.loads(text)), None) for name, text in texts.items()}
    return fits[""] if set(fits) == {""} else fits


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into one that tells how to make it again."""
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: expected a file of the scan as it was when the scan was loaded, got one that cannot be read: "
            f"{error}; the same call of scan with resume=True makes it again."
        ) from error
