"""The boundary of the parameter space: parameters are snapped to it where the deviance does not increase, and leave it.

The rules of leaving are for arrays of NumPy or JAX. The batched search (:mod:`jaxlmm.engine.minimum`) and the search
inside one traced function (:mod:`jaxlmm.engine.traced`) differ in how they go through many responses; what they decide
is written here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array
from jaxlmm.covariance import AbstractCovariance, BoundaryCandidates
from jaxlmm.covariance.parameters import declared
from jaxlmm.engine.problems import Problem
from jaxlmm.model import Layout

MAX_RISE_AT_ZERO = 1e-9
"""A parameter is set to exactly zero when that raises the deviance by no more than this and rounding."""

POSITIONS_TRIED = 4
"""Positions at which a structure is asked whether a parameter at zero makes it vanish, or singular."""


WEAK_CURVATURE = 1e-6
"""A curvature at the boundary this small proves nothing: the deviance may be as low away from it."""

STEP_OFF_BOUNDARY = 0.3
"""Length, in theta, of the step off a weakly active boundary from which another optimum is looked for."""

Eigenpair = Callable[[Array, Array], tuple[Array, Array]]
"""The smallest eigenvalue of symmetric matrices (..., k, k) whose entries are at most ``size`` / k, and its vector."""


class Snapped(NamedTuple):
    """``theta`` in ``bases`` with zeros that are exact.

    ``active_set`` is 0 where a parameter is free, else as in :class:`jaxlmm.covariance.base.BoundaryCandidates`, with
    numbers that differ between terms.
    """

    theta: Float[Array, "*b k"]
    bases: tuple[Float[Array, "*b _ _"], ...]
    active_set: Int[Array, "*b k"]


def snapped(
    problem: Problem,
    theta: Float[jax.Array, " k"],
    bases: tuple[Float[jax.Array, "_ _"], ...],
    value: Float[jax.Array, ""],
) -> Snapped:
    """Snap ``theta`` to the simplest boundary candidate at which its deviance ``value`` does not rise, term by term.

    What is held stays: a candidate that has it otherwise is moved, its zeros kept, to where it is held; and what is
    zero because it is held there is not in the active set.
    """
    layout, active_set = problem.likelihood.layout, jnp.zeros(theta.shape, jnp.int32)
    max_deviance = value + MAX_RISE_AT_ZERO + 1e-12 * (jnp.abs(value) + problem.response.count)
    for t, (structure, own) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
        few = _few_positions(structure, jnp.asarray(layout.coords[t]))
        candidates = structure.boundary_candidates(theta[own], bases[t], jnp.asarray(layout.roots[t]), few)
        theta, bases, active_set = _with_first_allowed(
            _Trials(problem, theta, bases, candidates, t, own), active_set, max_deviance
        )
    residual = _residual_candidates(layout, theta)
    if residual is not None:
        trials = _Trials(problem, theta, bases, residual, len(bases), layout.slices()[-1])
        theta, bases, active_set = _with_first_allowed(trials, active_set, max_deviance)
    for number, limit, near in () if layout.family is None else layout.family.limits():
        own = slice(layout.n_theta - layout.n_family + number, layout.n_theta - layout.n_family + number + 1)
        trials = _Trials(problem, theta, bases, _at_limit_or_not(theta[own], limit, near), len(bases), own)
        theta, bases, active_set = _with_first_allowed(trials, active_set, max_deviance)
    without = None if layout.family is None else layout.family.limit_of_zero_part()
    if without is not None:
        number, limit_of_zeros = without
        first = layout.n_theta - layout.n_family + number
        own = slice(first, first + limit_of_zeros.size)
        trials = _Trials(problem, theta, bases, _without_zero_part(theta[own], limit_of_zeros), len(bases), own)
        theta, bases, active_set = _with_first_allowed(trials, active_set, max_deviance)
    movable = problem.objective(bases).movable(theta)
    return Snapped(theta, bases, active_set if movable is None else jnp.where(movable, active_set, 0))


def rotated(
    layout: Layout, theta: Float[jax.Array, " k"], bases: tuple[Float[jax.Array, "_ _"], ...]
) -> tuple[Float[jax.Array, " k"], tuple[Float[jax.Array, "_ _"], ...]]:
    """Return the same point in bases rotated to the principal axes of each term's covariance, and these bases."""
    new = list(bases)
    for t, (structure, own) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
        part, new[t] = structure.rotated(theta[own], bases[t])
        theta = theta.at[own].set(part)
    return theta, tuple(new)


class _Trials(NamedTuple):
    """Boundary candidates of term ``t``, whose parameters are ``own`` in ``theta``."""

    problem: Problem
    theta: Float[jax.Array, " k"]
    bases: tuple[jax.Array, ...]
    candidates: BoundaryCandidates
    t: int
    own: slice

    def at(
        self, choice: Int[jax.Array, ""]
    ) -> tuple[Float[jax.Array, " k"], tuple[jax.Array, ...], Bool[jax.Array, ""]]:
        """Return theta and bases with one of them, and whether what is held can be."""
        bases = self.bases
        if self.t < len(bases):  # the residual has none
            bases = (*bases[: self.t], self.candidates.basis[choice], *bases[self.t + 1 :])
        theta = self.theta.at[self.own].set(self.candidates.theta[choice])
        theta, holds = self.problem.objective(bases).feasible(theta, jnp.ones_like(theta))
        return theta, bases, holds


def _few_positions(structure: AbstractCovariance, coords: Float[jax.Array, "*L q d"]) -> Float[jax.Array, "_ d"]:
    """Return the coordinates of columns; of positions those of a few of a block, or of all if parameters are theirs."""
    if coords.ndim == 2:
        return coords
    q = coords.shape[1]
    few = min(q, POSITIONS_TRIED)
    return coords[0] if structure.n_params(q) != structure.n_params(few) else coords[0, :few]


def _at_limit_or_not(theta: Float[jax.Array, " 1"], limit: float, near: float) -> BoundaryCandidates:
    """Return the candidates of a parameter of the family: its limit, if ``theta`` is ``near`` to it, and as it is."""
    basis, is_near = jnp.eye(1), jnp.abs(theta[0] - limit) < near
    there = jnp.full_like(theta, limit), basis, jnp.ones(1, jnp.int32), is_near
    return BoundaryCandidates.of([there, (theta, basis, jnp.zeros(1, jnp.int32), jnp.ones((), bool))])


def _without_zero_part(theta: Float[jax.Array, " k"], limit: Float[jax.Array, " k"]) -> BoundaryCandidates:
    """Return the candidates of a zero part: the ``limit`` without zeros of its own, or itself."""
    basis, active, valid = jnp.eye(1), jnp.ones(theta.size, jnp.int32), jnp.ones((), bool)
    return BoundaryCandidates.of([(limit, basis, -active, valid), (theta, basis, 0 * active, valid)])


def _residual_candidates(layout: Layout, theta: Float[jax.Array, " k"]) -> BoundaryCandidates | None:
    """Return the candidates of a residual structure with a parameter that may be zero, as the nugget; None of others.

    Residual covariances are regular, so that neither standard deviations nor correlations have an end there.
    """
    structure, coords = layout.residual, layout.residual_coords
    if structure is None or coords is None:
        return None
    names = [str(number) for number in range(coords.shape[-2])]
    if not any(one.lower == 0.0 and one.attained[0] and not one.is_sd for one in declared(structure, names)):
        return None
    few, basis = _few_positions(structure, jnp.asarray(coords)), jnp.eye(1)
    own = structure.boundary_candidates(layout.residual_theta(theta), basis, basis, few)
    valid = own.valid & (own.theta[:, 0] == 1.0)  # the first parameter is the scale
    return BoundaryCandidates(own.theta[:, 1:], own.basis, own.active_set[:, 1:], valid)


def _with_first_allowed(
    trials: _Trials, active_set: Int[jax.Array, " k"], max_deviance: Float[jax.Array, ""]
) -> tuple[Float[jax.Array, " k"], tuple[jax.Array, ...], Int[jax.Array, " k"]]:
    """Return theta, bases and active set with the first candidate whose deviance is at most ``max_deviance``."""
    choice = _first_allowed(trials.problem, trials, max_deviance)
    theta, bases, _ = trials.at(choice)
    chosen, own = trials.candidates.active_set[choice], trials.own
    return theta, bases, active_set.at[own].set(jnp.where(chosen > 0, chosen + own.start, chosen))


def _first_allowed(problem: Problem, trials: _Trials, max_deviance: Float[jax.Array, ""]) -> Int[jax.Array, ""]:
    """Return the number of the first valid candidate whose deviance is at most ``max_deviance``, or of the last."""
    valid = trials.candidates.valid
    number = np.arange(valid.shape[0])

    def refused(state: tuple[Int[jax.Array, ""], Bool[jax.Array, ""]]) -> Bool[jax.Array, ""]:
        return ~state[1]

    def following(
        state: tuple[Int[jax.Array, ""], Bool[jax.Array, ""]],
    ) -> tuple[Int[jax.Array, ""], Bool[jax.Array, ""]]:
        choice, _ = state
        theta, bases, holds = trials.at(choice)
        good = holds & (problem.deviance(theta, bases) <= max_deviance)
        after = jnp.argmax(valid & (number > choice))
        return jnp.where(good, choice, after), good | (after == number[-1])

    first = jnp.argmax(valid)
    return jax.lax.while_loop(refused, following, (first, first == number[-1]))[0]


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

    Halved it is the smallest multiplier, the derivative of the deviance in a variance at zero. A block of
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
    weak: Any = curvature <= WEAK_CURVATURE
    return weak


def descends(curvature: Float[Array, "*b"]) -> Bool[Array, "*b"]:
    """Whether the deviance falls from a boundary with this smallest curvature."""
    falls: Any = curvature < -WEAK_CURVATURE
    return falls


def off_boundary(theta: Float[Array, "*b k"], direction: Float[Array, "*b k"]) -> Float[Array, "*b k"]:
    """Return the point off the boundary from which another optimum is looked for."""
    return theta + STEP_OFF_BOUNDARY * direction


def leaves_boundary(
    curvature: Float[Array, "*b"],
    direction: Float[Array, "*b k"],
    at_boundary: tuple[Float[Array, "*b k"], Float[Array, "*b"]],
    off_boundary: tuple[Float[Array, "*b k"], Float[Array, "*b"]],
) -> Bool[Array, "*b"]:
    """Whether an optimum off the boundary, theta and its deviance, takes the place of the one at the boundary.

    It does where the deviance falls from the boundary, and where it is no higher at an optimum at least half a step
    away.
    """
    (theta, value), (theta_off, value_off) = at_boundary, off_boundary
    away = ((theta_off - theta) * direction).sum(-1) > 0.5 * STEP_OFF_BOUNDARY
    left: Any = descends(curvature) | ((value_off <= value + MAX_RISE_AT_ZERO) & away)
    return left
