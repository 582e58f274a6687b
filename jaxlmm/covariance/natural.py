"""From natural parameters back to theta: the inverse of a structure's report."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray

MAX_RELATIVE_ERROR = 1e-7
"""Relative error of the natural parameters at which theta is taken to be their inverse."""

NEGLIGIBLE_SHARE = 1e-4
"""Values below this share of the largest need not be met to the same relative accuracy."""

MAX_LEVENBERG_STEPS = 200
"""Steps of Levenberg and Marquardt's method after which values are taken to be out of reach."""


def inverted(
    report: Callable[[Float[jax.Array, " k"]], Float[jax.Array, " r"]],
    natural: Float[NumpyArray, " r"],
    starts: Float[NumpyArray, "starts k"],
) -> tuple[Float[NumpyArray, " k"], bool]:
    """Return theta at which ``report(theta)`` is ``natural``, and whether there is one.

    By the method of Levenberg and Marquardt from each of ``starts`` in turn (Nocedal and Wright 2006,
    "Numerical optimization", section 10.3). Entries of ``natural`` that are NaN are left open.

    >>> theta, reached = inverted(lambda t: jnp.exp(t), np.array([2.0, np.nan]), np.array([[0.5, 0.3]]))
    >>> theta.round(6).tolist(), reached
    ([0.693147, 0.3], True)
    """
    closed = np.isfinite(natural)
    largest = np.max(np.abs(natural[closed]), initial=0.0)
    size = np.maximum(np.abs(natural[closed]), NEGLIGIBLE_SHARE * largest if largest > 0 else 1.0)
    value, slope = jax.jit(report), jax.jit(jax.jacfwd(report))

    def errors(theta: Float[NumpyArray, " k"]) -> Float[NumpyArray, " closed"]:
        relative = (np.asarray(value(jnp.asarray(theta)))[closed] - natural[closed]) / size
        return np.where(np.isfinite(relative), relative, 1e6)

    best, least = starts[0], np.inf
    for start in starts:
        theta, error, damping = start.astype(float), errors(start), 1e-3
        for _ in range(MAX_LEVENBERG_STEPS):
            if np.abs(error).max(initial=0.0) < MAX_RELATIVE_ERROR**2:  # on to rounding; its root is accepted
                break
            jacobian = np.nan_to_num(np.asarray(slope(jnp.asarray(theta)))[closed] / size[:, None])
            product = jacobian.T @ jacobian
            step = -np.linalg.lstsq(product + damping * np.eye(theta.size), jacobian.T @ error, rcond=None)[0]
            after = errors(theta + step)
            if after @ after < error @ error:
                theta, error, damping = theta + step, after, damping / 5.0
            else:
                damping *= 4.0
            if damping > 1e9:
                break
        if error @ error < least:
            best, least = theta, float(error @ error)
        if np.sqrt(least) < MAX_RELATIVE_ERROR:
            break
    return best, bool(np.sqrt(least) < MAX_RELATIVE_ERROR)
