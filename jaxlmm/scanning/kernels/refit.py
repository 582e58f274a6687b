"""Minimization of the profiled criterion over λ for every marker of a block, by Newton's method on interpolants.

For a marker's columns g (n, c), with ``a(λ) = gᵀPy``, ``b(λ) = gᵀPg`` and ``r(λ) = yᵀPy − aᵀb⁻¹a``, the profiled
criteria are, up to constants (Kang et al. 2008; Zhou and Stephens 2012, doi:10.1038/ng.2310),

    REML  Σ log(λξ + 1) + log|b| + (n − p − c) log r
    ML    Σ log(λd + 1) + n log r,

d the eigenvalues of M. Sums are known at all nodes of the basis from two products; the best node is improved by
Newton's method on polynomials through the fifteen nodes around it. Everything is scaled by ``1 + λ mean``, which
cancels, so that nothing vanishes or grows at the ends.

Where M is zero in some directions (differences between rows of one level; a matrix of low rank) and the response is
too, as where a person stands twice with the same values, a criterion falls as −log λ without bound: there is no optimum
at that end, only a limit, in which the residual is zero. By ML that is so for any response where M is zero in a
direction that the fixed effects fit, as a centered kinship matrix is for a constant.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array
from jaxlmm.scanning.kernels.criterion import Criterion, Sums, value_of
from jaxlmm.scanning.kernels.eigenbasis import NODES_PER_SIDE

NEWTON_STEPS = 6
"""From the best node, at most half a spacing away, Newton's method is at rounding after five."""

SECOND_MINIMUM_MARGIN = 0.1
"""A second local minimum is refined too if the vertex of its parabola is less than this above the lowest."""

END_TOLERANCE = 1e-9
"""λ is at an end if the criterion is nowhere lower inside by more than this and rounding, as in a fit."""

RELATIVE_ROUNDING = 1e-12
"""Of a criterion, relative to its value and to the number of its squares."""

FLAT_RANGE = 1e-7
"""A criterion that varies by less over all ratios, and rounding, does not determine the ratio."""

NEWTON_TOLERANCE = 1e-7
"""Newton's method has converged when its next step would lower the criterion by less than this."""


class Optimum(NamedTuple):
    """The optimum of a criterion with each of s markers, or several with an axis over them before all others.

    ``log_ratio`` is log λ, infinite at an end of 0 or ∞; ``value`` the criterion there, and ``sums`` gᵀPy, gᵀPg and
    yᵀPy; ``at_end`` says whether λ is at an end, ``converged`` whether the optimum is accurate, ``flat`` whether all
    ratios are equally good, ``falls`` whether the criterion falls without bound from there. ``reached`` is the rank of
    the marker where M is zero, of :func:`~jaxlmm.scanning.kernels.criterion.rank_where_zero`.
    """

    log_ratio: Float[Array, "*m s"]
    value: Float[Array, "*m s"]
    sums: Sums
    at_end: Bool[Array, "*m s"]
    converged: Bool[Array, "*m s"]
    flat: Bool[Array, "*m s"]
    falls: Bool[Array, "*m s"]
    reached: Float[Array, "*m s"]


def minimized(
    criterion: Criterion,
    a: Float[jax.Array, "c k s"],
    b: Float[jax.Array, "c c k s"],
    a_ends: Float[jax.Array, "c 2 s"],
    b_ends: Float[jax.Array, "c c 2 s"],
    reached: Float[jax.Array, " s"],
) -> Optimum:
    """Minimize the criterion of a response over λ with each of s markers.

    Parameters
    ----------
    criterion
        Of the response.
    a, b
        gᵀPy and gᵀPg at the nodes; ``a_ends`` and ``b_ends`` at the ends.
    reached
        The rank of each marker where M is zero.
    """
    inside = slice(NODES_PER_SIDE - 1, 1 - NODES_PER_SIDE)  # the nodes of the range, and one more on either side
    at_nodes = Sums(a[:, inside], b[:, :, inside], _over_markers(criterion.squares[inside], a))
    values = value_of(criterion, at_nodes, _over_markers(criterion.logdets[inside], a))
    before, here, after = values[:-2], values[1:-1], values[2:]
    bend = before - 2.0 * here + after
    lowest = (here <= before) & (here <= after)
    vertex = here - jnp.where(bend > 0, (after - before) ** 2 / (8.0 * jnp.where(bend > 0, bend, 1.0)), 0.0)
    node, n_start = jnp.arange(here.shape[0])[:, None], criterion.n_start_nodes
    is_start = node < n_start
    # a criterion that still falls at the last start node is minimized over the nodes beyond
    top = jnp.max(jnp.where(node == n_start - 1, here, -jnp.inf), axis=0)
    at_top = jnp.any(lowest & (node == n_start - 1), axis=0)
    onwards = (top <= jnp.min(jnp.where(is_start, here, jnp.inf), axis=0)) & ~at_top & (n_start < here.shape[0])
    allowed = is_start != onwards[None]
    score = jnp.where(lowest & allowed, vertex, jnp.inf)
    none = ~jnp.any(lowest & allowed, axis=0)
    first = _first_lowest(jnp.where(none[None], jnp.where(allowed, here, jnp.inf), score))
    others = jnp.where(jnp.abs(node - first[None]) <= 1, jnp.inf, score)
    second = _first_lowest(others)
    close = jnp.min(others, axis=0) < jnp.min(score, axis=0) + SECOND_MINIMUM_MARGIN

    optimum = _newton(criterion, a, b, first, reached)

    def lower_of_both() -> Optimum:
        other = _newton(criterion, a, b, jnp.where(close, second, first), reached)
        return _lower(optimum, other, jnp.zeros(first.shape))

    optimum = jax.lax.cond(jnp.any(close), lower_of_both, lambda: optimum)
    rounding = RELATIVE_ROUNDING * (jnp.abs(optimum.value) + criterion.count)
    for end in (0, 1):
        sums = Sums(a_ends[:, end], b_ends[:, :, end], jnp.broadcast_to(criterion.end_squares[end], first.shape))
        value = value_of(criterion, sums, jnp.broadcast_to(criterion.end_logdets[end], first.shape))
        value = jnp.where(jnp.isfinite(value) & criterion.end_is_point[end] & ~optimum.falls, value, jnp.inf)
        true = jnp.ones(first.shape, bool)
        log_ratio = jnp.broadcast_to(jnp.log(criterion.ends[end]), first.shape)
        candidate = Optimum(log_ratio, value, sums, true, true, ~true, ~true, reached)
        optimum = _lower(optimum, candidate, END_TOLERANCE + rounding)
    flat = jnp.max(here, axis=0) - jnp.min(here, axis=0) <= FLAT_RANGE + rounding
    return optimum._replace(flat=flat)


def _first_lowest(values: Float[jax.Array, "k s"]) -> Int[jax.Array, " s"]:
    """Return the first index along the first axis at which ``values`` are lowest, as argmin would, but faster.

    The last where any is NaN.
    """
    index = jnp.arange(values.shape[0])[:, None]
    lowest = values == jnp.min(values, axis=0)[None]
    return jnp.min(jnp.where(lowest, index, index[-1]), axis=0)


def _over_markers(values: Float[Array, " k"], like: Float[jax.Array, "*b s"]) -> Float[jax.Array, "k s"]:
    """Repeat the values at nodes for each marker."""
    return jnp.broadcast_to(jnp.asarray(values)[:, None], (values.shape[0], like.shape[-1]))


def _lower(one: Optimum, other: Optimum, tolerance: Float[jax.Array, " s"]) -> Optimum:
    """Return for each marker the other optimum if its criterion is less than ``tolerance`` above, else the one."""
    chosen = other.value < one.value + tolerance
    return jax.tree.map(lambda x, y: jnp.where(jnp.broadcast_to(chosen, x.shape), y, x), one, other)


def _newton(
    criterion: Criterion,
    a: Float[jax.Array, "c k s"],
    b: Float[jax.Array, "c c k s"],
    start: Int[jax.Array, " s"],
    reached: Float[jax.Array, " s"],
) -> Optimum:
    """Minimize from the node of index ``start`` within the range, on polynomials through the nodes around it."""
    c, k, s = a.shape[0], criterion.nodes.shape[0], start.shape[0]
    window = start[None, :] + jnp.arange(2 * NODES_PER_SIDE + 1)[:, None]
    polynomial = jnp.asarray(criterion.polynomial)
    rows, columns = np.triu_indices(c)
    own = jnp.concatenate([a, b[rows, columns]])
    of_markers = jnp.take_along_axis(own, window[None], axis=1, mode="promise_in_bounds")
    shared = jnp.stack([jnp.asarray(criterion.squares), jnp.asarray(criterion.logdets)])[:, window]
    coefficients = jnp.einsum("ij,tjs->tis", polynomial, jnp.concatenate([of_markers, shared]))

    def sums_of(terms: Float[jax.Array, "t s"]) -> tuple[Sums, Float[jax.Array, " s"]]:
        index = np.zeros((c, c), int)
        index[rows, columns] = index[columns, rows] = c + np.arange(rows.size)
        return Sums(terms[:c], terms[index.ravel()].reshape(c, c, s), terms[-2]), terms[-1]

    def value_of_terms(terms: Float[jax.Array, "t s"]) -> Float[jax.Array, " s"]:
        return value_of(criterion, *sums_of(terms))

    degrees = jnp.arange(2 * NODES_PER_SIDE + 1, dtype=a.dtype)[:, None]

    def at(
        x: Float[jax.Array, " s"],
    ) -> tuple[Float[jax.Array, "t s"], Float[jax.Array, " s"], Float[jax.Array, " s"]]:
        """Return the terms, and the criterion's slope and curvature in x."""
        power = jnp.cumprod(jnp.broadcast_to(x, (2 * NODES_PER_SIDE, s)), axis=0)
        power = jnp.concatenate([jnp.ones((1, s)), power])
        once = degrees * jnp.concatenate([jnp.zeros((1, s)), power[:-1]])
        twice = degrees * jnp.concatenate([jnp.zeros((1, s)), once[:-1]])
        terms, first, second = (jnp.sum(coefficients * part[None], axis=1) for part in (power, once, twice))

        def slope(terms: Float[jax.Array, "t s"], first: Float[jax.Array, "t s"]) -> Float[jax.Array, " s"]:
            return jax.jvp(value_of_terms, (terms,), (first,))[1]

        return terms, *jax.jvp(slope, (terms, first), (first, second))

    count = k - 2 * NODES_PER_SIDE
    reach = 1.5 / NODES_PER_SIDE
    low = jnp.maximum(-start / NODES_PER_SIDE, -reach)
    high = jnp.minimum((count - 1 - start) / NODES_PER_SIDE, reach)

    def step(_: Int[Array, ""], x: Float[jax.Array, " s"]) -> Float[jax.Array, " s"]:
        _, slope, bend = at(x)
        change = jnp.where(bend > 0, -slope / jnp.where(bend > 0, bend, 1.0), -jnp.sign(slope) * reach / 2)
        return jnp.clip(x + change, low, high)

    x = jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros(s, a.dtype))
    terms, slope, bend = at(x)
    stationary = (bend > 0) & (slope**2 < NEWTON_TOLERANCE * bend)
    upward = (x >= (count - 1 - start) / NODES_PER_SIDE) & (slope <= 0)
    outward = ((x <= -start / NODES_PER_SIDE) & (slope >= 0)) | upward
    n_left = jnp.where(criterion.reml > 0, criterion.n_zero - reached, criterion.n_zero)
    falls = upward & criterion.vanishes & (n_left > 0)
    spacing = criterion.nodes[1] - criterion.nodes[0]
    log_ratio = jnp.asarray(criterion.nodes)[start + NODES_PER_SIDE] + x * NODES_PER_SIDE * spacing
    converged = (stationary | outward) & ~falls
    flat = jnp.zeros(s, bool)
    return Optimum(log_ratio, value_of_terms(terms), sums_of(terms)[0], outward, converged, flat, falls, reached)
