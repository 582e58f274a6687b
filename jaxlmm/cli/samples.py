"""``--covariates``, ``--keep`` and ``--remove``: files by sample, matched to the rows of DATA.

DATA is the table of the command, its first argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxlmm.cli.common import DATA_ERROR, USAGE_ERROR, readers, reading, stop
from jaxlmm.cli.ids import plain_ids, read_ids
from jaxlmm.cli.lists import listed

if TYPE_CHECKING:
    import pandas as pd

SPACED_ENDINGS = (".txt", ".cov", ".covar")
"""Endings of tables with spaces between columns, as PLINK writes them."""

FAMILY_COLUMNS = ("FID", "#FID", "fid", "#fid")
SAMPLE_COLUMNS = ("IID", "#IID", "iid", "#iid")
"""Names of the columns of families and of samples in tables written by PLINK, or by people in its manner."""


def id_column(id: str | None, formula: str, kinship: list[str], frame: pd.DataFrame, option: str) -> str:
    """Return the column of the data that holds the samples' ids: ``--id``, or the group of the known matrix.

    ``kinship`` are the arguments of ``--kinship``, ``GROUP=FILE`` each, or ``auto`` alone.
    """
    from jaxlmm.formula import parse

    groups = [argument.partition("=")[0] for argument in kinship]
    if kinship == ["auto"]:
        groups = [bar.group_name for bar in parse(formula).bars]
    columns = [id] if id else [name for name in dict.fromkeys(groups) if name in frame]
    if len(columns) != 1:
        stop(f"{option}: name the column of DATA that holds the samples' ids by --id.", USAGE_ERROR)
    if columns[0] not in frame:
        stop(f"--id: {columns[0]!r} is no column of DATA.", DATA_ERROR)
    return str(columns[0])


def with_covariates(
    frame: pd.DataFrame, formula: str, path: Path, column: str, codes: Sequence[str] = ()
) -> tuple[pd.DataFrame, str, list[str]]:
    """Return the data with the columns of a file, the formula with them among its fixed effects, and their names.

    ``column`` of the data holds the samples' ids; ``codes`` stand for missing values in the file.
    """
    import numpy as np
    import pandas as pd

    from jaxlmm.formula.tokens import word
    from jaxlmm.genetics.ids import find_texts, hint, nearly, text_ids

    table = _table(path, "--covariates", column, codes)
    key = next((name for name in (column, *SAMPLE_COLUMNS) if name in table), None)
    names = [str(name) for name in table if name != key and name not in FAMILY_COLUMNS]
    if key is None or not names:
        stop(
            f"--covariates: expected a column {column!r} or IID and at least one covariate, got "
            f"{', '.join(map(str, table))}.",
            DATA_ERROR,
        )
    twice = [name for name in names if name in frame]
    if twice:
        stop(f"--covariates: {twice[0]!r} is a column of DATA too; rename one of them.", USAGE_ERROR)
    table = table[table[key].notna()]
    ours, labels = text_ids(frame[column], f"DATA, column {column}"), text_ids(table[key], f"{path}, column {key}")
    family = next((name for name in FAMILY_COLUMNS if name in table), None)
    if family is not None:
        joined = text_ids(table[family], f"{path}, column {family}") + "_" + labels
        # PLINK's samples may be named by IID or by FID_IID: the reading with more ids in DATA is taken.
        labels = max(labels, joined, key=lambda words: int(np.isin(words, ours).sum()))
    if pd.Index(labels).has_duplicates:
        stop(f"--covariates: {labels[pd.Index(labels).duplicated()][0]!r} is there more than once.", DATA_ERROR)
    rows = find_texts(ours, labels)
    present = [value for value in ours if value is not None]
    if (rows < 0).all():
        advice = hint(labels, present, "the file", "DATA")
        stop(_unlike("--covariates", list(labels), frame[column], column) + advice, DATA_ERROR)
    close = nearly(labels, present, "the file", "DATA")
    if close:
        stop(
            f"--covariates: expected ids of the column {column!r} of DATA in {path}, got others too.{close}", DATA_ERROR
        )
    matched = table[names].iloc[rows].set_axis(frame.index, axis=0)
    matched[rows < 0] = None
    return pd.concat([frame, matched], axis=1), " + ".join([formula, *map(word, names)]), names


def chosen(frame: pd.DataFrame, column: str, keep: Path | None, remove: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of the data that ``--keep`` and ``--remove`` leave, and a note on their number for each file."""
    import numpy as np

    from jaxlmm.genetics.ids import text_ids

    ours = text_ids(frame[column], f"DATA, column {column}")
    present = frozenset(value for value in ours if value is not None)
    left, notes = np.ones(len(frame), bool), []
    for path, option, inside in ((keep, "--keep", True), (remove, "--remove", False)):
        if path is None:
            continue
        ids, n_found = listed(path, option, present, column)
        before, left = int(left.sum()), left & (np.isin(ours, list(ids)) == inside)
        notes.append(f"{option} {path}: {left.sum():,} of {before:,} rows left")
        if not n_found:
            such = f", such as {min(ids)!r}," if ids else ""
            notes[-1] += f"; NOBODY removed: none of its {len(ids):,} ids{such} is in the column {column!r} of DATA"
        elif n_found < len(ids):
            notes[-1] += f"; {len(ids) - n_found:,} of its {len(ids):,} ids are not in DATA"
        if not left.any():
            stop(f"{option}: no row of DATA is left by {path}.", DATA_ERROR)
    return frame[left], notes


def _unlike(option: str, theirs: Sequence[str], ours: pd.Series, column: str) -> str:
    """Return the message that no id of a file is in the data."""
    return (
        f"{option}: expected ids of the column {column!r} of DATA, such as {ours.iloc[0]!r}, got "
        f"{f'others, such as {theirs[0]!r}' if len(theirs) else 'none'}."
    )


def _table(path: Path, option: str, column: str, codes: Sequence[str]) -> pd.DataFrame:
    """Return the table of a file, with ids as text."""
    import pandas as pd

    from jaxlmm._util import ALL_DIGITS

    ids = [column, *SAMPLE_COLUMNS, *FAMILY_COLUMNS]
    if path.suffix in SPACED_ENDINGS and path.is_file():
        with reading(path, option):
            table = pd.read_csv(path, sep=r"\s+", na_values=list(codes), dtype=dict.fromkeys(ids, str), **ALL_DIGITS)
        return table.assign(**{name: plain_ids(table[name]) for name in table.columns.intersection(ids)})
    if path.suffix not in (*readers(), *SPACED_ENDINGS):
        expected = ", ".join((*readers(), *SPACED_ENDINGS))
        stop(f"{option}: expected a file ending in {expected}, got {path}.", USAGE_ERROR)
    return read_ids(path, ids, option, codes)
