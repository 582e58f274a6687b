"""``--missing-code``: codes that stand for a missing value in the files of a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

MissingCode = Annotated[
    list[str] | None,
    typer.Option(
        "--missing-code", help="What stands for a missing value in every column of the files, e.g. -9. Repeatable."
    ),
]


def codes_of(arguments: Sequence[str] | None) -> list[str]:
    """Return the codes of an option that may be given several times, or with commas.

    >>> codes_of(["-9", "-99, NR"])
    ['-9', '-99', 'NR']
    """
    return [code.strip() for argument in arguments or [] for code in argument.split(",") if code.strip()]


def without_codes(frame: pd.DataFrame, codes: Sequence[str]) -> pd.DataFrame:
    """Return a table with typed columns in which the codes are missing values."""
    import pandas as pd

    as_numbers = pd.to_numeric(pd.Series(codes, dtype=object), errors="coerce")
    numbers, changed = as_numbers[as_numbers.notna()].tolist(), {}
    for name, column in frame.items():
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        is_code = column.isin(numbers) if is_number else column.astype(object).isin([*codes, *numbers])
        if is_code.any():  # whole numbers beyond 2^53 are none any more as floats
            whole = is_number and pd.api.types.is_integer_dtype(column)
            exact = column.astype("Int64" if column.dtype.kind == "i" else "UInt64") if whole else column
            changed[name] = exact.mask(is_code)
    return frame.assign(**changed) if changed else frame  # type: ignore[arg-type]
