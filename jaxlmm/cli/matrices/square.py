"""A known matrix from a table in a file: a square with labels or a table of pairs, told apart by what it holds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlmm.cli.common import DATA_ERROR, read, readers, reading, stop
from jaxlmm.cli.ids import plain_ids

if TYPE_CHECKING:
    import pandas as pd

PAIR_COLUMNS = ("id1", "id2", "value")
"""Names of the columns of a table of pairs; three columns without these names are taken in this order."""


def read_matrix(path: Path) -> Any:
    """Return a known matrix; ids are text, as they stand in the file.

    A table is a square if its columns are named by the ids of its first column, in any order; that column itself may
    have no name, as R writes it. Any other table with as many rows as columns after the first is a square whose labels
    differ, an error, unless its columns are named ``id1``, ``id2`` and ``value``, or it has three columns and a row
    that pairs an id with itself. The rest are tables of pairs. Files that are not ``.csv``, ``.tsv`` or ``.parquet``,
    as GCTA's, are read by :func:`jaxlmm.load`.
    """
    import jaxlmm as lmm

    if path.suffix not in readers():
        return lmm.load(path)
    if path.suffix == ".parquet":
        frame = read(path, "--kinship")
        return lmm.genetics.relationship(frame if _has_labels(frame) else _matrix_or_pairs(frame, list(frame.columns)))
    with reading(path, "--kinship"):
        header, width = _first_lines(path)
    names = list(range(width))
    ids = names[: 2 if width == 3 else 1]  # columns read as text: three may be pairs, with two ids
    if set(PAIR_COLUMNS) <= set(header):
        ids = [header.index(name) for name in PAIR_COLUMNS[:2]]
    with reading(path, "--kinship"):
        body = readers()[path.suffix](
            path, header=0, names=names, index_col=False, dtype=dict.fromkeys([0, *ids], str), encoding="utf-8-sig"
        )
    return lmm.genetics.relationship(_matrix_or_pairs(body, header))


def _first_lines(path: Path) -> tuple[list[str], int]:
    """Return the fields of the first line of a text file, and the number of columns: a header may lack one."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t")
        lines = [row for row, _ in zip((row for row in rows if any(row)), range(2), strict=False)]
    if len(lines) < 2:
        stop(f"--kinship: expected a matrix or a table of pairs in {path}, got {len(lines)} lines.", DATA_ERROR)
    return [word.strip() for word in lines[0]], max(map(len, lines))


def _has_labels(frame: pd.DataFrame) -> bool:
    """Return whether the index of a frame, as its Parquet file holds it, has the labels of the columns."""
    from jaxlmm.genetics.ids import label_texts

    return set(label_texts(frame.index)) == set(label_texts(frame.columns))


def _matrix_or_pairs(body: pd.DataFrame, header: Sequence[Any]) -> pd.DataFrame:
    """Return a known matrix as a frame with ids as index and columns, or as a table of pairs.

    ``body`` are the rows of a file, the ids of its first column (and of the second of three) as text; ``header`` are
    the names of the columns, of which the first may be missing.
    """
    import numpy as np
    import pandas as pd

    from jaxlmm.genetics.ids import label_texts

    labels, rows = list(header[len(header) - body.shape[1] + 1 :]), plain_ids(body.iloc[:, 0])
    columns = plain_ids(pd.Series(labels, dtype=object)) if len(labels) == body.shape[1] - 1 else pd.Series([])
    square = len(rows) == len(columns)
    values = body.iloc[:, 1:]
    if square:
        # a second column that might have held ids was read as text
        numbers = [pd.to_numeric(values[name], errors="coerce") for name in values]
        all_numeric = all(
            number.notna().equals(values[name].notna()) for name, number in zip(values, numbers, strict=True)
        )
        if set(label_texts(rows)) == set(label_texts(columns)) and all_numeric:
            return pd.DataFrame(np.column_stack(numbers), index=rows, columns=columns)
    named = set(PAIR_COLUMNS) <= set(header)
    is_self_pair = label_texts(rows) == label_texts(body.iloc[:, min(1, body.shape[1] - 1)])
    if square and not named and not (body.shape[1] == len(PAIR_COLUMNS) and is_self_pair.any()):
        return pd.DataFrame(values.to_numpy(), index=rows, columns=columns)
    if len(header) != body.shape[1]:
        stop(
            f"--kinship: expected a name for each of {body.shape[1]} columns (of a square, that of the ids may be "
            f"missing), got {len(header)}: {', '.join(map(str, header[:6]))}.",
            DATA_ERROR,
        )
    if not named and body.shape[1] == len(PAIR_COLUMNS):
        body, header = _with_first_line(body, header), PAIR_COLUMNS
    table = body.set_axis(list(header), axis=1)
    converted = {name: plain_ids(table[name]) for name in PAIR_COLUMNS[:2] if name in table}
    first = pd.to_numeric(table.iloc[:, 0], errors="coerce")
    if table.columns[0] not in converted and first.isna().equals(table.iloc[:, 0].isna()):
        converted[table.columns[0]] = first  # numbers after all: the first column is read as text
    return table.assign(**converted)


def _with_first_line(body: pd.DataFrame, header: Sequence[Any]) -> pd.DataFrame:
    """Return the rows of a table of pairs with its first line among them, if that is no header but a pair."""
    import pandas as pd

    value = pd.to_numeric(pd.Series([header[2]]), errors="coerce")
    if value.isna().any():
        return body
    first = pd.DataFrame([[*header[:2], float(value[0])]], columns=body.columns)
    return pd.concat([first, body], ignore_index=True)
