"""What formulaic remembers, in the words of JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

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
