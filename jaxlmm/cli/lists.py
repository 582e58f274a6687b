"""Lists of samples in files, as PLINK and people write them: ``--keep`` and ``--remove``.

DATA is the table of the command, its first argument.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxlmm.cli.common import DATA_ERROR, stop
from jaxlmm.genetics.ids import hint, nearly

SAMPLE_HEADER, FAMILY_HEADER = "iid", "fid"
"""PLINK's names of the columns of samples and families, in small letters."""


class Lines(NamedTuple):
    """The ``rows`` of a list, split into fields, and the ``header`` in small letters, if there is one."""

    header: tuple[str, ...] | None
    rows: list[list[str]]


class Listed(NamedTuple):
    """The distinct ``ids`` of a list, as IID, ``FID_IID`` or whole lines, and how many of them are in DATA."""

    ids: frozenset[str]
    n_found: int


def listed(path: Path, option: str, ours: frozenset[str], column: str) -> Listed:
    """Return all ids of a list, and how many of them are ``ours``, the ids in a ``column`` of DATA.

    A header says which column holds the ids: ``#IID``, ``IID`` or the name that DATA has for them, in any case.
    Without one there is an id in each line, or the family and the id, as in PLINK. The ids may be the IID, ``FID_IID``
    or the whole line: the reading with most ids in DATA is used, the first of them where several have as many.

    Stops where ids look like those of DATA in another spelling, and for ``--keep`` where none is in DATA.
    """
    if not path.is_file():
        stop(f"{option}: {path} does not exist.", DATA_ERROR)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        stop(f"{option}: expected text in UTF-8 in {path}, got another encoding; save it anew.", DATA_ERROR)
    lines = _lines(text, ours, column.casefold(), f"{option}: {path}")
    readings = [reading for reading in _readings(lines, ours, column.casefold(), f"{option}: {path}") if reading]
    ids = max(readings, key=lambda reading: len(reading & ours), default=frozenset())
    n_found = len(ids & ours)
    if lines.header is None and lines.rows:
        _check_columns(lines.rows, ours, ids, f"{option}: {path}", column)
    # Ids of the list that are in DATA in another spelling: beside those found, or in any reading where none is.
    close = nearly(ids, ours, "the list", "DATA") if n_found else ""
    if not n_found:
        close = next((text for reading in readings if (text := hint(reading, ours, "the list", "DATA"))), "")
    if close or (option == "--keep" and not n_found):
        got = f"others, such as {' '.join(lines.rows[0])!r}" if lines.rows else "none"
        got = f"{n_found:,} of {len(ids):,} that are" if n_found else got
        here = min(ours, default=None)
        stop(
            f"{option}: expected ids of the column {column!r} of DATA, such as {here!r}, got {got}.{close}", DATA_ERROR
        )
    return Listed(ids, n_found)


def _lines(text: str, ours: frozenset[str], column: str, what: str) -> Lines:
    """Return the header of a list, if it has one, and its other lines without comments, split into fields.

    A header is a line that names the column of ids; it may be a comment.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    header, rows = None, _split([line for line in lines if not line.lstrip().startswith("#")])
    for line in lines:
        if not line.lstrip().startswith("#"):
            break
        words = _words(_split([line.lstrip().lstrip("#")]))
        # A comment in prose may begin with the same word, as in "# iid of those who left".
        may_be_header = len(words) == (len(rows[0]) if rows else 1) or not line.lstrip().lstrip("#").startswith(
            (" ", "\t")
        )
        if (
            words
            and words[0] in (SAMPLE_HEADER, FAMILY_HEADER, column)
            and {SAMPLE_HEADER, column} & {*words}
            and may_be_header
        ):
            header = words
    first, rest = rows[:1], rows[1:]
    if header is None and rest and {len(row) - 1 for row in rest} == {len(first[0])} and not ours & {*first[0]}:
        first = [["", *first[0]]]  # R names its rows, which are read as families, but not their column
        rows = rest if not {SAMPLE_HEADER, FAMILY_HEADER, column} & {*_words(first)} else [*first, *rest]
    if header is None and rows and {SAMPLE_HEADER, FAMILY_HEADER, column} & {*_words(rows[:1])}:
        header, rows = _words(rows[:1]), rows[1:]
        if not {SAMPLE_HEADER, column} & {*header}:
            stop(f"{what}: expected a column IID in the header, got {' '.join(header)}.", DATA_ERROR)
    wrong = next((row for row in rows if header is not None and len(row) != len(header)), None)
    if header is not None and wrong is not None:
        stop(
            f"{what}: expected {len(header)} columns in each line, as in the header {' '.join(header)}, got "
            f"{len(wrong)} in {' '.join(wrong)!r}.",
            DATA_ERROR,
        )
    return Lines(header, rows)


def _split(lines: Sequence[str]) -> list[list[str]]:
    """Return the fields of lines, between commas or semicolons if the first line has any, tabs if all do, or spaces."""
    delimiter = next((mark for mark in ",;" if lines and mark in lines[0]), None)
    if delimiter is None and lines and all("\t" in line for line in lines):
        delimiter = "\t"
    parts = csv.reader(lines, delimiter=delimiter) if delimiter else (line.split() for line in lines)
    rows = [[word.strip().strip('"') for word in row] for row in parts]
    while rows and all(len(row) > 1 and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]  # a delimiter ends each line
    return rows


def _words(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the fields of the first row in small letters."""
    return tuple(word.casefold() for word in rows[0]) if rows else ()


def _readings(lines: Lines, ours: frozenset[str], column: str, what: str) -> Iterable[frozenset[str]]:
    """Yield the ids of a list in each way in which it can be read: the IID, then ``FID_IID``, then the whole line."""
    if lines.header is not None:
        sample = lines.header.index(column if column in lines.header else SAMPLE_HEADER)
        yield frozenset(row[sample] for row in lines.rows)
        if FAMILY_HEADER in lines.header and lines.header.index(FAMILY_HEADER) != sample:
            family = lines.header.index(FAMILY_HEADER)
            yield frozenset(f"{row[family]}_{row[sample]}" for row in lines.rows)
        return
    widths = {len(row) for row in lines.rows}
    whole = frozenset(" ".join(row) for row in lines.rows)
    if len(widths) > 1 and 1 in widths:
        if any(" " in label for label in whole & ours):
            yield whole
            return
        stop(f"{what}: expected as many columns in each line, got {', '.join(map(str, sorted(widths)))}.", DATA_ERROR)
    yield frozenset(row[min(1, len(row) - 1)] for row in lines.rows)
    if widths - {1}:
        yield frozenset("_".join(row[:2]) for row in lines.rows)
        yield whole


def _check_columns(
    rows: Sequence[Sequence[str]], ours: frozenset[str], ids: frozenset[str], what: str, column: str
) -> None:
    """Stop if a list without a header seems to hold other columns than family and id."""
    if len(rows[0]) == 1:
        return
    advice = f"name its columns in a first line, the ids #IID or {column}, and families FID."
    first, second = (sum(len(row) > index and row[index] in ours for row in rows) for index in (0, 1))
    if first > max(second, len(ids & ours)):
        stop(
            f"{what}: expected family and id in each line, got ids of DATA in the first column of {first:,} lines; "
            f"{advice}",
            DATA_ERROR,
        )
    head, rest = rows[0], rows[1:]
    if rest and not {*head[:2], "_".join(head[:2]), " ".join(head)} & ours:
        narrowest = min(map(len, rows))
        if any(
            not _is_number(head[index]) and all(_is_number(row[index]) for row in rest) for index in range(narrowest)
        ):
            stop(f"{what}: the first line, {' '.join(head)!r}, seems to be a header without ids; {advice}", DATA_ERROR)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
