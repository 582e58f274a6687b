"""A formula beside its data: each name as the data spell it, all unknown ones said at once, and ``.`` written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from jaxlmm.errors import DataError, FormulaError, nearest
from jaxlmm.formula.syntax.options import ModelOptions
from jaxlmm.formula.syntax.parse import Bar, ParsedFormula, bar_of, parse, parts_of
from jaxlmm.formula.syntax.unknown import Unknown, sorted_names, unknown_names
from jaxlmm.formula.tokens import Token, column_called, join, quoted, split, tokenize, word

_DOT = Token("operator", ".")

Options = TypeVar("Options", bound=ModelOptions)


def resolved(
    parsed: ParsedFormula,
    columns: Collection[Any],
    options: ModelOptions,
    others: Iterable[str] = (),
    *,
    several: bool = False,
) -> ParsedFormula:
    """Return a formula whose names are those of the data, and in which no ``.`` is left.

    ``.`` among the fixed effects stands for all columns, in their order, but for those that are something else in the
    model: of the response, of the groups, of offsets and weights, and ``others``. ``several`` allows ``cbind``.

    Raises
    ------
    FormulaError
        As :func:`known_names`; if ``.`` stands where it means nothing.
    """
    columns = list(columns)
    parsed = known_names(parsed, columns, options, several=several)
    if not any(_DOT in part for part in parts_of(parsed, parsed.bars)):
        return parsed
    used = {*others, *_taken(parsed, columns, options)}
    expanded = parse(_without_dots(parsed, [column for column in columns if column not in used]))
    if not parsed.response:
        expanded = expanded._replace(response=())
    return renamed(expanded, columns)


def known_names(
    parsed: ParsedFormula, columns: Collection[Any], options: ModelOptions, *, several: bool = False
) -> ParsedFormula:
    """Return a formula whose names are those of the data; ``several`` allows ``cbind``.

    Raises
    ------
    FormulaError
        With all names that neither the data nor the functions have.
    """
    columns = list(columns)
    parsed = renamed(parsed, columns)
    parts = parts_of(parsed, [*parsed.bars, *_residual(columns, options)])
    unknown = list(dict.fromkeys(one for part in parts for one in sorted_names(part, columns)[1]))
    if several:
        unknown = [one for one in unknown if one != Unknown("cbind", called=True)]
    beside = [
        Unknown(value, where=f"{option}=")
        for option, value in _named_columns(options).items()
        if column_called(value, columns) is None
    ]
    if unknown or len(beside) > 1:
        raise unknown_names([*unknown, *beside], columns, parsed.text)
    return parsed


def _residual(columns: Collection[Any], options: ModelOptions) -> list[Bar]:
    return [_renamed_bar(bar, columns) for bar in (options.residual_bar,) if bar is not None]


def _named_columns(options: ModelOptions) -> dict[str, str]:
    """Return the columns that weights and offset name."""
    given = {option: getattr(options, option) for option in ("weights", "offset")}
    return {option: value for option, value in given.items() if isinstance(value, str)}


def _taken(parsed: ParsedFormula, columns: Collection[Any], options: ModelOptions) -> set[str]:
    """Return the columns that are something else than fixed effects."""
    groups = [name for bar in (*parsed.bars, *_residual(columns, options)) for name in bar.group]
    beside = [column_called(value, columns) or value for value in _named_columns(options).values()]
    named = [name for part in (parsed.response, *parsed.offsets) for name in sorted_names(part, columns)[0]]
    return {*groups, *beside, *named}


def resolved_options(options: Options, parsed: ParsedFormula, columns: Collection[Any]) -> Options:
    """Return options whose columns and groups are called as in the data and the formula."""
    columns, groups = list(columns), [bar.group_name for bar in parsed.bars]
    changes: dict[str, Any] = {
        option: column_called(value, columns) or value for option, value in _named_columns(options).items()
    }
    for name in ("kinship", "covariance"):
        given = getattr(options, name) or {}
        called = {key: column_called(key, groups) or key for key in given if isinstance(key, str)}
        if any(key != group for key, group in called.items()):
            changes[name] = {called.get(key, key): value for key, value in given.items()}
    for bar in _residual(columns, options):
        changes["residual"] = bar.text
    return dataclasses.replace(options, **changes) if changes else options


def column_of(option: str, name: str, columns: Collection[Any]) -> str:
    """Return the column that an option names.

    Raises
    ------
    DataError
        With the nearest names, if there is none.
    """
    found = column_called(name, list(columns))
    if found is None:
        raise DataError(f"{option}: {name!r} is no column of the data; {nearest(name, columns)}.")
    return found


def renamed(parsed: ParsedFormula, columns: Collection[Any]) -> ParsedFormula:
    """Return a formula with each column as the data spell it."""
    return parsed._replace(
        response=_named(parsed.response, columns),
        fixed=_named(parsed.fixed, columns),
        bars=tuple(_renamed_bar(bar, columns) for bar in parsed.bars),
        offsets=tuple(_named(tokens, columns) for tokens in parsed.offsets),
    )


def _renamed_bar(bar: Bar, columns: Collection[Any]) -> Bar:
    group = tuple(column_called(name, columns) or name for name in bar.group)
    left = _named(bar.left, columns)
    return bar if (left, group) == (bar.left, bar.group) else bar_of(bar.tag, left, group)


def _named(tokens: Sequence[Token], columns: Collection[Any]) -> tuple[Token, ...]:
    found = []
    for token in tokens:
        name = token.name if token.kind in ("name", "quoted") and not token.text.isascii() else None
        column = None if name is None else column_called(name, columns)
        found.append(token if column in (None, name) else quoted(str(column)))
    return tuple(found)


def _without_dots(parsed: ParsedFormula, rest: Sequence[Any]) -> str:
    """Return the text of a formula with the columns ``rest`` in place of each ``.`` among the fixed effects."""
    text = parsed.text
    left, right = (part for _, part in split(tokenize(text), ("~",)))
    misplaced = [part for part in (left, *parsed.offsets, *(bar.left for bar in parsed.bars)) if _DOT in part]
    if misplaced:
        raise FormulaError(
            f"formula {text!r}: '.' stands for all other columns among the fixed effects alone, got "
            f"{join(misplaced[0])!r}; name the columns there."
        )
    unnamed = [column for column in rest if not isinstance(column, str)]
    if unnamed:
        raise FormulaError(
            f"formula {text!r}: '.' stands for all other columns, of which {unnamed[0]!r} has a name that is no text "
            f"but {type(unnamed[0]).__name__}; make the names text, as in data.columns = data.columns.astype(str)."
        )
    if not rest:
        raise FormulaError(f"formula {text!r}: '.' stands for all other columns, and the data have none.")
    written: list[Token] = []
    for sign, term in split(right, ("+", "-")):
        alone = list(term) == [_DOT] and sign != "-"
        added = {part[0].name for other, part in split(right, ("+", "-")) if len(part) == 1 and other != "-"}
        names = [name for name in rest if not (alone and name in added)]
        words = tokenize(" + ".join(map(word, names)))
        brackets = (Token("operator", "("), Token("operator", ")"))
        dot = words if alone else [brackets[0], *words, brackets[1]]
        if alone and not names:
            continue
        written += [Token("operator", sign)] if sign and (written or sign == "-") else []
        written += _in_calls_refused(text, term, dot)
    return f"{join([*left, Token('operator', '~'), *written])}".strip()


def _in_calls_refused(text: str, term: Sequence[Token], dot: Sequence[Token]) -> list[Token]:
    """Put ``dot`` for each ``.`` of a term, but not in a call."""
    found: list[Token] = []
    calls: list[bool] = []
    for index, token in enumerate(term):
        if token.text in ("(", "[", "{"):
            calls.append(token.text != "(" or (index > 0 and term[index - 1].kind in ("name", "quoted")))
        elif token.text in (")", "]", "}"):
            calls.pop()
        if token == _DOT and any(calls):
            raise FormulaError(
                f"formula {text!r}: '.' stands for all other columns, which have no place in a call, got "
                f"{join(term)!r}; name the column."
            )
        found += dot if token == _DOT else [token]
    return found
