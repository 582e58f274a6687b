"""Modes and conditional standard deviations of random effects along a chain, and of columns by level."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.model import PAST, ChainFactor, Design, Factors, MarkovChain
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
        term = design.terms[number]
        rows = chain.n_levels
        cells = jnp.concatenate([jnp.asarray(chain.cells), jnp.asarray(chain.unobserved)])
        empty = jnp.zeros(rows * term.size).at[cells]
        mode, sd = (empty.set(part, mode="drop").reshape(rows, -1) for part in (modes, jnp.sqrt(variances)))
        found[number] = mode, sd
    ordered = [found[number] for number in range(len(design.terms))]
    return Effects(tuple(mode for mode, _ in ordered), tuple(sd for _, sd in ordered))


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
        neighbor = jnp.where(jnp.asarray(chain.into.exist), earlier, later)
        between = codes.at[neighbor].get(mode="fill", fill_value=PAST)
        of_cells = jnp.concatenate([codes, between])
        slopes = with_unobserved(filtered.smoothed(columns))
        spread = levels.covariance().at[of_cells].get(mode="fill", fill_value=0.0)
        total = total + jnp.einsum("cq,cqs,cs->c", slopes, spread, slopes)
    sd = jnp.concatenate([own.links.sd, into.sd])
    return sd * with_unobserved(filtered.smoothed(nodes))[:, 0], sd**2 * total


def _taken(values: Float[jax.Array, "M ..."], index: jax.Array) -> Float[jax.Array, "E ..."]:
    return values.at[index].get(mode="fill", fill_value=0.0)
