"""What a fit remembers, in the words of JSON: what formulaic learned, and arrays of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import FormulaError


def to_plain(value: Any, where: str) -> Any:
    """Return a value as JSON types, exactly: a mapping as ``{"map": pairs}``, an array as ``{"array": lists}``.

    Raises
    ------
    FormulaError
        If JSON cannot say it; ``where`` names it.
    """
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
        f"{where}: expected numbers or text, which can be saved, got {type(value).__name__} such as {value!s}; make it "
        "numbers or text in the data before the fit."
    )


def from_plain(value: Any) -> Any:
    """Return what :func:`to_plain` was given."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "map":
        return {from_plain(key): from_plain(item) for key, item in content}
    return np.array(from_plain(content)) if kind == "array" else float(content)


def numbers_to_plain(array: Any) -> Any:
    """Return an array of numbers as nested lists: NaN becomes None, an infinity ``"Infinity"``; nothing is rounded.

    >>> numbers_to_plain([[1.5, float("nan")], [float("-inf"), 0.1]])
    [[1.5, None], ['-Infinity', 0.1]]
    """
    array = np.asarray(array, float)
    lists = array.tolist()
    return lists if np.isfinite(array).all() else _without_nan(lists)


def numbers_from_plain(value: Any, shape: Sequence[int]) -> NumpyArray:
    """Return the array (shape) that :func:`numbers_to_plain` was given, in C order.

    Raises
    ------
    ValueError, TypeError
        If it is not that many numbers.
    """
    return np.array(value, float).reshape(shape)


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
