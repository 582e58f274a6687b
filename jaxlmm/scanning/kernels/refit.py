"""The variance ratio refitted for every marker of a block: no iteration touches more than a few numbers per marker.

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

from jaxlmm.scanning.kernels.criterion import Criterion, Sums, value_of
from jaxlmm.scanning.kernels.eigenbasis import SIDE

NEWTON_STEPS = 6
"""From the best node, at most half a spacing away, Newton's method is at rounding after five."""

SECOND = 0.1
"""Another local minimum whose parabola ends within this of the lowest is looked into."""

AT_END = 1e-9
"""An end is taken where the criterion is not lower inside by more than this and rounding, as in a fit."""

ROUNDING = 1e-12
"""Of a criterion, relative to its value and to the number of its squares."""

FLAT = 1e-7
"""A criterion that differs by less over all ratios, and rounding, does not determine the ratio."""

SOLVED = 1e-7
"""A step of Newton's method that would lower the criterion by less than this is the last."""


class Optimum(NamedTuple):
    """The best point for each of s markers.

    ``log_ratio`` (s,) is log λ, infinite at an end that is; ``value`` (s,) the criterion; ``sums`` there;
    ``at_end`` (s,) whether λ is at an end, ``converged`` (s,); ``flat`` (s,) whether all ratios are as good, and
    ``falls`` (s,) whether it is on the way to where the criterion falls without bound. ``reached`` (s,) is in how many
    directions the marker is not zero where M is.
    """

    log_ratio: jax.Array
    value: jax.Array
    sums: Sums
    at_end: jax.Array
    converged: jax.Array
    flat: jax.Array
    falls: jax.Array
    reached: jax.Array


def best(
    criterion: Criterion, a: jax.Array, b: jax.Array, a_ends: jax.Array, b_ends: jax.Array, reached: jax.Array
) -> Optimum:
    """Minimize a criterion for s markers.

    Parameters
    ----------
    criterion
        Of the response.
    a, b
        ``(c, k, s)`` and ``(c, c, k, s)`` at the nodes; ``a_ends`` (c, 2, s) and ``b_ends`` (c, c, 2, s) at the ends.
    reached
        ``(s,)`` in how many directions markers are not zero where M is, of :func:`reaching`.
    """
    inside = slice(SIDE - 1, 1 - SIDE)  # the nodes of the range, and one more on either side
    every = Sums(a[:, inside], b[:, :, inside], _wide(criterion.squares[inside], a))
    values = value_of(criterion, every, _wide(criterion.logdets[inside], a))
    before, here, after = values[:-2], values[1:-1], values[2:]
    bend = before - 2.0 * here + after
    lowest = (here <= before) & (here <= after)
    vertex = here - jnp.where(bend > 0, (after - before) ** 2 / (8.0 * jnp.where(bend > 0, bend, 1.0)), 0.0)
    number = jnp.arange(here.shape[0])[:, None]
    usual = number < criterion.usual
    top = jnp.max(jnp.where(number == criterion.usual - 1, here, -jnp.inf), axis=0)
    at_top = jnp.any(lowest & (number == criterion.usual - 1), axis=0)
    onwards = (top <= jnp.min(jnp.where(usual, here, jnp.inf), axis=0)) & ~at_top & (criterion.usual < here.shape[0])
    allowed = usual != onwards[None]
    score = jnp.where(lowest & allowed, vertex, jnp.inf)
    none = ~jnp.any(lowest & allowed, axis=0)
    first = _first_lowest(jnp.where(none[None], jnp.where(allowed, here, jnp.inf), score))
    others = jnp.where(jnp.abs(number - first[None]) <= 1, jnp.inf, score)
    second = _first_lowest(others)
    close = jnp.min(others, axis=0) < jnp.min(score, axis=0) + SECOND

    found = _newton(criterion, a, b, first, reached)

    def both() -> Optimum:
        other = _newton(criterion, a, b, jnp.where(close, second, first), reached)
        return _lower(found, other, jnp.zeros(first.shape))

    found = jax.lax.cond(jnp.any(close), both, lambda: found)
    rounding = ROUNDING * (jnp.abs(found.value) + criterion.count)
    for place in (0, 1):
        sums = Sums(a_ends[:, place], b_ends[:, :, place], jnp.broadcast_to(criterion.end_squares[place], first.shape))
        value = value_of(criterion, sums, jnp.broadcast_to(criterion.end_logdets[place], first.shape))
        value = jnp.where(jnp.isfinite(value) & criterion.ends_count[place] & ~found.falls, value, jnp.inf)
        truth = jnp.ones(first.shape, bool)
        log_ratio = jnp.broadcast_to(jnp.log(criterion.ends[place]), first.shape)
        found = _lower(found, Optimum(log_ratio, value, sums, truth, truth, ~truth, ~truth, reached), AT_END + rounding)
    flat = jnp.max(here, axis=0) - jnp.min(here, axis=0) <= FLAT + rounding
    return found._replace(flat=flat)


def _first_lowest(values: jax.Array) -> jax.Array:
    """Return the first place (s,) along the first axis where ``values`` (k, s) are lowest, as argmin would, but faster.

    The last where any is NaN.
    """
    number = jnp.arange(values.shape[0])[:, None]
    lowest = values == jnp.min(values, axis=0)[None]
    return jnp.min(jnp.where(lowest, number, number[-1]), axis=0)


def _wide(values: jax.Array, like: jax.Array) -> jax.Array:
    """Spread values (k,) over markers (k, s)."""
    return jnp.broadcast_to(jnp.asarray(values)[:, None], (values.shape[0], like.shape[-1]))


def _lower(one: Optimum, other: Optimum, by: jax.Array) -> Optimum:
    """Return for each marker the other point if its criterion is less than ``by`` (s,) above, else the one."""
    chosen = other.value < one.value + by
    return jax.tree.map(lambda x, y: jnp.where(jnp.broadcast_to(chosen, x.shape), y, x), one, other)


def _newton(criterion: Criterion, a: jax.Array, b: jax.Array, place: jax.Array, reached: jax.Array) -> Optimum:
    """Improve nodes ``place`` (s,) of the range on polynomials through the nodes around them."""
    c, k, s = a.shape[0], criterion.nodes.shape[0], place.shape[0]
    window = place[None, :] + jnp.arange(2 * SIDE + 1)[:, None]
    polynomial = jnp.asarray(criterion.polynomial)
    rows, columns = np.triu_indices(c)
    own = jnp.concatenate([a, b[rows, columns]])
    of_markers = jnp.take_along_axis(own, window[None], axis=1, mode="promise_in_bounds")
    shared = jnp.stack([jnp.asarray(criterion.squares), jnp.asarray(criterion.logdets)])[:, window]
    coefficients = jnp.einsum("ij,tjs->tis", polynomial, jnp.concatenate([of_markers, shared]))

    def sums_of(values: jax.Array) -> tuple[Sums, jax.Array]:
        numbers = np.zeros((c, c), int)
        numbers[rows, columns] = numbers[columns, rows] = c + np.arange(rows.size)
        return Sums(values[:c], values[numbers.ravel()].reshape(c, c, s), values[-2]), values[-1]

    def value_of_terms(values: jax.Array) -> jax.Array:
        return value_of(criterion, *sums_of(values))

    degrees = jnp.arange(2 * SIDE + 1, dtype=a.dtype)[:, None]

    def at(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The terms (t, s), and the criterion's slope and curvature (s,) in x."""
        power = jnp.cumprod(jnp.broadcast_to(x, (2 * SIDE, s)), axis=0)
        power = jnp.concatenate([jnp.ones((1, s)), power])
        once = degrees * jnp.concatenate([jnp.zeros((1, s)), power[:-1]])
        twice = degrees * jnp.concatenate([jnp.zeros((1, s)), once[:-1]])
        values, first, second = (jnp.sum(coefficients * part[None], axis=1) for part in (power, once, twice))

        def slope(values: jax.Array, first: jax.Array) -> jax.Array:
            return jax.jvp(value_of_terms, (values,), (first,))[1]

        return values, *jax.jvp(slope, (values, first), (first, second))

    count = k - 2 * SIDE
    reach = 1.5 / SIDE
    low = jnp.maximum(-place / SIDE, -reach)
    high = jnp.minimum((count - 1 - place) / SIDE, reach)

    def step(_: jax.Array, x: jax.Array) -> jax.Array:
        _, slope, bend = at(x)
        by = jnp.where(bend > 0, -slope / jnp.where(bend > 0, bend, 1.0), -jnp.sign(slope) * reach / 2)
        return jnp.clip(x + by, low, high)

    x = jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros(s, a.dtype))
    values, slope, bend = at(x)
    still = (bend > 0) & (slope**2 < SOLVED * bend)
    upward = (x >= (count - 1 - place) / SIDE) & (slope <= 0)
    outward = ((x <= -place / SIDE) & (slope >= 0)) | upward
    left = jnp.where(criterion.reml > 0, criterion.n_zero - reached, criterion.n_zero)
    falls = upward & criterion.vanishes & (left > 0)
    spacing = criterion.nodes[1] - criterion.nodes[0]
    log_ratio = jnp.asarray(criterion.nodes)[place + SIDE] + x * SIDE * spacing
    converged = (still | outward) & ~falls
    flat = jnp.zeros(s, bool)
    return Optimum(log_ratio, value_of_terms(values), sums_of(values)[0], outward, converged, flat, falls, reached)
