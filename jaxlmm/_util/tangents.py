"""Tangents that JAX knows to be zero, in derivative rules of one's own with ``symbolic_zeros``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero


def is_zero(tangent: Any) -> bool:
    """Return whether a tangent, a leaf of those that a rule is handed, is known to be zero."""
    return isinstance(tangent, SymbolicZero)


def materialized(tangent: Any) -> Any:
    """Return a tangent as an array, where it is known to be zero too."""
    if not is_zero(tangent):
        return tangent
    if tangent.dtype == jax.dtypes.float0:
        return np.zeros(tangent.shape, jax.dtypes.float0)
    return jnp.zeros(tangent.shape, tangent.dtype)
