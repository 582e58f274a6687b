"""Arithmetic of truncated power series: all derivatives of a function of one number at the cost of a few products."""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array

Series = list[Float[jax.Array, "*b"]]
"""Coefficients of powers of t, from that of 1; those beyond the last are not looked at."""


def product(f: Series, g: Series) -> Series:
    """Return ``f(t) g(t)``.

    >>> [float(c) for c in product([jnp.array(1.0), jnp.array(1.0)], [jnp.array(2.0), jnp.array(3.0)])]
    [2.0, 5.0]
    """
    return [_sum([f[i] * g[k - i] for i in range(k + 1)]) for k in range(len(f))]


def quotient(f: Series, g: Series) -> Series:
    """Return ``f(t) / g(t)``, where g(0) is not 0."""
    found: Series = []
    for k in range(len(f)):
        found.append((f[k] - _sum([found[i] * g[k - i] for i in range(k)])) / g[0])
    return found


def log1p(f: Series) -> Series:
    """Return ``log(1 + f(t))``, for f(0) > −1.

    >>> [round(float(c), 4) for c in log1p([jnp.array(0.0), jnp.array(1.0), jnp.array(0.0)])]
    [0.0, 1.0, -0.5]
    """
    found, whole = [jnp.log1p(f[0])], 1.0 + f[0]
    for k in range(1, len(f)):
        found.append((f[k] - _sum([i / k * found[i] * f[k - i] for i in range(1, k)])) / whole)
    return found


def composed(coefficients: Series, f: Series) -> Series:
    """Return the series of ``h(f(t))``; ``coefficients`` are the derivatives of h at f(0), that of order n over n!."""
    away = [jnp.zeros_like(f[0]), *f[1:]]
    found = _constant(coefficients[-1], len(f))
    for coefficient in reversed(coefficients[:-1]):
        found = product(found, away)
        found[0] = found[0] + coefficient
    return found


def polynomial(coefficients: tuple[float, ...], f: Series) -> Series:
    """Return ``Σ_n coefficients[n] f(t)ⁿ``."""
    found = _constant(jnp.full_like(f[0], coefficients[-1]), len(f))
    for coefficient in reversed(coefficients[:-1]):
        found = product(found, f)
        found[0] = found[0] + coefficient
    return found


def _constant(value: Float[Array, "*b"], size: int) -> Series:
    return [jnp.asarray(value), *[jnp.zeros_like(value)] * (size - 1)]


def _sum(terms: Series) -> Float[Array, "*b"]:
    return functools.reduce(operator.add, terms, np.float64(0.0))
