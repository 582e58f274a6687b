"""Unknown names of a formula, and the error that suggests columns and functions for them."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxlmm.errors import FormulaError, nearest, spelled_like
from jaxlmm.formula.functions import BUILTIN_NAMES, REPLACEMENTS
from jaxlmm.formula.tokens import CONSTANTS, Token, look_alikes, oddities, word

SUPERSCRIPT_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


class Unknown(NamedTuple):
    """A name that is no column, ``called`` if arguments follow; ``where`` is the option that names it, if one does."""

    name: str
    called: bool = False
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}{self.name!r}{_with_oddities(self.name)}"


def _with_oddities(name: str) -> str:
    """Return the misleading characters of a name, as an addition to it in a message."""
    odd = oddities(name)
    return f" (with {odd})" if odd else ""


def sorted_names(tokens: Iterable[Token], columns: Collection[object]) -> tuple[list[str], list[Unknown]]:
    """Return the columns that an expression names, in their order, and its unknown names, each once."""
    tokens, columns = list(tokens), set(columns)
    known: list[str] = []
    unknown: list[Unknown] = []
    for index, token in enumerate(tokens):
        following = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.kind not in ("name", "quoted") or following == "=":
            continue
        name, called = token.name, following == "("
        if name in columns and not called and not (token.kind == "name" and name in CONSTANTS):
            known.append(name)
        elif token.kind == "quoted" or name.split(".")[0] not in BUILTIN_NAMES:
            unknown.append(Unknown(name, called))
    return known, list(dict.fromkeys(unknown))


def unknown_names(unknown: Sequence[Unknown], columns: Collection[object], text: str = "") -> FormulaError:
    """Return the error that lists all unknown names, with suggestions.

    ``text`` is their formula, in which columns that lack their backquotes are looked for.
    """
    texts = [str(column) for column in columns]
    unquoted = [name for name in unquoted_columns(text, columns) if any(one.name in name for one in unknown)]
    parts = [one for one in unknown if any(one.name in name for name in unquoted)]
    messages = [f"formula {text!r}: {_one_or_more(parts)}: {backquotes_message(unquoted)}"] if unquoted else []
    messages += [_unknown_function(one.name, texts) for one in unknown if one.called and one not in parts]
    variables = [one for one in unknown if not one.called and one not in parts]
    if variables:
        messages.append(_unknown_variables(variables, columns, texts))
    return FormulaError(" Also ".join(messages))


def unquoted_columns(text: str, columns: Iterable[object]) -> list[str]:
    """Return the columns in a formula whose names are no plain words but lack their backquotes.

    >>> unquoted_columns("y ~ Days (d) + `my x`", ["Days (d)", "my x", "y"])
    ['Days (d)']
    """
    bare = re.sub("`(?:[^`]|``)*`", "`", text)
    special = [one for one in columns if isinstance(one, str) and one.strip() and word(one) != one]
    matching = [name for name in special if re.search(_name_pattern(name), bare)]
    within = {one for one in matching for other in matching if one != other and re.search(_name_pattern(one), other)}
    return [name for name in matching if name not in within]


def backquotes_message(unquoted: Sequence[str]) -> str:
    """Return the part of a message on columns that lack their backquotes in a formula."""
    names = ", ".join(f"{name!r}{_with_oddities(name)}" for name in unquoted)
    written = ", ".join(word(name) for name in unquoted)
    if len(unquoted) == 1:
        return f"the column {names} needs backquotes in a formula, as its name is no plain word; write {written}."
    return f"the columns {names} need backquotes in a formula, as their names are no plain words; write {written}."


def _name_pattern(name: str) -> str:
    """Return a pattern of a name with any spaces between its parts, which begins and ends at borders of words."""
    pattern = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", name)))
    before = r"(?<![\w.])" if re.match(r"[\w.]", name.strip()) else ""
    return before + pattern + (r"(?![\w.])" if re.search(r"[\w.]$", name.strip()) else "")


def _unknown_function(name: str, columns: Sequence[str]) -> str:
    """Return the part of a message on a name that is called and no function of formulas."""
    if name in REPLACEMENTS:
        return f"{name!r} is no function of formulas; {REPLACEMENTS[name]}."
    if isinstance(getattr(np, name, None), np.ufunc):
        return f"{name!r} is no function of formulas; write np.{name}(x), which is NumPy's."
    if name in columns:
        return (
            f"unknown function {name!r}: it is a column of the data, and a formula calls what stands before "
            f"parentheses; write an operator after it, as in {word(name)} + ( or {word(name)}:(."
        )
    functions = sorted(BUILTIN_NAMES - CONSTANTS - {"np", "contr", "pi"}, key=str.lower)
    return (
        f"unknown function {name!r}: it is no function of formulas; {nearest(name, functions)}. np.{name}(x) calls "
        "one of NumPy's; anything else is computed as a column of the data beforehand."
    )


def _unknown_variables(unknown: Sequence[Unknown], columns: Collection[object], texts: Sequence[str]) -> str:
    """Return the part of a message on variables that are no columns; ``texts`` are the names of all columns."""
    if len(unknown) == 1:
        (one,) = unknown
        kinds = [type(column).__name__ for column in columns if not isinstance(column, str) and str(column) == one.name]
        if kinds:
            return (
                f"unknown variable {one}: there is a column {one.name} whose name is no text but {kinds[0]}; make the "
                "names text, as in data.columns = data.columns.astype(str)."
            )
        return f"unknown variable {one}: it is no column of the data; {_suggestion(one.name, texts)}."
    hints = [f"{hint} for {one.name!r}" for one in unknown if (hint := _similar_columns(one.name, texts))]
    there = nearest("", texts)
    hint = f"did you mean {', '.join(hints)}? {there[0].upper()}{there[1:]}" if hints else there
    return f"{_one_or_more(unknown)}: they are no columns of the data; {hint}."


def _one_or_more(unknown: Sequence[Unknown]) -> str:
    """Return unknown variables as the subject of a sentence."""
    *first, last = map(str, unknown)
    return f"unknown variables {', '.join(first)} and {last}" if first else f"unknown variable {last}"


def _suggestion(name: str, columns: Sequence[str]) -> str:
    """Return what to write in place of an unknown variable."""
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
    base = name.rstrip(SUPERSCRIPT_DIGITS)
    if base and base != name and base in columns:
        to_digits = str.maketrans(SUPERSCRIPT_DIGITS, string.digits)
        return f"for a power write I({word(base)}^{name[len(base) :].translate(to_digits)})"
    return nearest(name, columns)


def _similar_columns(name: str, columns: Sequence[str]) -> str:
    """Return the columns that look like a name or have a similar spelling, joined by or; empty if there are none."""
    return " or ".join(look_alikes(name, columns) or spelled_like(name, columns, 2))
