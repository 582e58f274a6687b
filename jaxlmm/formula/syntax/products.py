"""The algebra of ``* : / ^``, by formulaic, on plain names in place of variables, calls and random terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxlmm.formula.tokens import Token, closing, is_bar, join


def expand(
    tokens: Sequence[Token], canonical: Callable[[str], str] = str, *, intercept: bool = True
) -> tuple[tuple[str, ...], ...]:
    """Return the terms of an expression as the texts of their factors; the intercept is ``("1",)``.

    ``canonical`` returns the same spelling for texts that are the same factor.

    Raises
    ------
    ValueError
        If formulaic cannot read it.

    Examples
    --------
    >>> from jaxlmm.formula.tokens.tokens import tokenize
    >>> expand(tokenize("log(a) * `b c`"), intercept=False)
    (('log(a)',), ('`b c`',), ('log(a)', '`b c`'))
    """
    atoms, pattern = atoms_of(tokens, canonical)
    if pattern == "v0" and not intercept:
        return ((atoms[0],),)
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        terms = [str(term).split(":") for term in Formula(pattern if intercept else f"0 + {pattern}")]
        return tuple(
            tuple(factor if factor == "1" else atoms[int(factor.removeprefix("v"))] for factor in term)
            for term in terms
        )
    except (FormulaicError, ValueError, IndexError) as error:
        raise ValueError(f"cannot read {join(tokens)!r}") from error


def atoms_of(tokens: Sequence[Token], canonical: Callable[[str], str] = str) -> tuple[list[str], str]:
    """Return the variables, calls and random terms as texts, and the pattern of operators around ``v0 v1 …``."""
    atoms: list[str] = []
    pattern, index = "", 0
    while index < len(tokens):
        token, end = tokens[index], index + 1
        if token.text == "(" and is_bar(tokens[index : closing(tokens, index)]):
            end = closing(tokens, index)
        elif token.kind in ("name", "quoted", "string") or token.text == "{":
            end = closing(tokens, index) if token.text == "{" else end
            while end < len(tokens) and tokens[end].text in ("(", "["):
                end = closing(tokens, end)
        else:
            pattern += token.text
            index = end
            continue
        text = join(tokens[index:end])
        numbers = {canonical(atom): number for number, atom in enumerate(atoms)}
        number = numbers.setdefault(canonical(text), len(atoms))
        if number == len(atoms):
            atoms.append(text)
        pattern += f"v{number}"
        index = end
    return atoms, pattern
