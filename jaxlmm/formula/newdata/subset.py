"""Random effects of a prediction: ``re_form``, as ``"~ (1 | g)"``, matched to a model's random terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxlmm.errors import OptionError
from jaxlmm.formula.functions import column_name
from jaxlmm.formula.groups import ModelLabels, real_factors
from jaxlmm.formula.syntax import Bar, parse, parse_tag, renamed
from jaxlmm.formula.tokens import Token, is_bar, join, split, tokenize


def chosen_columns(labels: ModelLabels, re_form: str | None) -> tuple[tuple[int, ...], ...]:
    """Return the indices of the columns that ``re_form`` names, for each term.

    Parameters
    ----------
    labels
        The model.
    re_form
        None for all random terms, ``"~0"`` for none, else random terms: whole terms of the model, or an intercept and
        numeric columns out of those of a group, which are found by name as in lme4.

    Raises
    ------
    OptionError
        If it is no such formula, or a term or column of it is not in the model.
    FormulaError
        If it cannot be read.
    """
    if re_form is None:
        return tuple(tuple(range(len(term.columns))) for term in labels.terms)
    if not isinstance(re_form, str) or "~" not in re_form:
        raise OptionError(
            f"re_form: expected None, '~0' or random terms such as '~ (1 | g)', got {re_form!r}; {_advice(re_form)}."
        )
    variables = _variables(labels)
    parsed = renamed(parse(re_form, variables), variables)
    fixed = join(parsed.fixed)  # "1", the implied intercept, where only random terms are written
    if parsed.response or parsed.offsets or fixed not in (("0", "1") if parsed.bars else ("0",)):
        raise OptionError(
            f"re_form: expected '~0' or random terms alone, such as '~ (1 | g)', got {re_form!r}; {_advice(fixed)}."
        )
    chosen = {pair for bar in parsed.bars for pair in _columns_of_bar(labels, bar, variables)}
    return tuple(
        tuple(column for column in range(len(term.columns)) if (number, column) in chosen)
        for number, term in enumerate(labels.terms)
    )


def _advice(re_form: Any) -> str:
    """Return the spelling to use instead of a value of lme4, or of random terms without a tilde."""
    if isinstance(re_form, str) and "|" in re_form:
        return f"write '~ {re_form.strip() if is_bar(tokenize(re_form)) else f'({re_form.strip()})'}'"
    if (isinstance(re_form, str) and re_form.strip().upper() in ("NULL", "ALL")) or re_form is True:
        return "None, the default, takes all random effects"
    return "'~0' takes no random effects, as lme4's NA does, and None takes all, as its NULL does"


def _variables(labels: ModelLabels) -> list[str]:
    """Return the variables of the random terms."""
    encodings = [term.encoding for term in labels.terms if term.encoding is not None]
    names = [name for encoding in encodings for name in encoding.variables]
    return list(dict.fromkeys([*names, *(name for group in labels.groups.values() for name in group.factors)]))


def _columns_of_bar(labels: ModelLabels, bar: Bar, variables: Sequence[str]) -> set[tuple[int, int]]:
    """Return the columns of the model that a bar of ``re_form`` selects, as pairs of indices (term, column).

    If the model has the bar itself, all columns of that term; otherwise the columns that it names, out of the terms of
    its group. ``a:b`` and ``b:a`` are the same group.
    """
    # Several terms where the group has several known matrices: each is a term with the text of the bar.
    same = [
        number
        for number, term in enumerate(labels.terms)
        if _term_key(parse_tag(term.text, "re_form"), variables) == _term_key(bar, variables)
    ]
    if same:
        return {(number, column) for number in same for column in range(len(labels.terms[number].columns))}
    columns: dict[str, set[tuple[int, int]]] = {}
    owners: dict[str, str] = {}  # where several bars have a column, the first is meant
    for number, term in enumerate(labels.terms):
        if set(labels.groups[term.group].factors) == set(real_factors(bar.group)) and term.positions is None:
            for index, name in enumerate(term.columns):
                if owners.setdefault(name, term.text) == term.text:
                    columns.setdefault(name, set()).add((number, index))
    names = _names(bar.left, variables) if not bar.over_positions else ()
    if not names or not columns.keys() >= set(names):
        terms = "; ".join(f"{term.text} with columns {', '.join(term.columns[:8])}" for term in labels.terms)
        raise OptionError(
            f"re_form: expected random terms of the fit, or an intercept and numeric columns of one, got {bar.text}. "
            f"There are: {terms or 'no random terms'}."
        )
    return set().union(*(columns[name] for name in names))


def _term_key(bar: Bar, variables: Sequence[str]) -> tuple[object, ...]:
    """Return the tag, options, factors and columns of a bar, which are equal for two spellings of one term."""
    names = _names(bar.left, variables) or (join(bar.left),)
    return bar.tag, frozenset(bar.options), bar.by, frozenset(real_factors(bar.group)), names


def _names(left: Sequence[Token], variables: Sequence[str]) -> tuple[str, ...]:
    """Return the summands of the left side of a bar, the intercept first; none if another summand is subtracted."""
    names, intercept = [], True
    for sign, part in split(left, ("+", "-")):
        text = join(part)
        if text in ("0", "1"):
            intercept = (text == "1") != (sign == "-")
        elif sign == "-" and text:
            return ()
        elif text:
            names.append(column_name(part, variables))
    return (*(["Intercept"] if intercept else []), *names)
