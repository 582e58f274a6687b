"""``--covariates``, ``--keep`` and ``--remove``: files by sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlmm.cli.common import DATA_ERROR, USAGE_ERROR, read, readers, stop

if TYPE_CHECKING:
    import pandas as pd

PLAIN = (".txt", ".cov", ".covar")
"""Endings of tables with spaces between columns, as PLINK writes them."""

FAMILY = ("FID", "#FID")
SAMPLE = ("IID", "#IID")
"""What PLINK calls families and samples."""


def id_column(id: str | None, formula: str, kinship: list[str], frame: pd.DataFrame, option: str) -> str:
    """Return the column of the data that names the samples: ``--id``, or the group of the known matrix."""
    from jaxlmm.formula import parse

    groups = [argument.partition("=")[0] for argument in kinship]
    if kinship == ["auto"]:
        groups = [bar.group_name for bar in parse(formula).bars]
    found = [id] if id else [name for name in dict.fromkeys(groups) if name in frame]
    if len(found) != 1:
        stop(f"{option}: name the column of DATA that holds the samples' ids by --id.", USAGE_ERROR)
    if found[0] not in frame:
        stop(f"--id: {found[0]!r} is no column of DATA.", DATA_ERROR)
    return str(found[0])


def with_covariates(
    frame: pd.DataFrame, formula: str, path: Path, column: str, codes: Sequence[str] = ()
) -> tuple[pd.DataFrame, str, list[str]]:
    """Return the data with the columns of a file, the formula with them among its fixed effects, and their names.

    ``codes`` stand for missing values in the file.
    """
    import pandas as pd

    from jaxlmm.genetics.ids import text_ids

    table = _table(path, "--covariates", codes)
    key = next((name for name in (column, *SAMPLE) if name in table), None)
    names = [str(name) for name in table if name != key and name not in FAMILY]
    if key is None or not names:
        stop(
            f"--covariates: expected a column {column!r} or IID and at least one covariate, got "
            f"{', '.join(map(str, table))}.",
            DATA_ERROR,
        )
    there = [name for name in names if name in frame]
    if there:
        stop(f"--covariates: {there[0]!r} is a column of DATA too; rename one of them.", USAGE_ERROR)
    labels = pd.Index(text_ids(table[key]))
    if labels.has_duplicates:
        stop(f"--covariates: {labels[labels.duplicated()][0]!r} is there more than once.", DATA_ERROR)
    rows = labels.get_indexer(pd.Index(text_ids(frame[column])))
    if (rows < 0).all():
        stop(_unlike("--covariates", labels, frame[column], column), DATA_ERROR)
    matched = table[names].iloc[rows].set_axis(frame.index, axis=0)
    matched[rows < 0] = None
    words = [name if name.isidentifier() else f"`{name}`" for name in names]
    return pd.concat([frame, matched], axis=1), " + ".join([formula, *words]), names


def chosen(frame: pd.DataFrame, column: str, keep: Path | None, remove: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of the data whose samples are in one file and not in another, and what is to be said of it."""
    said = []
    for path, option, inside in ((keep, "--keep", True), (remove, "--remove", False)):
        if path is None:
            continue
        here = _listed(path, option, frame[column], column)
        before, frame = len(frame), frame[here == inside]
        said.append(f"{option} {path}: {len(frame):,} of {before:,} rows left")
        if frame.empty:
            stop(f"{option}: no row of DATA is left by {path}.", DATA_ERROR)
    return frame, said


def _listed(path: Path, option: str, ids: pd.Series, column: str) -> Any:
    """Return which ids (n,) a file lists: a line for each, the id alone or PLINK's family and individual."""
    import numpy as np
    import pandas as pd

    from jaxlmm.genetics.ids import text_ids

    if not path.is_file():
        stop(f"{option}: {path} does not exist.", DATA_ERROR)
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [words for words in lines if words and not words[0].startswith("#") and words[0] not in (*FAMILY, *SAMPLE)]
    ours = text_ids(ids)
    for form in (lambda words: words[min(1, len(words) - 1)], lambda words: "_".join(words[:2])):
        here = np.isin(ours, [form(words) for words in lines])
        if here.any():
            return here
    if option == "--remove":
        return here
    stop(_unlike(option, pd.Index([" ".join(words) for words in lines]), ids, column), DATA_ERROR)
    return None


def _unlike(option: str, theirs: pd.Index, ours: pd.Series, column: str) -> str:
    return (
        f"{option}: expected ids of the column {column!r} of DATA, such as {ours.iloc[0]!r}, got "
        f"{f'others, such as {theirs[0]!r}' if len(theirs) else 'none'}."
    )


def _table(path: Path, option: str, codes: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    if path.suffix in PLAIN and path.is_file():
        return pd.read_csv(path, sep=r"\s+", na_values=list(codes))
    if path.suffix not in (*readers(), *PLAIN):
        expected = ", ".join((*readers(), *PLAIN))
        stop(f"{option}: expected a file ending in {expected}, got {path}.", USAGE_ERROR)
    return read(path, option, codes)
