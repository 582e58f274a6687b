"""Snap covariance parameters that are nearly on the boundary to it when the deviance does not increase."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array
from jaxlmm.covariance import BoundaryCandidates
from jaxlmm.engine.problems import Problem
from jaxlmm.model import Layout

MAX_RISE_AT_ZERO = 1e-9
"""A parameter is set to exactly zero when that raises the deviance by no more than this and rounding."""

POSITIONS_TRIED = 4
"""Positions at which a structure is asked whether a parameter at zero makes it vanish, or singular."""


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
    """Snap ``theta`` to the simplest boundary candidate at which its deviance ``value`` does not rise, term by term."""
    layout, active_set = problem.likelihood.layout, jnp.zeros(theta.shape, jnp.int32)
    allowed = value + MAX_RISE_AT_ZERO + 1e-12 * (jnp.abs(value) + problem.response.count)
    for t, (structure, own) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
        coords = jnp.asarray(layout.coords[t])
        few = coords[0, :POSITIONS_TRIED] if coords.ndim == 3 else coords
        candidates = structure.boundary_candidates(theta[own], bases[t], jnp.asarray(layout.roots[t]), few)
        trials = _Trials(theta, bases, candidates, t, own)
        choice = _first_allowed(problem, trials, allowed)
        theta, bases = trials.at(choice)
        blocks = candidates.active_set[choice]
        active_set = active_set.at[own].set(jnp.where(blocks > 0, blocks + own.start, blocks))
    return Snapped(theta, bases, active_set)


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

    theta: Float[jax.Array, " k"]
    bases: tuple[jax.Array, ...]
    candidates: BoundaryCandidates
    t: int
    own: slice

    def at(self, choice: Int[jax.Array, ""]) -> tuple[Float[jax.Array, " k"], tuple[jax.Array, ...]]:
        """Return theta and bases with one of them."""
        basis = self.candidates.basis[choice]
        bases = (*self.bases[: self.t], basis, *self.bases[self.t + 1 :])
        return self.theta.at[self.own].set(self.candidates.theta[choice]), bases


def _first_allowed(problem: Problem, trials: _Trials, allowed: Float[jax.Array, ""]) -> Int[jax.Array, ""]:
    """Return the number of the first valid candidate whose deviance is ``allowed``, or else of the last."""
    valid = trials.candidates.valid
    number = np.arange(valid.shape[0])

    def refused(state: tuple[Int[jax.Array, ""], Bool[jax.Array, ""]]) -> Bool[jax.Array, ""]:
        return ~state[1]

    def following(
        state: tuple[Int[jax.Array, ""], Bool[jax.Array, ""]],
    ) -> tuple[Int[jax.Array, ""], Bool[jax.Array, ""]]:
        choice, _ = state
        good = problem.deviance(*trials.at(choice)) <= allowed
        after = jnp.argmax(valid & (number > choice))
        return jnp.where(good, choice, after), good | (after == number[-1])

    first = jnp.argmax(valid)
    return jax.lax.while_loop(refused, following, (first, first == number[-1]))[0]
