"""R's ``update.formula`` on the tokens of a formula: the algebra of ``". ~ . - x"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxlmm.errors import FormulaError, nearest
from jaxlmm.formula.syntax.products import atoms_of, expand
from jaxlmm.formula.tokens import Token, closing, is_bar, join, split, tokenize

_DOT = Token("operator", ".")
_OPEN, _CLOSE = Token("operator", "("), Token("operator", ")")


class _Sum(NamedTuple):
    """One side of a formula, expanded: terms as tuples of their factors, and whether there is an intercept."""

    terms: tuple[tuple[str, ...], ...]
    intercept: bool


def updated(old: str, new: str) -> str:
    """Return the formula ``new``, in which ``.`` stands for the same side of the formula ``old``.

    The right side is expanded, its terms are sorted by degree and offsets come last, as R's ``update.formula`` does.
    A random term counts as one variable, and ``(1 + x | g)`` is ``(x | g)``. Other than in R, an offset can be
    subtracted, and subtracting a term that is not there is an error.

    Raises
    ------
    FormulaError
        If a formula cannot be read, or a subtracted term is not in it.

    Examples
    --------
    >>> updated("y ~ x + (1 | g)", ". ~ . - x")
    'y ~ (1 | g)'
    >>> updated("y ~ a * b + (1 | g)", "log(.) ~ . - a:b + (1 | h)")
    'log(y) ~ a + b + (1 | g) + (1 | h)'
    >>> updated("y ~ x + (1 + x | g)", "~ . - (x | g) + (x || g) - 1")
    'y ~ x + (x || g) - 1'
    >>> updated("y ~ x", ". ~ . - z")
    Traceback (most recent call last):
        ...
    jaxlmm.errors.FormulaError: formula '. ~ . - z': 'z' is subtracted, but it is no term; there are: x
    """
    (old_left, old_right), (new_left, new_right) = _sides(old), _sides(new)
    left = _substituted(new_left, old_left) if new_left else old_left
    right = _expand(new, new_right, _expand(old, old_right, None))
    return f"{join(left)} ~ {_written(right)}"


def _sides(formula: str) -> tuple[list[Token], list[Token]]:
    """Return the words on both sides of ``~``."""
    if not isinstance(formula, str):
        raise FormulaError(f"formula: expected text such as '. ~ . - x', got {type(formula).__name__}.")
    sides = split(tokenize(formula), ("~",))
    if len(sides) != 2 or not sides[1][1]:
        raise FormulaError(f"formula {formula!r}: expected one '~' with terms right of it, as in '. ~ . - x'.")
    return sides[0][1], sides[1][1]


def _substituted(tokens: Sequence[Token], old: Sequence[Token]) -> list[Token]:
    """Return words with ``old`` in place of each dot, in parentheses where an operator beside it binds tighter."""
    single = len(atoms_of(old)[0]) == 1
    substituted: list[Token] = []
    for index, token in enumerate(tokens):
        if token != _DOT:
            substituted.append(token)
            continue
        before = tokens[index - 1].text if index else "("
        after = tokens[index + 1].text if index + 1 < len(tokens) else ")"
        alone = single or (before in "(," and after in "),")
        substituted += old if alone else [_OPEN, *old, _CLOSE]
    return substituted


def _expand(formula: str, tokens: Sequence[Token], old: _Sum | None) -> _Sum:
    """Expand one side: add and subtract its terms, from left to right."""
    terms: list[tuple[str, ...]] = []
    intercept = True
    for sign, part in split(tokens, ("+", "-")):
        text = join(part)
        if not part and not sign and len(tokens) > 1:  # a leading sign
            continue
        if not part:
            raise FormulaError(f"formula {formula!r}: a term is missing after {sign or '~'!r}.")
        if text in ("0", "1"):
            intercept = (text == "1") == (sign != "-")
            continue
        operand = _operand(formula, part, old)
        if sign != "-":
            intercept = intercept and operand.intercept
            present = {_key(term) for term in terms}
            terms += [term for term in operand.terms if _key(term) not in present]
            continue
        for term in operand.terms:
            kept = [other for other in terms if _key(other) != _key(term)]
            if len(kept) == len(terms):
                names = [":".join(other) for other in terms]
                raise FormulaError(
                    f"formula {formula!r}: {':'.join(term)!r} is subtracted, but it is no term; "
                    f"{nearest(':'.join(term), names)}"
                )
            terms = kept
    ordered = sorted(terms, key=lambda term: (_is_offset(term), len(term)))
    return _Sum(tuple(ordered), intercept)


def _operand(formula: str, part: Sequence[Token], old: _Sum | None) -> _Sum:
    """Expand an operand of ``+`` or ``-``: a dot, a sum in parentheses, or a product."""
    if list(part) == [_DOT]:
        if old is None:
            raise FormulaError(f"formula {formula!r}: '.' for all other columns is not understood; name the columns.")
        return old
    enclosed = part[0] == _OPEN and closing(part, 0) == len(part)
    if enclosed and not is_bar(part):
        return _expand(formula, part[1:-1], old)
    words: list[Token] = []
    for token in part:
        words += [_OPEN, *tokenize(_written(old)), _CLOSE] if token == _DOT and old is not None else [token]
    return _Sum(_product(formula, words), True)


def _product(formula: str, tokens: Sequence[Token]) -> tuple[tuple[str, ...], ...]:
    """Expand ``* : / ^``; a random term stands alone."""
    try:
        terms = expand(tokens, _canonical, intercept=False)
    except ValueError as error:
        raise FormulaError(f"formula {formula!r}: cannot read {join(tokens)!r}.") from error
    for term in terms:
        if len(term) > 1 and any(is_bar(tokenize(factor)) for factor in term):
            raise FormulaError(
                f"formula {formula!r}: {':'.join(term)!r} multiplies a random term; add and subtract those."
            )
    return terms


def _canonical(atom: str) -> str:
    """Return a factor, ``(1 + x | g)`` as ``(x | g)``."""
    return atom.replace("(1 + ", "(", 1) if is_bar(tokenize(atom)) else atom


def _key(term: Sequence[str]) -> frozenset[str]:
    """Return the factors of a term without their order: equal terms have equal keys."""
    return frozenset(_canonical(factor) for factor in term)


def _is_offset(term: Sequence[str]) -> bool:
    return term[0].startswith("offset(")


def _written(side: _Sum) -> str:
    """Return one side of a formula as text."""
    text = " + ".join(":".join(term) for term in side.terms)
    if not side.intercept:
        return f"{text} - 1" if text else "0"
    return text or "1"
