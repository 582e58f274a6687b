"""A formula resolved against its data: names as the data spell them, one error for all unknown ones, no ``.`` left.

The same name may be spelled by other Unicode characters (:func:`jaxlmm.formula.tokens.column_called`), as é may.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from jaxlmm.covariance import Along
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
    allow_cbind: bool = False,
) -> ParsedFormula:
    """Return a formula whose names are those of the data, and in which no ``.`` is left.

    ``.`` among the fixed effects stands for all columns, in their order, but for those of the response, groups, offsets
    and weights, and ``others``. ``allow_cbind`` allows ``cbind(y1, y2)`` as the response, of several responses; that of
    successes and failures is always.

    Raises
    ------
    FormulaError
        As :func:`with_known_names`; if ``.`` stands in the response, an offset, a bar or a call.
    """
    columns = list(columns)
    parsed = with_known_names(parsed, columns, options, allow_cbind=allow_cbind)
    if not any(_DOT in part for part in parts_of(parsed, parsed.bars)):
        return parsed
    used = {*others, *_columns_in_use(parsed, columns, options)}
    expanded = parse(_without_dots(parsed, [column for column in columns if column not in used]))
    expanded = expanded._replace(dispersion=parsed.dispersion, zeros=parsed.zeros)
    if not parsed.response:
        expanded = expanded._replace(response=())
    return renamed(expanded, columns)


def with_known_names(
    parsed: ParsedFormula, columns: Collection[Any], options: ModelOptions, *, allow_cbind: bool = False
) -> ParsedFormula:
    """Return a formula whose names are those of the data; ``allow_cbind`` allows ``cbind(y1, y2)``.

    Raises
    ------
    FormulaError
        With all names of formula and options that are neither columns of the data nor functions; a single one that an
        option names has an error of its own, where the option is read.
    """
    columns = list(columns)
    parsed = renamed(parsed._replace(dispersion=options.dispersion_terms, zeros=options.zero_terms), columns)
    parts = parts_of(parsed, [*parsed.bars, *_residual_bars(columns, options)])
    unknown = list(dict.fromkeys(one for part in parts for one in sorted_names(part, columns)[1]))
    if allow_cbind or options.has_trials:
        unknown = [name for name in unknown if name != Unknown("cbind", called=True)]
    unknown_options = [
        Unknown(value, where=f"{option}=")
        for option, value in _named_columns(options).items()
        if column_called(value, columns) is None
    ]
    if unknown or len(unknown_options) > 1:
        raise unknown_names([*unknown, *unknown_options], columns, parsed.text)
    return parsed


def _residual_bars(columns: Collection[Any], options: ModelOptions) -> list[Bar]:
    """Return the bar of the residual structure, if there is one, with names as the data spell them."""
    return [_renamed_bar(bar, columns) for bar in (options.residual_bar,) if bar is not None]


def _named_columns(options: ModelOptions) -> dict[str, str]:
    """Return the columns that the options ``weights``, ``offset`` and ``trials`` name."""
    values = {option: getattr(options, option) for option in ("weights", "offset", "trials")}
    return {option: value for option, value in values.items() if isinstance(value, str)}


def _columns_in_use(parsed: ParsedFormula, columns: Collection[Any], options: ModelOptions) -> set[str]:
    """Return the columns of the response, groups, offsets and weights."""
    bars = (*parsed.bars, *_residual_bars(columns, options))
    groups = [name for bar in bars for name in (*bar.group, *([bar.by] if bar.by is not None else []))]
    option_columns = [column_called(value, columns) or value for value in _named_columns(options).values()]
    expression_columns = [
        name for part in (parsed.response, *parsed.offsets) for name in sorted_names(part, columns)[0]
    ]
    return {*groups, *option_columns, *expression_columns}


def resolved_options(options: Options, parsed: ParsedFormula, columns: Collection[Any]) -> Options:
    """Return options with columns as the data spell them, and groups of known matrices or structures as the formula."""
    columns, groups = list(columns), [bar.group_name for bar in parsed.bars]
    changes: dict[str, Any] = {
        option: column_called(value, columns) or value for option, value in _named_columns(options).items()
    }
    for name in ("kinship", "covariance"):
        by_group = getattr(options, name) or {}
        group_of = {key: column_called(key, groups) or key for key in by_group if isinstance(key, str)}
        if any(key != group for key, group in group_of.items()):
            changes[name] = {group_of.get(key, key): value for key, value in by_group.items()}
    for bar in _residual_bars(columns, options):
        positions = bar.text[bar.text.index("(") + 1 : -1]
        changes["residual"] = bar.text if bar.own is None else Along(bar.own, positions)
    return dataclasses.replace(options, **changes) if changes else options


def column_of(option: str, name: str, columns: Collection[Any]) -> str:
    """Return the column of the data that an option names.

    Raises
    ------
    DataError
        With the nearest names, if there is none.
    """
    column = column_called(name, list(columns))
    if column is None:
        raise DataError(f"{option}: {name!r} is no column of the data; {nearest(name, columns)}.")
    return column


def renamed(parsed: ParsedFormula, columns: Collection[Any]) -> ParsedFormula:
    """Return a formula with each column as the data spell it."""
    return parsed._replace(
        response=_renamed_tokens(parsed.response, columns),
        fixed=_renamed_tokens(parsed.fixed, columns),
        dispersion=_renamed_tokens(parsed.dispersion, columns),
        zeros=_renamed_tokens(parsed.zeros, columns),
        bars=tuple(_renamed_bar(bar, columns) for bar in parsed.bars),
        offsets=tuple(_renamed_tokens(tokens, columns) for tokens in parsed.offsets),
    )


def _renamed_bar(bar: Bar, columns: Collection[Any]) -> Bar:
    """Return a bar with each column as the data spell it."""
    group = tuple(column_called(name, columns) or name for name in bar.group)
    left = _renamed_tokens(bar.left, columns)
    by = None if bar.by is None else column_called(bar.by, columns) or bar.by
    same = (left, group, by) == (bar.left, bar.group, bar.by)
    return bar if same else bar_of(bar.tag, left, group, bar.options, by)._replace(own=bar.own)


def _renamed_tokens(tokens: Sequence[Token], columns: Collection[Any]) -> tuple[Token, ...]:
    """Return tokens with each column as the data spell it, in backquotes if that differs."""
    spelled = []
    for token in tokens:
        name = token.name if token.kind in ("name", "quoted") and not token.text.isascii() else None
        column = None if name is None else column_called(name, columns)
        spelled.append(token if column in (None, name) else quoted(str(column)))
    return tuple(spelled)


def _without_dots(parsed: ParsedFormula, unused: Sequence[Any]) -> str:
    """Return the text of a formula with ``unused`` columns in place of each ``.`` among the fixed effects."""
    text = parsed.text
    left, right = (part for _, part in split(tokenize(text), ("~",)))
    misplaced = [part for part in (left, *parsed.offsets, *(bar.left for bar in parsed.bars)) if _DOT in part]
    if misplaced:
        raise FormulaError(
            f"formula {text!r}: '.' stands for all other columns among the fixed effects alone, got "
            f"{join(misplaced[0])!r}; name the columns there."
        )
    unnamed = [column for column in unused if not isinstance(column, str)]
    if unnamed:
        raise FormulaError(
            f"formula {text!r}: '.' stands for all other columns, of which {unnamed[0]!r} has a name that is no text "
            f"but {type(unnamed[0]).__name__}; make the names text, as in data.columns = data.columns.astype(str)."
        )
    if not unused:
        raise FormulaError(f"formula {text!r}: '.' stands for all other columns, and the data have none.")
    expanded: list[Token] = []
    for sign, term in split(right, ("+", "-")):
        # A '.' that is a term leaves out columns that are terms too; in a larger one, as (.)^2, it stands in brackets.
        alone = list(term) == [_DOT] and sign != "-"
        added = {part[0].name for other, part in split(right, ("+", "-")) if len(part) == 1 and other != "-"}
        names = [name for name in unused if not (alone and name in added)]
        words = tokenize(" + ".join(map(word, names)))
        brackets = (Token("operator", "("), Token("operator", ")"))
        dot = words if alone else [brackets[0], *words, brackets[1]]
        if alone and not names:
            continue
        expanded += [Token("operator", sign)] if sign and (expanded or sign == "-") else []
        expanded += _with_dots_replaced(text, term, dot)
    return f"{join([*left, Token('operator', '~'), *expanded])}".strip()


def _with_dots_replaced(text: str, term: Sequence[Token], dot: Sequence[Token]) -> list[Token]:
    """Return a term with ``dot`` in place of each ``.``; raise if one is in a call."""
    replaced: list[Token] = []
    calls: list[bool] = []  # of each bracket that is open: whether it is a call's
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
        replaced += dot if token == _DOT else [token]
    return replaced
