"""The variance ratio refitted for every marker of a block: no iteration touches more than a few numbers per marker.

For a marker's columns g (n, c), with ``a(λ) = gᵀPy``, ``b(λ) = gᵀPg`` and ``r(λ) = yᵀPy − aᵀb⁻¹a``, the profiled
criteria are, up to constants (Kang et al. 2008; Zhou and Stephens 2012, doi:10.1038/ng.2310),

    REML  Σ log(λξ + 1) + log|b| + (n − p − c) log r
    ML    Σ log(λd + 1) + n log r,

d the eigenvalues of M. Sums are known at all nodes of the basis from two products; the best node is improved by
Newton's method on polynomials through the fifteen nodes around it. Everything is scaled by ``1 + λ mean``, which
cancels, so that nothing vanishes or grows at the ends.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._struct import Struct
from jaxlmm._typing import Array
from jaxlmm.engine.scan_basis import SIDE, ScanBasis

NEWTON_STEPS = 6
"""From the best node, at most half a spacing away, Newton's method is at rounding after five."""

SECOND = 0.1
"""Another local minimum whose parabola ends within this of the lowest is looked into."""

LARGEST = 1e5
"""Of λ mean, where the likelihood is unbounded."""

AT_END = 1e-10
"""An end is taken where the criterion is not lower inside by more than this."""

SOLVED = 1e-7
"""A step of Newton's method that would lower the criterion by less than this is the last."""


class Criterion(Struct):
    """One criterion of one response on the nodes of a basis.

    Where a matrix M is zero in a direction that the fixed effects fit (as a centered kinship matrix is for a constant),
    the likelihood itself, not REML, rises without bound as log λ; then ML looks at λ mean up to ``LARGEST`` alone, as
    GEMMA does.

    ``squares`` (k,) are yᵀPy, ``logdets`` (k,) the sums of logarithms, both scaled, at the nodes; ``end_squares`` and
    ``end_logdets`` (2,) at the ends; ``nodes`` (k,) log λ and ``ends`` (2,) λ; ``mixing`` (r, k) and
    ``end_mixing`` (r, 2) are those of the basis; ``polynomial`` (2 SIDE + 1, 2 SIDE + 1)
    takes values at a window's nodes to coefficients. ``count`` () is n − p or n; ``reml`` () is 1 or 0.
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

    @classmethod
    def of(cls, basis: ScanBasis, *, reml: bool) -> Criterion:
        """Evaluate what all responses share; their squares are put in their place by ``replace``."""
        nodes, ends, mixing, end_mixing = basis.nodes, basis.ends, basis.mixing, basis.end_mixing
        if not reml and basis.unbounded:
            last = int(np.searchsorted(nodes, np.log(LARGEST / basis.mean), side="right"))
            count = min(last + SIDE, nodes.size)
            nodes, mixing = nodes[:count], mixing[:, :count]
            ends = np.array([ends[0], np.exp(nodes[-1 - SIDE])])
            end_mixing = basis.mixing_at(ends)
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
        )


class Sums(NamedTuple):
    """``a`` (c, ..., s) and ``b`` (c, c, ..., s) of s markers, ``squares`` (..., s) or (...) of the response."""

    a: jax.Array
    b: jax.Array
    squares: jax.Array


class Optimum(NamedTuple):
    """The best point for each of s markers.

    ``log_ratio`` (s,) is log λ, infinite at an end that is; ``value`` (s,) the criterion; ``sums`` there;
    ``at_end`` (s,) whether λ is at an end, ``converged`` (s,).
    """

    log_ratio: jax.Array
    value: jax.Array
    sums: Sums
    at_end: jax.Array
    converged: jax.Array


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


def best(criterion: Criterion, a: jax.Array, b: jax.Array, a_ends: jax.Array, b_ends: jax.Array) -> Optimum:
    """Minimise a criterion for s markers.

    Parameters
    ----------
    criterion
        Of the response.
    a, b
        ``(c, k, s)`` and ``(c, c, k, s)`` at the nodes; ``a_ends`` (c, 2, s) and ``b_ends`` (c, c, 2, s) at the ends.
    """
    inside = slice(SIDE - 1, 1 - SIDE)  # the nodes of the range, and one more on either side
    every = Sums(a[:, inside], b[:, :, inside], _wide(criterion.squares[inside], a))
    values = value_of(criterion, every, _wide(criterion.logdets[inside], a))
    before, here, after = values[:-2], values[1:-1], values[2:]
    bend = before - 2.0 * here + after
    lowest = (here <= before) & (here <= after)
    vertex = here - jnp.where(bend > 0, (after - before) ** 2 / (8.0 * jnp.where(bend > 0, bend, 1.0)), 0.0)
    score = jnp.where(lowest, vertex, jnp.inf)
    none = ~jnp.any(lowest, axis=0)
    first = _first_lowest(jnp.where(none[None], here, score))
    number = jnp.arange(here.shape[0])[:, None]
    others = jnp.where(jnp.abs(number - first[None]) <= 1, jnp.inf, score)
    second = _first_lowest(others)
    close = jnp.min(others, axis=0) < jnp.min(score, axis=0) + SECOND

    found = _newton(criterion, a, b, first)

    def both() -> Optimum:
        other = _newton(criterion, a, b, jnp.where(close, second, first))
        return _lower(found, other, 0.0)

    found = jax.lax.cond(jnp.any(close), both, lambda: found)
    for place in (0, 1):
        sums = Sums(a_ends[:, place], b_ends[:, :, place], jnp.broadcast_to(criterion.end_squares[place], first.shape))
        value = value_of(criterion, sums, jnp.broadcast_to(criterion.end_logdets[place], first.shape))
        value = jnp.where(jnp.isfinite(value), value, jnp.inf)
        truth = jnp.ones(first.shape, bool)
        log_ratio = jnp.broadcast_to(jnp.log(criterion.ends[place]), first.shape)
        found = _lower(found, Optimum(log_ratio, value, sums, truth, truth), AT_END)
    return found


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


def _lower(one: Optimum, other: Optimum, by: float) -> Optimum:
    """Return for each marker the other point if its criterion is not more than ``by`` above, else the one."""
    chosen = other.value <= one.value + by if by else other.value < one.value
    return jax.tree.map(lambda x, y: jnp.where(jnp.broadcast_to(chosen, x.shape), y, x), one, other)


def _newton(criterion: Criterion, a: jax.Array, b: jax.Array, place: jax.Array) -> Optimum:
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
    outward = ((x <= -place / SIDE) & (slope >= 0)) | ((x >= (count - 1 - place) / SIDE) & (slope <= 0))
    spacing = criterion.nodes[1] - criterion.nodes[0]
    log_ratio = jnp.asarray(criterion.nodes)[place + SIDE] + x * SIDE * spacing
    return Optimum(log_ratio, value_of_terms(values), sums_of(values)[0], outward, still | outward)
