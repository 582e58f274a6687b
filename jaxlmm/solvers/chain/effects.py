"""Modes and conditional standard deviations of random effects along a chain, and of columns by level."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.model import ChainFactor, Design, Factors, MarkovChain
from jaxlmm.solvers.base import Effects
from jaxlmm.solvers.chain.levels import LevelEffects, at_rows
from jaxlmm.solvers.chain.records import Along, ChainFactored
from jaxlmm.solvers.chain.whitening import Filtered


def effects_along(
    design: Design,
    factors: Factors,
    factor: ChainFactored,
    residual: Along,
    columns: Along,
    root: Float[Array, " M"],
    chain: MarkovChain | None,
    members: tuple[int, ...],
) -> Effects:
    """Return the effects of all terms; ``chain`` is None where the residuals are the chain.

    Those of the chain are ``E(u | y, c)`` at the modes of the column effects c, and the variance is that given c, and
    what c adds.
    """
    found: dict[int, tuple[jax.Array, jax.Array]] = {}
    nodes, levels, of_columns = residual.nodes, factor.levels, jnp.zeros((0, 0, 1))
    if levels is not None:
        white = factor.whitening.whitened(nodes)
        of_columns = levels.spread @ levels.modes(jnp.concatenate([white, residual.outside]))
        variance = jnp.diagonal(levels.covariance(), axis1=1, axis2=2)
        first = 0
        for number in members:
            own = slice(first, first + design.terms[number].size)
            found[number], first = (of_columns[:, own, 0], jnp.sqrt(variance[:, own])), own.stop
        codes = levels.codes[: nodes.shape[0]]
        nodes = nodes - at_rows(jnp.asarray(columns.nodes), codes, of_columns)
    if chain is not None:
        number = next(t for t, term in enumerate(design.terms) if term.over_positions)
        own_factor = factors.terms[number]
        assert isinstance(own_factor, ChainFactor)
        assert isinstance(factor.whitening, Filtered)
        modes, variances = _smoothed(own_factor, factor.whitening, nodes, jnp.asarray(columns.nodes), levels, chain)
        coords = np.shape(design.terms[number].coords)
        rows = coords[0] if len(coords) == 3 else design.n_padded
        both = (jnp.zeros(rows * coords[-2]).at[jnp.asarray(cells)] for cells in (_cells(chain), _cells(chain)))
        mode, sd = (at.set(part, mode="drop") for at, part in zip(both, (modes, jnp.sqrt(variances)), strict=True))
        found[number] = mode.reshape(rows, -1), sd.reshape(rows, -1)
    ordered = [found[number] for number in range(len(design.terms))]
    return Effects(tuple(mode for mode, _ in ordered), tuple(sd for _, sd in ordered))


def _cells(chain: MarkovChain) -> jax.Array:
    return jnp.concatenate([jnp.asarray(chain.cells), jnp.asarray(chain.unobserved)])


def _smoothed(
    own: ChainFactor,
    filtered: Filtered,
    nodes: Float[jax.Array, "M 1"],
    columns: Float[jax.Array, "M q"],
    levels: LevelEffects | None,
    chain: MarkovChain,
) -> tuple[Float[jax.Array, " c"], Float[jax.Array, " c"]]:
    """Return modes and variances at the nodes, and then at the positions without a row."""
    # A position without a row is between two nodes: u = α u_earlier + γ u_later + an independent part.
    (into, onward) = own.into, own.onward
    earlier, later = jnp.asarray(chain.earlier), jnp.asarray(chain.later)
    both = into.innovation**2 * onward.rho**2 + onward.innovation**2
    alpha, gamma = into.rho * onward.innovation**2 / both, onward.rho * into.innovation**2 / both
    free = into.innovation**2 * onward.innovation**2 / both

    def with_unobserved(u: Float[jax.Array, "M i"]) -> Float[jax.Array, "c i"]:
        between = alpha[:, None] * _taken(u, earlier) + gamma[:, None] * _taken(u, later)
        return jnp.concatenate([u, between])

    variance, next_to = filtered.smoothed_variance()
    between = alpha**2 * _taken(variance, earlier) + gamma**2 * _taken(variance, later)
    between = between + 2.0 * alpha * gamma * _taken(next_to, earlier) + free
    total = jnp.concatenate([variance, between])
    if levels is not None:
        codes = levels.codes[: nodes.shape[0]]
        of_cells = jnp.concatenate([codes, jnp.where(jnp.asarray(chain.into.exist), *(_codes(codes, i) for i in (earlier, later)))])
        slopes = with_unobserved(filtered.smoothed(columns))
        spread = levels.covariance().at[of_cells].get(mode="fill", fill_value=0.0)
        total = total + jnp.einsum("cq,cqs,cs->c", slopes, spread, slopes)
    sd = jnp.concatenate([own.links.sd, into.sd])
    return sd * with_unobserved(filtered.smoothed(nodes))[:, 0], sd**2 * total


def _taken(values: Float[jax.Array, "M *i"], index: jax.Array) -> Float[jax.Array, "E *i"]:
    return values.at[index].get(mode="fill", fill_value=0.0)


def _codes(codes: jax.Array, index: jax.Array) -> jax.Array:
    return codes.at[index].get(mode="fill", fill_value=np.iinfo(np.int32).max)
