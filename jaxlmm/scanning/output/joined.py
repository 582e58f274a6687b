"""Several scans as one: their tables one after the other, their headers and fits without a marker put together."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.results import FitMany
from jaxlmm.scanning.output.folder import load_scan
from jaxlmm.scanning.output.manifest import read_manifest
from jaxlmm.scanning.output.result import Scan, ScanHeader
from jaxlmm.scanning.output.table import ScanTable

MAY_DIFFER = frozenset({"the responses", "the genotypes", "null"})
"""Digests of a manifest in which scans that are put together may differ."""

SAME = ("formula", "method", "variances", "tests", "interaction", "precision", "kept", "complete")
"""Fields of the header in which they may not."""


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedTable:
    """The rows of several tables, by response; ``own_responses`` are those of each."""

    tables: tuple[ScanTable, ...]
    responses: tuple[str, ...]
    own_responses: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables)

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows, with some of the columns, or all."""
        wanted = None if columns is None else list(dict.fromkeys(["response", *columns]))
        whole = pd.concat([table.read(wanted) for table in self.tables], ignore_index=True)
        place = pd.Index(self.responses).get_indexer(pd.Index(whole["response"]))
        whole = whole.iloc[place.argsort(kind="stable")].reset_index(drop=True)
        return whole if columns is None else whole[list(columns)]

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in parts that fit into memory."""
        for table in self.tables:
            yield from table.parts(columns)

    def numbers(self, column: str) -> tuple[Int[NumpyArray, " k"], Float[NumpyArray, " k"]]:
        """Return, of all rows in no order, the index of the response, and the numbers of one column."""
        found = [table.numbers(column) for table in self.tables]
        places = [
            pd.Index(self.responses).get_indexer(pd.Index(own))[codes]
            for own, (codes, _) in zip(self.own_responses, found, strict=True)
        ]
        return np.concatenate(places), np.concatenate([values for _, values in found])


def load_scans(folders: Sequence[Path]) -> Scan:
    """Return the scans of several folders as one; they differ in responses or markers alone.

    Raises
    ------
    DataError
        If there is none, one is no folder of a finished scan, they differ in something else, or two have the same
        responses and markers.
    """
    if not folders:
        raise DataError("load: expected folders of scans, got an empty list.")
    scans, records = [load_scan(folder) for folder in folders], [read_manifest(folder) for folder in folders]
    seen: dict[tuple[str, str], Path] = {}
    for folder, record, scan in zip(folders, records, scans, strict=True):
        digests = record["digests"]
        other = [name for name, digest in digests.items() if records[0]["digests"].get(name) != digest]
        other = [name for name in other if name not in MAY_DIFFER]
        other += [name for name in SAME if getattr(scan.header, name) != getattr(scans[0].header, name)]
        if other:
            raise DataError(
                f"{folder}: expected a scan that differs from that in {folders[0]} in responses or markers alone, got "
                f"one with other {', '.join(dict.fromkeys(other))}."
            )
        for response in scan.responses:
            again = seen.setdefault((response, digests["the genotypes"]), folder)
            if again is not folder:
                raise DataError(
                    f"{folder}: expected other responses or markers than in {again}, got {response!r} again."
                )
    names = tuple(dict.fromkeys(name for scan in scans for name in scan.responses))
    genotypes = [record["digests"]["the genotypes"] for record in records]
    header = _joined([scan.header for scan in scans], names, genotypes)
    table = JoinedTable(tuple(scan.table for scan in scans), names, tuple(scan.responses for scan in scans))
    return Scan(header, table, functools.partial(_null, tuple(scans)))


def _joined(headers: Sequence[ScanHeader], names: tuple[str, ...], genotypes: Sequence[str]) -> ScanHeader:
    """Return the header of several scans; ``genotypes`` are the digests of their markers.

    Of scans of the same markers the one that could test most of them says how many were tested.
    """
    fullest: dict[str, ScanHeader] = {}
    for digest, header in zip(genotypes, headers, strict=True):
        best = fullest.setdefault(digest, header)
        if header.markers.get("tested", 0) > best.markers.get("tested", 0):
            fullest[digest] = header

    def together(field: str) -> str:
        return "; ".join(dict.fromkeys(text for header in headers if (text := getattr(header, field))))

    return dataclasses.replace(
        headers[0],
        samples=together("samples"), rows=together("rows"), kinship=together("kinship"), engine=together("engine"),
        patterns=max(header.patterns for header in headers), responses=names,
        markers=_sum(header.markers for header in fullest.values()),
        pairs=_sum(header.pairs for header in headers),
        untested={name: reason for header in headers for name, reason in header.untested.items()},
        notes=(*dict.fromkeys(note for header in headers for note in header.notes), f"Folders: {len(headers)}"),
        seconds=sum(header.seconds for header in headers), device=together("device"),
    )  # fmt: skip


def _sum(counts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts by word."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _null(scans: tuple[Scan, ...]) -> FitMany | dict[str, FitMany]:
    """Return the fits without a marker of all responses, by chromosome if there are several matrices."""
    by_chromosome: dict[str, list[FitMany]] = {}
    for scan in scans:
        null = scan.null
        for chromosome, fits in null.items() if isinstance(null, dict) else [("", null)]:
            by_chromosome.setdefault(chromosome, []).append(fits)
    joined = {chromosome: FitMany.joined(fits) for chromosome, fits in by_chromosome.items()}
    return joined[""] if set(joined) == {""} else joined
