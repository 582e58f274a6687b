"""The profiled criterion (ML or REML) of a variance ratio λ at nodes, from gᵀPy, gᵀPg and yᵀPy."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct
from jaxlmm.scanning.kernels.eigenbasis import NODES_PER_SIDE, ScanBasis

REACHED_SHARE = 1e-20
"""A marker is zero where M is if its square there is no larger share of the whole: it is rounding."""


class Criterion(Struct):
    """The criterion of one response, ML or REML, on the nodes of a basis.

    ``squares`` are yᵀPy, ``logdets`` the sums of logarithms, both scaled, at the nodes; ``end_squares`` and
    ``end_logdets`` at the ends; ``nodes`` log λ and ``ends`` λ; ``mixing`` and ``end_mixing`` are those of the basis;
    ``polynomial`` takes values at the w = 2 NODES_PER_SIDE + 1 nodes of a window to coefficients. ``count`` is n − p or
    n; ``reml`` is 1 or 0.

    ``zero`` is the combination of kept weights that is 1 where M is zero and ``plain`` that at λ = 0; ``n_zero`` is the
    number of directions in which M is zero, and ``vanishes`` whether all of the response is zero there (or, by ML,
    would be as soon as it is off the fixed effects). A search begins at the first ``n_start_nodes`` nodes;
    ``end_is_point`` says which ends are candidates for the optimum, not limits.
    """

    squares: Float[Array, " k"]
    logdets: Float[Array, " k"]
    end_squares: Float[Array, " 2"]
    end_logdets: Float[Array, " 2"]
    nodes: Float[Array, " k"]
    ends: Float[Array, " 2"]
    mixing: Float[Array, "r k"]
    end_mixing: Float[Array, "r 2"]
    polynomial: Float[Array, "w w"]
    count: Float[Array, ""]
    reml: Float[Array, ""]
    zero: Float[Array, " r"]
    plain: Float[Array, " r"]
    n_zero: Float[Array, ""]
    vanishes: Bool[Array, ""]
    n_start_nodes: Int[Array, ""]
    end_is_point: Bool[Array, " 2"]

    @classmethod
    def of(cls, basis: ScanBasis, *, reml: bool) -> Criterion:
        """Evaluate the parts that all responses share; the squares of one are set by ``replace``."""
        nodes, ends, mixing, end_mixing = basis.nodes, basis.ends, basis.mixing, basis.end_mixing
        n_zero = 0 if basis.bounded else basis.n_zero(reml=reml)
        logdets = basis.logdets(np.concatenate([np.exp(nodes), ends]), reml=reml)
        window = np.arange(-NODES_PER_SIDE, NODES_PER_SIDE + 1) / NODES_PER_SIDE
        return cls(
            np.zeros(nodes.size),
            logdets[:-2],
            np.zeros(2),
            logdets[-2:],
            nodes,
            ends,
            mixing,
            end_mixing,
            np.linalg.inv(np.vander(window, increasing=True)),
            np.float64(basis.degrees if reml else basis.n),
            np.float64(reml),
            basis.zero,
            basis.mixing_at(np.zeros(1))[:, 0],
            np.float64(n_zero),
            np.False_,
            np.int64(basis.n_start_nodes if n_zero else nodes.size - 2 * NODES_PER_SIDE),
            np.array([True, n_zero == 0]),
        )


class Sums(NamedTuple):
    """``a`` gᵀPy and ``b`` gᵀPg of markers of c columns each, and ``squares`` yᵀPy of the response."""

    a: Float[Array, " c *b"]
    b: Float[Array, "c c *b"]
    squares: Float[Array, "*b"]


def eliminated(sums: Sums) -> tuple[Float[jax.Array, " c *b"], Float[jax.Array, "*b"], Float[jax.Array, "*b"]]:
    """Return the effects ``b⁻¹a``, the explained square ``aᵀb⁻¹a`` and ``log|b|``, by Gaussian elimination."""
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


def value_of(criterion: Criterion, sums: Sums, logdets: Float[jax.Array, "*b"]) -> Float[jax.Array, "*b"]:
    """Return the criterion, up to a constant, from its sums."""
    _, square, logdet = eliminated(sums)
    count = criterion.count - criterion.reml * sums.a.shape[0]
    return logdets + jnp.where(criterion.reml > 0, logdet, 0.0) + count * jnp.log(sums.squares - square)


def rank_where_zero(
    criterion: Criterion, b_zero: Float[jax.Array, "c c s"], b_plain: Float[jax.Array, "c c s"]
) -> Float[jax.Array, " s"]:
    """Return the rank of each marker's c columns in the directions in which M is zero.

    ``b_zero`` are the cross-products of its columns in these directions, ``b_plain`` those in all.
    """
    c = b_zero.shape[0]
    rows = [[b_zero[i, j] for j in range(c)] for i in range(c)]
    count = jnp.zeros(b_zero.shape[-1:])
    for i in range(c):
        independent = rows[i][i] > REACHED_SHARE * b_plain[i, i]
        count = count + jnp.where(independent, 1.0, 0.0)
        for j in range(i + 1, c):
            share = jnp.where(independent, rows[i][j] / jnp.where(independent, rows[i][i], 1.0), 0.0)
            for k in range(j, c):
                rows[j][k] = rows[j][k] - share * rows[i][k]
    return jnp.minimum(count, criterion.n_zero)
