"""JSON forms of a fit's encodings: formulaic's states, levels of any type, and arrays of numbers."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import FormulaError


def to_plain(value: Any, where: str) -> Any:
    """Return a value as JSON types, exactly: a mapping as ``{"map": pairs}``, an array as ``{"array": lists}``.

    Intervals, periods, dates and durations, which may be levels, are ``{kind: parts}`` too.

    Raises
    ------
    FormulaError
        If it has no JSON form; ``where`` names it in the message.
    """
    kind = next((kind for kind, (types, *_) in LEVEL_TYPES.items() if isinstance(value, types)), None)
    if kind is not None:
        return {kind: to_plain(LEVEL_TYPES[kind].parts(value), where)}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"number": str(value)}
    if isinstance(value, Mapping):
        return {"map": [[to_plain(key, where), to_plain(item, where)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": to_plain(value.tolist(), where)}
    if isinstance(value, list | tuple):
        return [to_plain(item, where) for item in value]
    raise FormulaError(
        f"{where}: expected numbers, text, dates or intervals, which can be saved, got {type(value).__name__} such as "
        f"{value!s}; make it numbers or text in the data before the fit."
    )


def from_plain(value: Any) -> Any:
    """Return the value that :func:`to_plain` wrote."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind in LEVEL_TYPES:
        return LEVEL_TYPES[kind].made(*from_plain(content))
    if kind == "map":
        return {from_plain(key): from_plain(item) for key, item in content}
    return np.array(from_plain(content)) if kind == "array" else float(content)


class _Level(NamedTuple):
    """A type of level: its Python ``types``, its ``parts`` as plain values, and how it is ``made`` of them."""

    types: type | tuple[type, ...]
    parts: Callable[[Any], list[Any]]
    made: Callable[..., Any]


def _instant_parts(value: Any) -> list[Any]:
    stamp = pd.Timestamp(value)
    return [stamp.isoformat(), stamp.unit, None if stamp.tzinfo is None else str(stamp.tzinfo)]


def _instant(text: str, unit: Any, zone: str | None) -> pd.Timestamp:
    stamp = pd.Timestamp(text).as_unit(unit)
    return stamp if zone is None else stamp.tz_convert(zone)


LEVEL_TYPES = {
    "interval": _Level(pd.Interval, lambda value: [value.left, value.right, value.closed], pd.Interval),
    "period": _Level(
        pd.Period,
        lambda value: [value.ordinal, value.freqstr],
        lambda ordinal, frequency: pd.Period(ordinal=ordinal, freq=frequency),
    ),
    "instant": _Level((datetime.datetime, np.datetime64), _instant_parts, _instant),
    "date": _Level(datetime.date, lambda value: [value.isoformat()], datetime.date.fromisoformat),
    "time": _Level(datetime.time, lambda value: [value.isoformat()], datetime.time.fromisoformat),
    "duration": _Level(
        (datetime.timedelta, np.timedelta64),
        lambda value: [pd.Timedelta(value).isoformat(), pd.Timedelta(value).unit],
        lambda text, unit: pd.Timedelta(text).as_unit(unit),
    ),
    "tuple": _Level(tuple, list, lambda *parts: parts),
    "decimal": _Level(Decimal, lambda value: [str(value)], Decimal),
}
"""Types of levels beside numbers, text and logicals, by their names in a file."""


def numbers_to_plain(array: Any) -> Any:
    """Return an array of numbers as nested lists, without rounding.

    NaN becomes None, infinities ``"Infinity"`` and ``"-Infinity"``.

    >>> numbers_to_plain([[1.5, float("nan")], [float("-inf"), 0.1]])
    [[1.5, None], ['-Infinity', 0.1]]
    """
    array = np.asarray(array, float)
    lists = array.tolist()
    return lists if np.isfinite(array).all() else _without_nan(lists)


def numbers_from_plain(value: Any, shape: Sequence[int]) -> Float[NumpyArray, "*b"]:
    """Return the array of this shape that :func:`numbers_to_plain` wrote, in C order.

    Raises
    ------
    ValueError, TypeError
        If the number of values does not fit the shape.
    """
    return np.array(value, float).reshape(shape)


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
