"""Many responses, each observed on rows of its own: one batch whatever the number of patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._compile import program
from jaxlmm._shapes import pad
from jaxlmm._typing import Array, NumpyArray
from jaxlmm.engine.many import AT_ONCE, Found, known, mesh_of_devices, vary
from jaxlmm.engine.optimum import solve
from jaxlmm.engine.problems import SMALL_BLOCK, OwnRows, Problems, blocks
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.model import Design, Natural
from jaxlmm.optimise import AbstractMinimiser
from jaxlmm.solvers import Moments, own_moments

NEARLY_DEPENDENT = 1e8
"""Where the inverse of the fixed effects' products on the observed rows has a larger entry, some may be determined by
others there, and the response is left to a design of its own."""


def takes_own_rows(design: Design, solver: str) -> bool:
    """Whether responses of this design can have rows of their own in one batch."""
    return solver == Moments.name and len(design.terms) > 0


def solve_own_rows(
    design: Design,
    y: NumpyArray,
    *,
    method: str,
    names: Sequence[str],
    first_order: AbstractMinimiser | None = None,
    start: Natural | None = None,
    fixed: Natural | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[NumpyArray, Found | None]]:
    """Minimise the deviance of responses ``y`` (n, m) with missing values; ``solver`` is moments.

    Yields places (b,) and what was found for them; None for those whose fixed effects are nearly dependent on their
    rows, or fit them perfectly.
    """
    likelihood = Likelihood.of(design, Moments.build(design).exact(), method, fixed)
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())
    per_response = 8 * design.n_padded * (2 * design.n_fixed + 8)
    size = max(AT_ONCE // per_response, 1)
    size = min(SMALL_BLOCK, size)  # one size, and so few compiled programmes, whatever the number of responses
    for first in range(0, y.shape[1], size):
        places = np.arange(first, min(first + size, y.shape[1]))
        problems, good = _problems(likelihood, units, y[:, places], size)
        if problems is not None:
            yield places[good], known(problems, solve(problems, first_order, start), names, fixed)
        if not good.all():
            yield places[~good], None
        done(int(good.sum()))


def _problems(likelihood: Likelihood, units: Units, y: NumpyArray, largest: int) -> tuple[Problems | None, NumpyArray]:
    """Prepare responses (n, m); return the problems of those that are good (m,)."""
    parts = []
    for places, count in blocks(y.shape[1], largest):
        block = pad(y[:, places], likelihood.design.n_padded)
        present = pad(np.isfinite(y[:, places]).astype(float), likelihood.design.n_padded)
        found = _prepare_own(likelihood, units, np.where(present > 0, block, 0.0), present)
        parts.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], found))
    responses, own, largest_entry = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    degrees = np.isfinite(y).sum(axis=0) - likelihood.design.n_fixed
    good = np.isfinite(largest_entry) & (largest_entry < NEARLY_DEPENDENT) & (degrees > 0) & vary(responses, degrees)
    if not good.any():
        return None, good
    responses, own = jax.device_put(jax.tree.map(lambda leaf: leaf[good], (responses, own)))
    return Problems(likelihood, responses, units, own, largest, mesh_of_devices()), good


@program()
def _prepare_own(likelihood: Likelihood, units: Units, y: Array, present: Array) -> tuple[Response, OwnRows, jax.Array]:
    design, p, present = likelihood.design, likelihood.design.n_fixed, jnp.asarray(present)
    assert isinstance(likelihood.solver, Moments)
    own = own_moments(design, likelihood.solver, y, present)
    n = jnp.sum(present, axis=0)
    count = n - p if likelihood.method == "REML" else n
    weight = jnp.asarray(design.root_weight)
    constant = -2.0 * (present.T @ jnp.log(jnp.where(weight > 0, weight, 1.0)))
    if likelihood.method == "REML":
        diagonal = jnp.abs(jnp.diagonal(jnp.asarray(design.triangle)))
        constant = constant + 2.0 * jnp.sum(jnp.log(diagonal)) + own.logdet
    response = Response(
        None, own.border, own.least_squares, own.scale, count, constant + 2.0 * count * jnp.log(own.scale)
    )
    inverse_triangle = jnp.asarray(units.inverse_triangle)[None] @ own.to_basis
    squares = tuple(_mean_squares(design, t, present) for t in range(len(design.terms)))
    # Rounding may turn a pivot of zero negative: then there is no log-determinant, and no entry of the root is large.
    entries = jnp.where(jnp.isfinite(own.logdet), jnp.max(own.to_basis**2, axis=(1, 2)), jnp.inf)
    return response, OwnRows(own.solver, own.fixed, Units(inverse_triangle, squares)), entries


def _mean_squares(design: Design, t: int, present: jax.Array) -> jax.Array:
    """Return the mean of ``z zᵀ`` (m, q, q) without weights over the rows that are ``present`` (N, m)."""
    weight = jnp.asarray(design.root_weight)
    z = jnp.asarray(design.terms[t].z) * jnp.where(weight > 0, 1.0 / jnp.where(weight > 0, weight, 1.0), 0.0)[:, None]
    products = (z[:, :, None] * z[:, None, :]).reshape(z.shape[0], -1)
    total = (present.T @ products).reshape(-1, z.shape[1], z.shape[1])
    return total / jnp.sum(present, axis=0)[:, None, None]
