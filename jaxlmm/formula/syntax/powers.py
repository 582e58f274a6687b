"""Notes of powers: ``(a + b)^2`` crosses terms, and ``x^2`` is ``x``, where most who write it mean ``I(x^2)``."""

from __future__ import annotations

from collections.abc import Sequence

from jaxlmm.formula.syntax.tags import TAGS
from jaxlmm.formula.tokens import Token, closing, join, split, tokenize


def notes_of_powers(formula: str) -> tuple[str, ...]:
    """Return a note for each power of a single term on the right side of a formula, outside calls.

    >>> notes_of_powers("y ~ Days^2 + (a + b)^2 + I(x^2)")[0].split(":")[0]
    'Days^2 is Days in a formula, as in R, where a power crosses terms'
    """
    (_, right) = split(tokenize(formula), ("~",))[-1]
    return tuple(dict.fromkeys(_note(*power) for power in _powers(right)))


def _note(base: Sequence[Token], sign: str, exponent: Sequence[Token]) -> str:
    """Return the note of one power; as an expression of numbers an interaction is a product."""
    term, power, factors = join(base), join(exponent), [join(factor) for _, factor in split(base, (":",))]
    product = f"({' * '.join(factors)})" if factors[1:] else term
    return (
        f"{term}{sign}{power} is {term} in a formula, as in R, where a power crosses terms: for that of the numbers "
        f"write I({product}**{power})."
    )


def _powers(tokens: Sequence[Token]) -> list[tuple[Sequence[Token], str, Sequence[Token]]]:
    """Return base, operator and exponent of powers of a single term, outside calls, inside bars and brackets."""
    powers: list[tuple[Sequence[Token], str, Sequence[Token]]] = []
    index = 0
    while index < len(tokens):
        end = _end(tokens, index)
        part = tokens[index:end]
        is_group = part[0].text == "(" or (part[0].text in TAGS and _is_column_tag(part))
        if is_group:
            powers += _powers(part[part.index(Token("operator", "(")) + 1 : -1])
        following = tokens[end].text if end < len(tokens) else ""
        if following in ("^", "**") and end + 1 < len(tokens) and tokens[end + 1].text != "1":
            base, power = _unwrapped(part), tokens[end + 1 : _end(tokens, end + 1)]
            end += 1 + len(power)
            if len(split(base, ("+", "-", "*", "/", "|", "||", "%in%", "^", "**"))) == 1 and base:
                powers.append((base, following, power))
        index = end
    return powers


def _end(tokens: Sequence[Token], index: int) -> int:
    """Return the index after a word that begins at ``index``, and the brackets and calls that follow it."""
    word = tokens[index]
    end = closing(tokens, index) if word.text in ("(", "[") else index + 1
    while end < len(tokens) and word.kind in ("name", "quoted") and tokens[end].text in ("(", "["):
        end = closing(tokens, end)
    return end


def _is_column_tag(part: Sequence[Token]) -> bool:
    """Whether a call is a structure over columns, whose left side is a formula; positions are numbers."""
    return TAGS[part[0].text].left == "columns" and len(part) > 2 and part[1].text == "("


def _unwrapped(part: Sequence[Token]) -> Sequence[Token]:
    """Return a term without the parentheses around it."""
    while len(part) > 2 and part[0].text == "(":
        part = part[1:-1]
    return part
