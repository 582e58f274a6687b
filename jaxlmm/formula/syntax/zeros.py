"""The formula of the zero part: one side, fixed effects alone, of the logit of the probability of a zero."""

from __future__ import annotations

from typing import Any

from jaxlmm.errors import FormulaError
from jaxlmm.formula.syntax.one_sided import one_sided
from jaxlmm.formula.tokens import Token


def zero_terms(text: Any) -> tuple[Token, ...]:
    """Return the terms of a zero part.

    Raises
    ------
    OptionError, FormulaError
        If it is no one-sided formula of fixed effects.

    Examples
    --------
    >>> [token.text for token in zero_terms("~ x + f")], [token.text for token in zero_terms("~ 1")]
    (['x', '+', 'f'], ['1'])
    """
    side = one_sided(
        "zero_inflated", text, "~ x + f", varies="the probability of a zero",
        offset="a coefficient that is known is held by fixed={'Zero inflation: logit(x)': 1.0}",
    )  # fmt: skip
    if all(term in ("0", "") or (sign, term) == ("-", "1") for sign, term in side.words):
        raise FormulaError(
            f"zero_inflated {text!r}: expected terms, got none; leave zero_inflated= out, or write '~ 1'."
        )
    return side.terms
