"""The criterion of a variance ratio as numbers at nodes, and its value from a marker's sums."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, Struct
from jaxlmm.scanning.kernels.eigenbasis import SIDE, ScanBasis

REACHED = 1e-20
"""The square of what a marker has where M is zero is rounding below this share of the whole."""


class Criterion(Struct):
    """One criterion of one response on the nodes of a basis.

    ``squares`` (k,) are yᵀPy, ``logdets`` (k,) the sums of logarithms, both scaled, at the nodes; ``end_squares`` and
    ``end_logdets`` (2,) at the ends; ``nodes`` (k,) log λ and ``ends`` (2,) λ; ``mixing`` (r, k) and
    ``end_mixing`` (r, 2) are those of the basis; ``polynomial`` (2 SIDE + 1, 2 SIDE + 1)
    takes values at a window's nodes to coefficients. ``count`` () is n − p or n; ``reml`` () is 1 or 0.

    ``zero`` (r,) are the combination of kept weights that is 1 where M is zero and ``plain`` (r,) that at λ = 0;
    ``n_zero`` () is the number of directions in which it is, and ``vanishes`` () whether all of the response does there
    (or, by ML, would as soon as it does off the fixed effects). A search begins at the first ``usual`` () nodes;
    ``ends_count`` (2,) says which ends are points like others.
    """

    squares: Array
    logdets: Array
    end_squares: Array
    end_logdets: Array
    nodes: Array
    ends: Array
    mixing: Array
    end_mixing: Array
    polynomial: Array
    count: Array
    reml: Array
    zero: Array
    plain: Array
    n_zero: Array
    vanishes: Array
    usual: Array
    ends_count: Array

    @classmethod
    def of(cls, basis: ScanBasis, *, reml: bool) -> Criterion:
        """Evaluate what all responses share; their squares are put in their place by ``replace``."""
        nodes, ends, mixing, end_mixing = basis.nodes, basis.ends, basis.mixing, basis.end_mixing
        n_zero = 0 if basis.bounded else basis.n_zero(reml=reml)
        logdets = basis.logdets(np.concatenate([np.exp(nodes), ends]), reml=reml)
        places = np.arange(-SIDE, SIDE + 1) / SIDE
        return cls(
            np.zeros(nodes.size),
            logdets[:-2],
            np.zeros(2),
            logdets[-2:],
            nodes,
            ends,
            mixing,
            end_mixing,
            np.linalg.inv(np.vander(places, increasing=True)),
            np.float64(basis.degrees if reml else basis.n),
            np.float64(reml),
            basis.zero,
            basis.mixing_at(np.zeros(1))[:, 0],
            np.float64(n_zero),
            np.False_,
            np.int64(basis.usual if n_zero else nodes.size - 2 * SIDE),
            np.array([True, n_zero == 0]),
        )


class Sums(NamedTuple):
    """``a`` (c, ..., s) and ``b`` (c, c, ..., s) of s markers, ``squares`` (..., s) or (...) of the response."""

    a: jax.Array
    b: jax.Array
    squares: jax.Array


def explained(sums: Sums) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return ``b⁻¹a`` (c, ...), ``aᵀb⁻¹a`` (...) and ``log|b|`` (...), by elimination."""
    a, b, c = list(sums.a), [list(row) for row in sums.b], sums.a.shape[0]
    square = logdet = jnp.zeros_like(sums.squares)
    for i in range(c):
        pivot = b[i][i]
        square, logdet = square + a[i] ** 2 / pivot, logdet + jnp.log(pivot)
        for j in range(i + 1, c):
            share = b[i][j] / pivot
            a[j] = a[j] - share * a[i]
            for k in range(j, c):
                b[j][k] = b[j][k] - share * b[i][k]
    effects: list[jax.Array] = [a[i] for i in range(c)]
    for i in reversed(range(c)):
        for j in range(i + 1, c):
            effects[i] = effects[i] - b[i][j] * effects[j]
        effects[i] = effects[i] / b[i][i]
    return (jnp.stack(effects) if c else jnp.zeros_like(sums.a)), square, logdet


def value_of(criterion: Criterion, sums: Sums, logdets: jax.Array) -> jax.Array:
    """Return the criterion, up to a constant, from its sums."""
    _, square, logdet = explained(sums)
    count = criterion.count - criterion.reml * sums.a.shape[0]
    return logdets + jnp.where(criterion.reml > 0, logdet, 0.0) + count * jnp.log(sums.squares - square)


def reaching(criterion: Criterion, b_zero: jax.Array, b_plain: jax.Array) -> jax.Array:
    """Return in how many directions (s,) markers with products ``b_zero`` (c, c, s) where M is zero are not zero there.

    ``b_plain`` (c, c, s) are their products everywhere.
    """
    c = b_zero.shape[0]
    rows = [[b_zero[i, j] for j in range(c)] for i in range(c)]
    count = jnp.zeros(b_zero.shape[-1:])
    for i in range(c):
        there = rows[i][i] > REACHED * b_plain[i, i]
        count = count + jnp.where(there, 1.0, 0.0)
        for j in range(i + 1, c):
            share = jnp.where(there, rows[i][j] / jnp.where(there, rows[i][i], 1.0), 0.0)
            for k in range(j, c):
                rows[j][k] = rows[j][k] - share * rows[i][k]
    return jnp.minimum(count, criterion.n_zero)
