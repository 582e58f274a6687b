"""The formula of a model of dispersion: one side, fixed effects alone, whose intercept is sigma."""

from __future__ import annotations

from typing import Any

from jaxlmm.errors import FormulaError, OptionError
from jaxlmm.formula.syntax.parse import parse
from jaxlmm.formula.tokens import Token, join, split

_EXAMPLE = "write dispersion='~ x + f'"


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
    if not isinstance(text, str):
        raise OptionError(f"dispersion: expected text such as '~ x + f', got {type(text).__name__}.")
    if "~" not in text:
        example = f"write '~ {text.strip()}'" if text.strip() else _EXAMPLE
        raise FormulaError(f"dispersion {text!r}: expected a one-sided formula, got no '~'; {example}.")
    if not text.replace("~", "").strip():
        raise FormulaError(f"dispersion {text!r}: expected variables right of '~', got none; {_EXAMPLE}.")
    try:
        parsed = parse(text)
    except FormulaError as error:
        raise FormulaError(f"dispersion: {error}") from error
    if parsed.response:
        raise FormulaError(
            f"dispersion {text!r}: expected nothing left of '~', got {join(parsed.response)}: what varies with the "
            f"right side is the residual standard deviation; write '~ {parsed.right}'."
        )
    if parsed.bars:
        raise FormulaError(f"dispersion {text!r}: expected fixed effects alone, got {parsed.bars[0].text}; {_EXAMPLE}.")
    if parsed.offsets:
        raise FormulaError(
            f"dispersion {text!r}: expected no offset; a known part of the standard deviation is weights=, with "
            "Var = sigma² / weight."
        )
    if Token("operator", ".") in parsed.fixed:
        raise FormulaError(
            f"dispersion {text!r}: '.' stands for all columns among the fixed effects alone; {_EXAMPLE}."
        )
    terms = [(sign, join(part)) for sign, part in split(parsed.fixed, ("+", "-"))]
    if ("-", "1") in terms or any(term == "0" for _, term in terms):
        raise FormulaError(
            f"dispersion {text!r}: expected a formula with its intercept, which is sigma and stays; {_EXAMPLE}."
        )
    if all(term in ("1", "") for _, term in terms):
        raise FormulaError(
            f"dispersion {text!r}: expected a variable of the residual standard deviation, got the intercept "
            f"alone, which is sigma; leave dispersion= out, or {_EXAMPLE}."
        )
    return parsed.fixed
