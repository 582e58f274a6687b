"""Snap covariance parameters that are nearly on the boundary to it when the deviance does not increase."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array
from jaxlmm.covariance import BoundaryCandidates
from jaxlmm.likelihood import Likelihood, Response

ZERO_COSTS = 1e-9
"""A parameter is set to exactly zero when that raises the deviance by no more than this and rounding."""

FEW = 4
"""Positions at which a structure is asked whether a parameter at zero makes it vanish, or singular."""


class Snapped(NamedTuple):
    """``theta`` (k,) in ``bases`` (q, q) with zeros that are exact.

    ``active_set`` (k,), the active set, is 0 where a parameter is free, else as in
    :class:`jaxlmm.covariance.base.BoundaryCandidates`, with numbers that differ between terms.
    """

    theta: Array
    bases: tuple[Array, ...]
    active_set: Array


def snapped(
    likelihood: Likelihood, response: Response, theta: jax.Array, bases: tuple[jax.Array, ...], value: jax.Array
) -> Snapped:
    """Set to exactly zero what the deviance does not miss, term by term.

    Takes ``theta`` (k,) in ``bases`` with the deviance ``value`` () there.
    """
    layout, active_set = likelihood.layout, jnp.zeros(theta.shape, jnp.int32)
    allowed = value + ZERO_COSTS + 1e-12 * (jnp.abs(value) + response.count)
    for t, (structure, place) in enumerate(zip(layout.structures, layout.slices(), strict=False)):
        coords = jnp.asarray(layout.coords[t])
        few = coords[0, :FEW] if coords.ndim == 3 else coords
        options = structure.boundary_candidates(theta[place], bases[t], jnp.asarray(layout.roots[t]), few)
        choice = _first_good(likelihood, response, _Trials(theta, bases, options, t, place), allowed)
        theta, bases = _Trials(theta, bases, options, t, place).at(choice)
        blocks = options.active_set[choice]
        active_set = active_set.at[place].set(jnp.where(blocks > 0, blocks + place.start, blocks))
    return Snapped(theta, bases, active_set)


class _Trials(NamedTuple):
    """Other ways of writing term ``t``, whose parameters stand at ``place`` in ``theta`` (k,)."""

    theta: jax.Array
    bases: tuple[jax.Array, ...]
    options: BoundaryCandidates
    t: int
    place: slice

    def at(self, choice: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Return theta and bases with one of them."""
        basis = self.options.basis[choice]
        bases = (*self.bases[: self.t], basis, *self.bases[self.t + 1 :])
        return self.theta.at[self.place].set(self.options.theta[choice]), bases


def _first_good(likelihood: Likelihood, response: Response, trials: _Trials, allowed: jax.Array) -> jax.Array:
    """Return the number of the first valid way whose deviance is ``allowed``, or else of the last."""
    valid = trials.options.valid
    number = np.arange(valid.shape[0])

    def refused(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        return ~state[1]

    def following(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        choice, _ = state
        good = likelihood.deviance(likelihood.layout.factors(*trials.at(choice)), response) <= allowed
        after = jnp.argmax(valid & (number > choice))
        return jnp.where(good, choice, after), good | (after == number[-1])

    first = jnp.argmax(valid)
    return jax.lax.while_loop(refused, following, (first, first == number[-1]))[0]
