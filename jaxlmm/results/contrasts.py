"""Which coefficients a test is about: a term's columns, a hypothesis in words, a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import OptionError


def terms_of(columns: Sequence[str]) -> dict[str, NumpyArray]:
    """Return, for each term but the intercept, the places of its columns.

    >>> terms_of(["Intercept", "f[T.b]", "f[T.c]", "x", "f[T.b]:x", "poly(x, 2)[1]", "poly(x, 2)[2]"])
    {'f': array([1, 2]), 'x': array([3]), 'f:x': array([4]), 'poly(x, 2)': array([5, 6])}
    """
    found: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        if column != "Intercept":
            found.setdefault(":".join(_without_level(part) for part in _factors(column)), []).append(place)
    return {term: np.array(places) for term, places in found.items()}


def _factors(column: str) -> list[str]:
    """Split a column's name at the colons outside brackets."""
    parts, depth = [""], 0
    for letter in column:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _without_level(part: str) -> str:
    """Take the level ``[T.b]`` off the end of a factor's column."""
    if not part.endswith("]"):
        return part
    depth = 0
    for place in range(len(part) - 1, -1, -1):
        depth += (part[place] == "]") - (part[place] == "[")
        if depth == 0:
            return part[:place]
    return part


def hypothesis(h: Any, names: Sequence[str]) -> NumpyArray:
    """Return a hypothesis as rows (c, p) over the coefficients ``names`` (p,), whose products with them are to be zero.

    Parameters
    ----------
    h
        Text such as ``"a - b = 0"`` or ``"a = 0, b = 0"``, in names of coefficients; or a matrix (c, p) or row (p,).

    Raises
    ------
    OptionError
        If it cannot be read, names what is no coefficient, is not about zero, or has another number of columns.

    Examples
    --------
    >>> hypothesis("f[T.b] - 2 * x = 0", ["Intercept", "f[T.b]", "x"]).tolist()
    [[0.0, 1.0, -2.0]]
    """
    if not isinstance(h, str):
        rows = np.atleast_2d(np.asarray(h, float))
        if rows.ndim != 2 or rows.shape[1] != len(names) or not np.isfinite(rows).all():
            raise OptionError(
                f"h: expected a matrix with {len(names)} columns, one per coefficient ({', '.join(names)}), got shape "
                f"{np.shape(h)}."
            )
        return _nonzero(rows, h)
    from formulaic.errors import FormulaicError
    from formulaic.utils.constraints import LinearConstraints

    # Names hold brackets and calls; stand-ins are plain words. The longest first: no name is replaced inside another.
    text, plain = h, [f"b{place}_" for place in range(len(names))]
    for name, word in sorted(zip(names, plain, strict=True), key=lambda pair: -len(pair[0])):
        text = text.replace(f"`{name}`", word).replace(name, word)
    try:
        found = LinearConstraints.from_spec(text, variable_names=plain)
    except (FormulaicError, SyntaxError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise OptionError(
            f"h: cannot read {h!r}; expected '{names[-1]} = 0', in names of coefficients: {', '.join(names)}."
        ) from error
    if np.any(np.asarray(found.constraint_values, float) != 0.0):
        raise OptionError(f"h: expected a hypothesis about zero, as in 'a - b = 0', got {h!r}.")
    return _nonzero(np.asarray(found.constraint_matrix, float), h)


def _nonzero(rows: NumpyArray, h: Any) -> NumpyArray:
    if not len(rows) or not rows.any(axis=1).all():
        raise OptionError(f"h: expected a combination of coefficients in every row, got {h!r}.")
    return rows
