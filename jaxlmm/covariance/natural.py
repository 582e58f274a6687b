"""From natural parameters back to theta: the inverse of a structure's report."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import NumpyArray

REACHED = 1e-7
"""A parameter that reports natural ones to this relative accuracy is what they stand for."""

SMALL = 1e-4
"""Values smaller than this, relative to the largest, need not be met to the same relative accuracy."""

STEPS = 200
"""Steps of Levenberg and Marquardt's method after which values are taken to be out of reach."""


def inverted(
    report: Callable[[jax.Array], jax.Array], natural: NumpyArray, starts: NumpyArray
) -> tuple[NumpyArray, bool]:
    """Return the parameter (k,) at which ``report`` is ``natural`` (r,), and whether there is one.

    By the method of Levenberg and Marquardt from each of ``starts`` (s, k) in turn (Nocedal and Wright 2006,
    "Numerical optimization", section 10.3). Entries of ``natural`` that are NaN are left open.

    >>> theta, reached = inverted(lambda t: jnp.exp(t), np.array([2.0, np.nan]), np.array([[0.5, 0.3]]))
    >>> theta.round(6).tolist(), reached
    ([0.693147, 0.3], True)
    """
    given = np.isfinite(natural)
    largest = np.max(np.abs(natural[given]), initial=0.0)
    size = np.maximum(np.abs(natural[given]), SMALL * largest if largest > 0 else 1.0)
    value, slope = jax.jit(report), jax.jit(jax.jacfwd(report))

    def miss(theta: NumpyArray) -> NumpyArray:
        found = (np.asarray(value(jnp.asarray(theta)))[given] - natural[given]) / size
        return np.where(np.isfinite(found), found, 1e6)

    best, left = starts[0], np.inf
    for start in starts:
        theta, rest, damping = start.astype(float), miss(start), 1e-3
        for _ in range(STEPS):
            if np.abs(rest).max(initial=0.0) < REACHED**2:
                break
            jacobian = np.nan_to_num(np.asarray(slope(jnp.asarray(theta)))[given] / size[:, None])
            product = jacobian.T @ jacobian
            step = -np.linalg.lstsq(product + damping * np.eye(theta.size), jacobian.T @ rest, rcond=None)[0]
            after = miss(theta + step)
            if after @ after < rest @ rest:
                theta, rest, damping = theta + step, after, damping / 5.0
            else:
                damping *= 4.0
            if damping > 1e9:
                break
        if rest @ rest < left:
            best, left = theta, float(rest @ rest)
        if np.sqrt(left) < REACHED:
            break
    return best, bool(np.sqrt(left) < REACHED)
