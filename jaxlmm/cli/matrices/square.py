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

    A table is a square if its columns are called as the ids of its first column, whatever these are and in whatever
    order; the name of that column may be missing, as R writes it. Else it is a table of pairs, unless it has as many
    rows as columns and no one is paired with itself: then it is a square whose labels differ, which is an error. Files
    of other formats, as GCTA's, are those that :func:`jaxlmm.load` reads.
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
    ids = names[: 2 if width == 3 else 1]
    if set(PAIR_COLUMNS) <= set(header):
        ids = [header.index(name) for name in PAIR_COLUMNS[:2]]
    with reading(path, "--kinship"):
        body = readers()[path.suffix](
            path, header=0, names=names, index_col=False, dtype=dict.fromkeys([0, *ids], str), encoding="utf-8-sig"
        )
    return lmm.genetics.relationship(_matrix_or_pairs(body, header))


def _first_lines(path: Path) -> tuple[list[str], int]:
    """Return the first line of a text file, and the number of columns."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t")
        lines = [row for row, _ in zip((row for row in rows if any(row)), range(2), strict=False)]
    if len(lines) < 2:
        stop(f"--kinship: expected a matrix or a table of pairs in {path}, got {len(lines)} lines.", DATA_ERROR)
    return [word.strip() for word in lines[0]], max(map(len, lines))


def _has_labels(frame: pd.DataFrame) -> bool:
    """Return whether a frame came from its file with an index that names its rows."""
    from jaxlmm.genetics.ids import label_texts

    return set(label_texts(frame.index)) == set(label_texts(frame.columns))


def _matrix_or_pairs(body: pd.DataFrame, header: Sequence[Any]) -> pd.DataFrame:
    """Return the rows of a file as a frame with ids as index and columns, or as a table of pairs."""
    import numpy as np
    import pandas as pd

    from jaxlmm.genetics.ids import label_texts

    labels, rows = list(header[len(header) - body.shape[1] + 1 :]), plain_ids(body.iloc[:, 0])
    columns = plain_ids(pd.Series(labels, dtype=object)) if len(labels) == body.shape[1] - 1 else pd.Series([])
    square = len(rows) == len(columns)
    values = body.iloc[:, 1:]
    if square:
        # what might have been ids was read as text
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
        converted[table.columns[0]] = first  # it was read as text
    return table.assign(**converted)


def _with_first_line(body: pd.DataFrame, header: Sequence[Any]) -> pd.DataFrame:
    """Return the rows of a table of pairs with its first line among them, if that is no header but a pair."""
    import pandas as pd

    value = pd.to_numeric(pd.Series([header[2]]), errors="coerce")
    if value.isna().any():
        return body
    first = pd.DataFrame([[*header[:2], float(value[0])]], columns=body.columns)
    return pd.concat([first, body], ignore_index=True)
