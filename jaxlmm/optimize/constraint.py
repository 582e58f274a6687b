"""Equality constraints: feasible points, and derivatives along the surface on which the constraints hold.

With c(x) = 0 for the m constraints and J their Jacobian, a minimum on the surface is one of the Lagrangian f − λᵀc,
whose Hessian is taken in the tangent space, the null space of J (Nocedal and Wright 2006, "Numerical optimization",
sections 12.5 and 18.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array
from jaxlmm.linalg import inverse_logdet

Constraint = Callable[[Float[jax.Array, " k"]], Float[jax.Array, " m"]]
"""A traced function of the parameters that is zero where the constraints hold; its entries are relative errors."""

MAX_ERROR = 1e-8
"""The largest entry of c at a point that counts as feasible."""

ROUNDING_ERROR = 1e-14
"""The largest entry of c below which nothing is gained by another step."""

MAX_STEPS = 60
"""Steps of Levenberg and Marquardt's method after which constraints are taken to be out of reach."""

ROUNDING_SHARE = 1e-9
"""A parameter whose axis, projected on the tangent space, has a smaller squared length cannot change on the surface."""

DEPENDENT_SHARE = 1e-7
"""A constraint depends on earlier ones if less than this share of its gradient's length is outside their span."""

ROUNDING_OF_ROWS = 1e-13
"""The length of a constraint's gradient, relative to the longest, below which it is rounding: it constrains nothing."""


class Tangent(NamedTuple):
    """Derivatives of an objective along the surface.

    ``gradient`` (k,) has no part across the surface; ``hessian`` (k, k) is that of the Lagrangian along it, and across
    it positive and larger than along it, so that a minimizer needs to know nothing of the surface. ``projection``
    (k, k) takes a direction to its part along the surface; None where there is no constraint.
    """

    gradient: Float[Array, "*b k"]
    hessian: Float[Array, "*b k k"]
    projection: Float[Array, "*b k k"] | None


class _Projecting(NamedTuple):
    """A point on the way to the surface, its errors, the damping of the next step, and whether to go on."""

    x: Float[jax.Array, " k"]
    error: Float[jax.Array, " m"]
    damping: Float[jax.Array, ""]
    n_steps: Int[jax.Array, ""]


def feasible(
    constraint: Constraint, x: Float[jax.Array, " k"], metric: Float[jax.Array, " k"]
) -> tuple[Float[jax.Array, " k"], Bool[jax.Array, ""]]:
    """Return a point near ``x`` at which the constraints hold, and whether they do.

    By Levenberg and Marquardt's method, each step the shortest in the ``metric`` (k,), the diagonal of a matrix. Where
    ``x`` is a point of the surface moved along its tangent, the result is on the geodesic but for a third-order error.

    >>> with jax.enable_x64(True):
    ...     x, holds = feasible(lambda x: (x @ x / 4.0 - 1.0)[None], jnp.array([3.0, 4.0]), jnp.ones(2))
    ...     print([round(float(value), 6) for value in x], bool(holds))
    [1.2, 1.6] True
    """
    jacobian = jax.jacfwd(constraint)

    def unfinished(state: _Projecting) -> Bool[jax.Array, ""]:
        far = jnp.max(jnp.abs(state.error)) > ROUNDING_ERROR
        return far & (state.n_steps < MAX_STEPS) & (state.damping < 1e12)

    def advance(state: _Projecting) -> _Projecting:
        scaled = jacobian(state.x) / jnp.sqrt(metric)[None, :]
        gram = scaled @ scaled.T
        size = jnp.trace(gram) + 1e-300
        shift = state.damping * jnp.minimum(jnp.sum(state.error**2), 1.0) + 1e-14
        inverse, _ = inverse_logdet(gram / size + shift * jnp.eye(gram.shape[0], dtype=gram.dtype))
        step = -(scaled.T @ (inverse @ state.error)) / size / jnp.sqrt(metric)
        trial = state.x + step
        error = constraint(trial)
        better = jnp.all(jnp.isfinite(error)) & (jnp.sum(error**2) < jnp.sum(state.error**2))
        damping = jnp.where(better, jnp.maximum(0.1 * state.damping, 1e-8), 10.0 * state.damping)
        return _Projecting(
            jnp.where(better, trial, state.x), jnp.where(better, error, state.error), damping, state.n_steps + 1
        )

    start = _Projecting(x, constraint(x), jnp.full((), 1e-4, x.dtype), jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(unfinished, advance, start)
    return end.x, jnp.max(jnp.abs(end.error)) < MAX_ERROR


def along_surface(
    constraint: Constraint,
    x: Float[jax.Array, " k"],
    gradient: Float[jax.Array, " s"],
    hessian: Float[jax.Array, "s s"],
    metric: Float[jax.Array, " s"],
) -> Tangent:
    """Return an objective's derivatives along the surface at a feasible ``x``.

    ``gradient`` and ``hessian`` are the objective's in all its parameters: those of ``x``, and after them others (as
    log sigma) that no constraint touches. Distances are those of the ``metric`` (s,), the diagonal of a matrix.
    """
    root, k = jnp.sqrt(metric), x.shape[0]
    jacobian = jnp.pad(jax.jacfwd(constraint)(x), ((0, 0), (0, gradient.shape[0] - k))) / root[None, :]
    slope = gradient / root
    normals, multipliers = _orthonormal(jacobian, slope)
    bend = jax.hessian(lambda x: multipliers @ constraint(x))(x)
    lagrangian = hessian.at[:k, :k].add(-bend) / (root[:, None] * root[None, :])
    across = normals.T @ normals
    along = jnp.eye(gradient.shape[0], dtype=x.dtype) - across
    can_change = jnp.diagonal(along) > ROUNDING_SHARE
    along = jnp.where(can_change[:, None] & can_change[None, :], along, 0.0)
    curvature = along @ lagrangian @ along
    curvature = curvature + (jnp.sqrt(jnp.sum(curvature**2)) + 1.0) * across
    return Tangent(
        root * (along @ slope),
        root[:, None] * curvature * root[None, :],
        along * root[None, :] / root[:, None],
    )


_Rows = tuple[Float[jax.Array, "m k"], Float[jax.Array, "m m"]]
"""Orthonormal directions, zero for a row that depends on others, and the lower triangle that takes them to the rows."""


def _orthonormal(
    jacobian: Float[jax.Array, "m k"], slope: Float[jax.Array, " k"]
) -> tuple[Float[jax.Array, "m k"], Float[jax.Array, " m"]]:
    """Return orthonormal directions that span the rows of ``jacobian``, and multipliers λ with Jᵀλ nearest ``slope``.

    A row that depends on earlier ones has the direction, and the multiplier, zero.
    """
    m = jacobian.shape[0]
    rounding = ROUNDING_OF_ROWS * jnp.sqrt(jnp.max(jnp.sum(jacobian**2, axis=1)))

    def orthogonalize(i: Int[jax.Array, ""], state: _Rows) -> _Rows:
        directions, triangle = state
        row = jacobian[i]
        first = directions @ row
        remainder = row - first @ directions
        second = directions @ remainder
        remainder = remainder - second @ directions
        length = jnp.sqrt(remainder @ remainder)
        new = length > jnp.maximum(DEPENDENT_SHARE * jnp.sqrt(row @ row), rounding)
        length = jnp.where(new, length, 1.0)
        direction = jnp.where(new, remainder / length, 0.0)
        return directions.at[i].set(direction), triangle.at[i].set((first + second).at[i].set(length))

    def substitute(step: Int[jax.Array, ""], multipliers: Float[jax.Array, " m"]) -> Float[jax.Array, " m"]:
        i = m - 1 - step
        value = (directions[i] @ slope - triangle[:, i] @ multipliers) / triangle[i, i]
        return multipliers.at[i].set(value)

    nothing = jnp.zeros_like(jacobian), jnp.zeros((m, m), jacobian.dtype)
    directions, triangle = jax.lax.fori_loop(0, m, orthogonalize, nothing)
    return directions, jax.lax.fori_loop(0, m, substitute, jnp.zeros(m, slope.dtype))
