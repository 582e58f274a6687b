"""When a point at the boundary is left again: the rules of a search, for arrays of either library.

The batched search (:mod:`jaxlmm.engine.minimum`) and the search inside one traced function
(:mod:`jaxlmm.engine.traced`) differ in how they go through many responses; what they decide is written here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array
from jaxlmm.engine.boundary import MAX_RISE_AT_ZERO

WEAK_MULTIPLIER = 1e-6
"""A multiplier this small proves nothing: the deviance may be as low away from the boundary."""

STEP_OFF_BOUNDARY = 0.3
"""Length, in theta, of the step off a weakly active boundary from which another optimum is looked for."""

Eigenpair = Callable[[Array, Array], tuple[Array, Array]]
"""The smallest eigenvalue of symmetric matrices (..., k, k) whose entries are at most ``size`` / k, and its vector."""


def has_changed(
    bases: Sequence[Float[Array, "*b _ _"]],
    snapped_bases: Sequence[Float[Array, "*b _ _"]],
    active_set: Int[Array, "*b k"],
) -> Bool[Array, "*b"]:
    """Whether snapping to the boundary changed anything: a parameter is active now, or a basis is another."""
    changed: Any = (active_set != 0).any(-1)
    for new, old in zip(snapped_bases, bases, strict=True):
        changed = changed | (new != old).any((-2, -1))
    return changed


def boundary_curvature(
    hessian: Float[Array, "*b k k"], active_set: Int[Array, "*b k"], eigenpair: Eigenpair
) -> tuple[Float[Array, "*b"], Float[Array, "*b k"]]:
    """Return the smallest eigenvalue of the Hessian's blocks at the boundary, infinite without any, and its vector.

    Halved it is the smallest multiplier: the rate at which the deviance rises with the variance let in. A block of
    zeros, of parameters without any effect on the deviance, counts as none.
    """
    xp = hessian.__array_namespace__()
    k = hessian.shape[-1]
    same = (active_set[..., :, None] == active_set[..., None, :]) & (active_set > 0)[..., :, None]
    block = xp.where(same & xp.isfinite(hessian), hessian, 0.0)
    nonzero = xp.any(same & xp.any(block != 0.0, -1)[..., None, :], -1)
    size = xp.max(xp.abs(block), (-2, -1)) * k + 1e-300
    beyond = xp.where(nonzero, 0.0, 3.0 * size[..., None])  # so that the smallest eigenvalue is one of the blocks'
    value, vector = eigenpair(block + beyond[..., None] * xp.eye(k, dtype=block.dtype), size)
    exists = xp.any(nonzero, -1)
    return xp.where(exists, value, xp.inf), xp.where(exists[..., None] & nonzero, vector, 0.0)


def is_weak(curvature: Float[Array, "*b"]) -> Bool[Array, "*b"]:
    """Whether another optimum may be as low away from a boundary with this smallest curvature."""
    weak: Any = curvature <= WEAK_MULTIPLIER
    return weak


def descends(curvature: Float[Array, "*b"]) -> Bool[Array, "*b"]:
    """Whether the deviance falls from a boundary with this smallest curvature."""
    falls: Any = curvature < -WEAK_MULTIPLIER
    return falls


def off_boundary(theta: Float[Array, "*b k"], direction: Float[Array, "*b k"]) -> Float[Array, "*b k"]:
    """Return the point off the boundary from which another optimum is looked for."""
    return theta + STEP_OFF_BOUNDARY * direction


def is_left(
    curvature: Float[Array, "*b"],
    direction: Float[Array, "*b k"],
    at_boundary: tuple[Float[Array, "*b k"], Float[Array, "*b"]],
    off_boundary: tuple[Float[Array, "*b k"], Float[Array, "*b"]],
) -> Bool[Array, "*b"]:
    """Whether an optimum off the boundary, theta and its deviance, takes the place of the one at the boundary.

    It does where the deviance falls from the boundary, and where the boundary is the end of a ridge.
    """
    (theta, value), (theta_off, value_off) = at_boundary, off_boundary
    away = ((theta_off - theta) * direction).sum(-1) > 0.5 * STEP_OFF_BOUNDARY
    left: Any = descends(curvature) | ((value_off <= value + MAX_RISE_AT_ZERO) & away)
    return left
