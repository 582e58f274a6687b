"""Circular formulas: responses whose variable is also a predictor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from jaxlmm.errors import FormulaError
from jaxlmm.formula.columns.columns import model_variables, used_variables
from jaxlmm.formula.syntax import Bar, ParsedFormula
from jaxlmm.formula.tokens import Token, join


def right_variables(parsed: ParsedFormula, bars: Iterable[Bar], columns: Collection[str]) -> set[str]:
    """Return the ``columns`` of the data right of a formula's ``~``, except those that occur only in ``lag()``."""
    bars = [bar._replace(left=tuple(_without_lags(bar.left))) for bar in bars]
    offsets = tuple(tuple(_without_lags(tokens)) for tokens in parsed.offsets)
    right = parsed._replace(response=(), fixed=tuple(_without_lags(parsed.fixed)), offsets=offsets)
    return set(model_variables(right, bars, columns))


def explains_itself(response: Sequence[Token], right: Collection[str], columns: Collection[str]) -> bool:
    """Return whether a response is a function of one variable, and that variable is on the right side too.

    A response of several variables, as ``I(after - before) ~ before``, may have each of them as a predictor.
    """
    own = set(used_variables(response, columns))
    return len(own) == 1 and own <= set(right)


def check_response_apart(parsed: ParsedFormula, bars: Iterable[Bar], columns: Collection[str]) -> None:
    """Raise if the response of a formula is circular (:func:`explains_itself`)."""
    if parsed.response and explains_itself(parsed.response, right_variables(parsed, bars, columns), columns):
        (name,) = set(used_variables(parsed.response, columns))
        raise FormulaError(
            f"formula {parsed.text!r}: expected a response that is no predictor, got {join(parsed.response)} with "
            f"{name!r} right of '~' too, where it would explain itself; remove it there. What is no copy of the "
            "response, such as its value a day before, needs a column of its own."
        )


def _without_lags(tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens of an expression without names inside ``lag()``: another row's value is another variable."""
    kept: list[Token] = []
    depth, inside = 0, 0
    for index, token in enumerate(tokens):
        depth += token.text == "("
        if token.text == "(" and not inside and index and tokens[index - 1].text == "lag":
            inside = depth
        elif token.text == ")" and inside == depth:
            inside = 0
        if not inside or token.kind not in ("name", "quoted"):
            kept.append(token)
        depth -= token.text == ")"
    return kept
