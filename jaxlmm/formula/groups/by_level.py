"""Terms over columns with ``by=``: a term for each level of a factor, with parameters of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from jaxlmm.errors import FormulaError
from jaxlmm.formula.groups.levels import grouping_levels
from jaxlmm.formula.syntax import Bar, bar_of, expand
from jaxlmm.formula.tokens import join, tokenize, word
from jaxlmm.genetics.ids import label_texts


def bars_by_level(bars: Sequence[Bar], data: pd.DataFrame) -> tuple[Bar, ...]:
    """Return the random terms with each ``tag(left | g, by=f)`` over columns as one term for each level of f.

    Its columns are those of the left side times the indicator of the level, so that levels of g are independent of each
    other, and so are the effects that one of them has in several levels of f.
    """
    return tuple(one for bar in bars for one in (_by_level(bar, data) if _is_split(bar) else (bar,)))


def _is_split(bar: Bar) -> bool:
    return bar.by is not None and not bar.over_positions


def _by_level(bar: Bar, data: pd.DataFrame) -> Iterator[Bar]:
    assert bar.by is not None
    try:
        terms = expand(bar.left)
    except ValueError as error:
        raise FormulaError(f"cannot read {join(bar.left)!r}, left of the bar in {bar.text!r}.") from error
    for label in label_texts(grouping_levels((bar.by,), data).labels):
        level = str(label)
        indicator = f"dummy({word(bar.by)}, {level!r})"
        columns = [indicator if term == ("1",) else ":".join([indicator, *term]) for term in terms]
        left = tuple(tokenize(f"0 + {' + '.join(columns)}"))
        yield bar_of(bar.tag, left, bar.group, bar.options)._replace(level=level, whole_left=bar.left, own=bar.own)
