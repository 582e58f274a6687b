"""Names of a formula that the data do not have: which they are, and what may be meant."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxlmm.errors import FormulaError, nearest, spelled_like
from jaxlmm.formula.functions import INSTEAD, KNOWN
from jaxlmm.formula.tokens import CONSTANTS, Token, look_alikes, oddities, word

POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


class Unknown(NamedTuple):
    """A name that is no column, ``called`` if arguments follow; ``where`` is the option that names it, if one does."""

    name: str
    called: bool = False
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}{self.name!r}{_with_oddities(self.name)}"


def _with_oddities(name: str) -> str:
    odd = oddities(name)
    return f" (with {odd})" if odd else ""


def sorted_names(tokens: Iterable[Token], columns: Collection[object]) -> tuple[list[str], list[Unknown]]:
    """Return the columns that an expression names, in their order, and the names that are nowhere, each once."""
    tokens, columns = list(tokens), set(columns)
    found: list[str] = []
    unknown: list[Unknown] = []
    for index, token in enumerate(tokens):
        following = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.kind not in ("name", "quoted") or following == "=":
            continue
        name, called = token.name, following == "("
        if name in columns and not called and not (token.kind == "name" and name in CONSTANTS):
            found.append(name)
        elif token.kind == "quoted" or name.split(".")[0] not in KNOWN:
            unknown.append(Unknown(name, called))
    return found, list(dict.fromkeys(unknown))


def unknown_names(unknown: Sequence[Unknown], columns: Collection[object], text: str = "") -> FormulaError:
    """Return the error that says which names are nowhere, all at once, and what may be meant.

    ``text`` is the formula, of which ``unknown`` are; a column whose name stands in it without backquotes is found.
    """
    texts = [str(column) for column in columns]
    bare = [name for name in unquoted_columns(text, columns) if any(one.name in name for one in unknown)]
    parts = [one for one in unknown if any(one.name in name for name in bare)]
    said = [f"formula {text!r}: {_one_or_more(parts)}: {said_of(bare)}"] if bare else []
    said += [_function(one.name, texts) for one in unknown if one.called and one not in parts]
    variables = [one for one in unknown if not one.called and one not in parts]
    if variables:
        said.append(_variables(variables, columns, texts))
    return FormulaError(" Also ".join(said))


def unquoted_columns(text: str, columns: Iterable[object]) -> list[str]:
    """Return the columns that are no plain words and stand in a formula without backquotes.

    >>> unquoted_columns("y ~ Days (d) + `my x`", ["Days (d)", "my x", "y"])
    ['Days (d)']
    """
    rest = re.sub("`(?:[^`]|``)*`", "`", text)
    found = [
        column
        for column in columns
        if isinstance(column, str) and column.strip() and word(column) != column and re.search(_loosely(column), rest)
    ]
    return [one for one in found if not any(one != other and re.search(_loosely(one), other) for other in found)]


def said_of(bare: Sequence[str]) -> str:
    """Return what to do about columns that stand in a formula without backquotes."""
    names = ", ".join(f"{name!r}{_with_oddities(name)}" for name in bare)
    written = ", ".join(word(name) for name in bare)
    if len(bare) == 1:
        return f"the column {names} needs backquotes in a formula, as its name is no plain word; write {written}."
    return f"the columns {names} need backquotes in a formula, as their names are no plain words; write {written}."


def _loosely(name: str) -> str:
    """Return a pattern of a name with spaces as they come, that does not begin or end within another word."""
    pattern = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", name)))
    before = r"(?<![\w.])" if re.match(r"[\w.]", name.strip()) else ""
    return before + pattern + (r"(?![\w.])" if re.search(r"[\w.]$", name.strip()) else "")


def _function(name: str, columns: Sequence[str]) -> str:
    if name in INSTEAD:
        return f"{name!r} is no function of formulas; {INSTEAD[name]}."
    if isinstance(getattr(np, name, None), np.ufunc):
        return f"{name!r} is no function of formulas; write np.{name}(x), which is NumPy's."
    if name in columns:
        return (
            f"unknown function {name!r}: it is a column of the data, and a formula calls what stands before "
            f"parentheses; write an operator after it, as in {word(name)} + ( or {word(name)}:(."
        )
    functions = sorted(KNOWN - CONSTANTS - {"np", "contr", "pi"}, key=str.lower)
    return (
        f"unknown function {name!r}: it is no function of formulas; {nearest(name, functions)}. np.{name}(x) calls "
        "one of NumPy's; anything else is computed as a column of the data beforehand."
    )


def _variables(unknown: Sequence[Unknown], columns: Collection[object], texts: Sequence[str]) -> str:
    if len(unknown) == 1:
        (one,) = unknown
        kinds = [type(column).__name__ for column in columns if not isinstance(column, str) and str(column) == one.name]
        if kinds:
            return (
                f"unknown variable {one}: there is a column {one.name} whose name is no text but {kinds[0]}; make the "
                "names text, as in data.columns = data.columns.astype(str)."
            )
        return f"unknown variable {one}: it is no column of the data; {_meant(one.name, texts)}."
    hints = [f"{hint} for {one.name!r}" for one in unknown if (hint := _close(one.name, texts))]
    meant = f"did you mean {', '.join(hints)}? " if hints else ""
    there = nearest("", texts)
    return f"{_one_or_more(unknown)}: they are no columns of the data; {meant}{there}."


def _one_or_more(unknown: Sequence[Unknown]) -> str:
    *first, last = map(str, unknown)
    return f"unknown variables {', '.join(first)} and {last}" if first else f"unknown variable {last}"


def _meant(name: str, columns: Sequence[str]) -> str:
    alike = look_alikes(name, columns)
    if alike:
        return (
            f"{alike[0]!r}{_with_oddities(alike[0])} only looks like it; write {word(alike[0])}, or rename the column"
        )
    plain = unicodedata.normalize("NFKC", "".join(one for one in name if unicodedata.category(one) != "Cf"))
    if not plain:
        return "remove it"
    if plain != name and plain.isdecimal():
        return f"write {plain}"
    base = name.rstrip("⁰¹²³⁴⁵⁶⁷⁸⁹")
    if base and base != name and base in columns:
        return f"for a power write I({word(base)}^{name[len(base) :].translate(POWERS)})"
    return nearest(name, columns)


def _close(name: str, columns: Sequence[str]) -> str:
    """Return the columns that may be meant by a name, if any is near."""
    return " or ".join(look_alikes(name, columns) or spelled_like(name, columns, 2))
