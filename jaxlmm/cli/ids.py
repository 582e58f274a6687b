"""Columns of ids in files: read as text, so that no zero, digit or letter of an id is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from jaxlmm.cli.common import USAGE_ERROR, read, readers, stop

if TYPE_CHECKING:
    import pandas as pd

DECIMAL_ID = re.compile(r"(-?[1-9][0-9]{0,14}|0)\.0+")
"""A whole number as programs write it that hold ids as floating point numbers, with all its digits."""


FIRST_AMBIGUOUS_INTEGER = 2.0**53
"""From here on, neighboring whole numbers are the same floating point number."""


def read_data(
    path: Path,
    formula: str,
    kinship: Iterable[str] = (),
    id: str | None = None,
    residual: str | None = None,
    codes: Sequence[str] = (),
    dispersion: str | None = None,
    zero_inflated: str | None = None,
) -> Any:
    """Return the table of a command, with ids as they stand in the file.

    Ids are the columns that ``--id`` names and those of groups with a known matrix; those of other groups too where
    they are whole numbers so large that pandas would make several of them one. If the file holds such numbers as
    floating point ones, from which digits are lost, they stay these, which no group takes. ``codes`` stand for missing
    values.
    """
    from jaxlmm.formula import ModelOptions, parse, zero_terms

    parsed, options = parse(formula), ModelOptions(residual=residual, dispersion=dispersion)
    bars = [*parsed.bars, *([options.residual_bar] if options.residual_bar else [])]
    arguments = list(kinship)
    known_groups = [argument.partition("=")[0] for argument in arguments]
    matched = [id] if id else []
    for bar in bars:
        if bar.group_name in known_groups or arguments == ["auto"]:
            matched += [name for name in bar.group if name != "1"]
    frame = read_ids(path, dict.fromkeys(matched), codes=codes)
    of_options = options.dispersion_terms, () if zero_inflated is None else zero_terms(zero_inflated)
    sides = [parsed.response, parsed.fixed, *of_options, *parsed.offsets, *(bar.left for bar in bars)]
    variables = {token.name for side in sides for token in side}
    for name in variables.intersection(matched, frame.columns):
        _check_text(frame[name], name)
    if path.suffix in readers():
        others = dict.fromkeys(name for bar in bars for name in bar.group if name not in matched)
        lossy = [name for name in others if name in frame and _loses_digits(frame[name])]
        as_text = read_ids(path, lossy, codes=codes) if lossy else frame
        for name in lossy:
            large = as_text[name][frame[name].abs() >= FIRST_AMBIGUOUS_INTEGER]
            if not any("." in str(word) for word in large):
                frame[name] = as_text[name]
    return frame


def read_ids(path: Path, names: Iterable[str], what: str = "DATA", codes: Sequence[str] = ()) -> Any:
    """Return the table of a file, with the columns of ids ``names``, as far as they are there, as :func:`plain_ids`.

    Names are the same in whatever code points a file writes their accents.
    """
    names = [form for name in names for form in dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name)))]
    frame = read(path, what, codes, text=names)
    for name in frame.columns.intersection(names) if path.suffix != ".parquet" else ():
        frame[name] = plain_ids(frame[name])
    return frame


def plain_ids(column: pd.Series) -> pd.Series:
    """Return ids, read as text, without spaces around them; as integers if each is written as one; numbers as they are.

    Decimals that end in zeros are whole numbers if all ids are: so a program writes them that met a missing one.

    >>> import pandas as pd
    >>> [plain_ids(pd.Series(ids)).tolist() for ids in (["1", "12 "], ["1.0", "2.0"], ["01", "2"], ["1.0", "2"])]
    [[1, 12], [1, 2], ['01', '2'], ['1.0', '2']]
    """
    import numpy as np
    import pandas as pd

    from jaxlmm.genetics.ids import whole_number

    if pd.api.types.is_numeric_dtype(column.dtype):
        return column
    words = [None if pd.isna(value) else str(value).strip() or None for value in column]
    present = [word for word in words if word is not None]
    if present and all(DECIMAL_ID.fullmatch(word) for word in present):
        words = [word and word.partition(".")[0] for word in words]
        present = [word for word in words if word is not None]
    numbers = [whole_number(word) for word in present]
    if not present or any(number is None or abs(number) > np.iinfo(np.int64).max for number in numbers):
        return pd.Series(words, column.index, dtype=object)
    whole = [word if word is None else int(word) for word in words]
    return pd.Series(whole, column.index, dtype="int64" if len(present) == len(words) else "Int64")


def _check_text(column: pd.Series, name: str) -> None:
    """Stop if ids that are no plain numbers are a variable of the model too, which is one of numbers."""
    import pandas as pd

    if column.dtype != object or pd.to_numeric(column, errors="coerce").isna().ne(column.isna()).any():
        return
    odd = next((value for value in column.dropna()), "")
    stop(
        f"{name!r} names individuals and is a variable of the model too: its ids, such as {odd!r}, are text, and as "
        "numbers they would be others; copy the column, and use one for each.",
        USAGE_ERROR,
    )


def _loses_digits(column: pd.Series) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_float_dtype(column.dtype) and (column.abs() >= FIRST_AMBIGUOUS_INTEGER).any())
