"""Arrays of a design, read and checked; those that JAX traces by their shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, is_traced
from jaxlmm.errors import DataError, KinshipError, OptionError, nearest
from jaxlmm.formula import check_weights

ONE_GROUP = "group"
"""The name of a grouping factor that is given as an array."""


def by_group(option: str, value: Any, codes: Mapping[str, Any], single: bool) -> Mapping[str, Any]:
    """Return an option by the name of its group."""
    if value is None:
        return {}
    if single:
        return {ONE_GROUP: value}
    if not isinstance(value, Mapping):
        raise OptionError(f"{option}: expected a dict from group to value, as groups are, got {type(value).__name__}.")
    for name in value:
        if name not in codes:
            raise OptionError(f"{option}: {name!r} is no group; {nearest(name, codes)}.")
    return value


def numbers_of(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Return an array of floats, traced or finite; raise unless it has the shape."""
    array = jnp.asarray(value) if is_traced(value) else np.asarray(value, float)
    if array.shape != shape:
        raise DataError(f"{name}: expected shape {shape}, got {array.shape}.")
    if not is_traced(array) and not np.isfinite(array).all():
        raise DataError(f"{name}: expected finite numbers, got NaN or infinity.")
    return array


def root_weight_of(weights: Any, n: int) -> Float[Array, " n"]:
    """Return the roots of the weights, 1 without any; raise unless numbers are positive."""
    if weights is None:
        return np.ones(n)
    values = numbers_of("weights", weights, (n,))
    return jnp.sqrt(values) if is_traced(values) else np.sqrt(check_weights(pd.Series(values), n))


def codes_of(name: str, codes: Any, n: int) -> Int[NumpyArray, " n"]:
    """Return the codes of a group; raise unless they are whole numbers that are known."""
    if is_traced(codes):
        raise DataError(
            f"groups: expected the codes of {name!r} in numbers, got a traced array; they decide what is computed. "
            "Make them a NumPy array outside of the function, and close over it."
        )
    own = np.asarray(codes)
    if own.shape != (n,) or own.dtype.kind not in "iu" or (own < 0).any():
        raise DataError(
            f"groups: expected whole numbers from 0 on of shape ({n},) for {name!r}, got {own.dtype} of shape "
            f"{own.shape}; pandas' Categorical has them as codes."
        )
    return own


def check_levels(name: str, codes: Int[NumpyArray, " n"], count: int) -> None:
    """Raise if a code is that of no level."""
    if codes.max(initial=0) >= count:
        raise KinshipError(
            f"kinship of {name!r}: expected a level for each code up to {codes.max()}, got {count} levels."
        )


def as_columns(values: Any) -> Any:
    """Return an array with one column where it has one axis."""
    array = values if is_traced(values) else np.asarray(values, float)
    return array[:, None] if array.ndim == 1 else array
