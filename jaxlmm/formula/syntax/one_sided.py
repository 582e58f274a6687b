"""One-sided formulas of fixed effects, as the options ``dispersion`` and ``zero_inflated`` have them."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxlmm.errors import FormulaError, OptionError
from jaxlmm.formula.syntax.parse import ParsedFormula, parse
from jaxlmm.formula.tokens import Token, join, split


class Side(NamedTuple):
    """The ``terms`` of a one-sided formula: as tokens, and with their signs as words."""

    terms: tuple[Token, ...]
    words: tuple[tuple[str, str], ...]


def one_sided(option: str, text: Any, example: str, *, varies: str, offset: str) -> Side:
    """Return the terms of an option that is a one-sided formula of fixed effects.

    ``example`` is one, ``varies`` says in words what its right side changes, and ``offset`` what to write instead of a
    known part.

    Raises
    ------
    OptionError, FormulaError
        If it is no such formula.
    """
    advice = f"write {option}={example!r}"
    if not isinstance(text, str):
        raise OptionError(f"{option}: expected text such as {example!r}, got {type(text).__name__}.")
    if "~" not in text:
        advice = f"write '~ {text.strip()}'" if text.strip() else advice
        raise FormulaError(f"{option} {text!r}: expected a one-sided formula, got no '~'; {advice}.")
    if not text.replace("~", "").strip():
        raise FormulaError(f"{option} {text!r}: expected variables right of '~', got none; {advice}.")
    parsed = _parsed(option, text)
    if parsed.response:
        raise FormulaError(
            f"{option} {text!r}: expected nothing left of '~', got {join(parsed.response)}: what varies with the "
            f"right side is {varies}; write '~ {parsed.right}'."
        )
    if parsed.bars:
        raise FormulaError(f"{option} {text!r}: expected fixed effects alone, got {parsed.bars[0].text}; {advice}.")
    if parsed.offsets:
        raise FormulaError(f"{option} {text!r}: expected no offset; {offset}.")
    if Token("operator", ".") in parsed.fixed:
        raise FormulaError(f"{option} {text!r}: '.' stands for all columns among the fixed effects alone; {advice}.")
    words = tuple((sign, join(part)) for sign, part in split(parsed.fixed, ("+", "-")))
    return Side(parsed.fixed, words)


def _parsed(option: str, text: str) -> ParsedFormula:
    try:
        return parse(text)
    except FormulaError as error:
        raise FormulaError(f"{option}: {error}") from error
