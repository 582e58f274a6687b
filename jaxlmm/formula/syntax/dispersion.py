"""The formula of a model of dispersion: one side, fixed effects alone, whose intercept is sigma."""

from __future__ import annotations

from typing import Any

from jaxlmm.errors import FormulaError
from jaxlmm.formula.syntax.one_sided import one_sided
from jaxlmm.formula.tokens import Token

_EXAMPLE = "~ x + f"


def dispersion_terms(text: Any) -> tuple[Token, ...]:
    """Return the terms of a model of dispersion.

    Raises
    ------
    OptionError, FormulaError
        If it is no one-sided formula of fixed effects, with an intercept and something beside it.

    Examples
    --------
    >>> [token.text for token in dispersion_terms("~ x + f")]
    ['x', '+', 'f']
    """
    side = one_sided(
        "dispersion", text, _EXAMPLE, varies="the residual standard deviation",
        offset="a known part of the standard deviation is weights=, with Var = sigma² / weight",
    )  # fmt: skip
    if ("-", "1") in side.words or any(term == "0" for _, term in side.words):
        raise FormulaError(
            f"dispersion {text!r}: expected a formula with its intercept, which is sigma and stays; write "
            f"dispersion={_EXAMPLE!r}."
        )
    if all(term in ("1", "") for _, term in side.words):
        raise FormulaError(
            f"dispersion {text!r}: expected a variable of the residual standard deviation, got the intercept "
            f"alone, which is sigma; leave dispersion= out, or write dispersion={_EXAMPLE!r}."
        )
    return side.terms
