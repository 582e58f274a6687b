"""Adaptive Gauss–Hermite quadrature over the random effects of each level (Pinheiro and Bates 1995)."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, static
from jaxlmm.likelihood.laplace.effects import EffectsByLevel
from jaxlmm.likelihood.laplace.modes import Given, Laplace, Observations
from jaxlmm.linalg import inverse_logdet, semidefinite_cholesky


class Quadrature(Laplace):
    """The likelihood by ``n_nodes`` nodes for each effect of a level, about its mode and scaled by the curvature there.

    With one node it is Laplace's approximation. The effects are those of one grouping factor, one or two to a level.
    """

    effects: EffectsByLevel
    n_nodes: int = static(default=1)

    def deviance(self, given: Given, observed: Observations) -> Float[jax.Array, ""]:
        """Return −2 log L, with exact derivatives of first and second order.

        After two Newton steps from modes that are not differentiated the first and second derivatives are exact: the
        error of a step is of second order in that of its start.
        """
        modes = self.modes(*jax.lax.stop_gradient((given, observed)))
        for _ in range(2):
            modes = self._stepped(given, observed, modes)
        lam = given.factors.joint()
        weight = self.conditional(given, observed, modes.predictor).weight
        inverse, logdet = inverse_logdet(self.effects.systems(lam, weight))
        center, root = self.effects.pulled(lam, modes.dual), jax.vmap(semidefinite_cholesky)(inverse)

        def at_node(node: Float[jax.Array, " r"], log_weight: Float[jax.Array, ""]) -> Float[jax.Array, " L"]:
            u = center + np.sqrt(2.0) * jnp.einsum("lij,j->li", root, node)
            rows = self.conditional(given, observed, self.effects.predictor(lam, u)).value
            return log_weight + jnp.sum(node**2) + self.effects.total(rows) - 0.5 * jnp.sum(u**2, axis=1)

        nodes, log_weights = (jnp.asarray(part) for part in product_rule(self.n_nodes, lam.shape[1]))
        sums = jax.nn.logsumexp(jax.vmap(at_node)(nodes, log_weights), axis=0)
        # The nodes' volume, √2 to the power of r times the root's determinant, over the normal density's √2π.
        per_level = sums - 0.5 * logdet - 0.5 * lam.shape[1] * np.log(np.pi)
        levels = jnp.sum(jnp.where(jnp.asarray(self.effects.present) > 0, per_level, 0.0))
        return -2.0 * (levels + self.normalizer(given, observed))


def product_rule(n_nodes: int, size: int) -> tuple[Float[NumpyArray, "k r"], Float[NumpyArray, " k"]]:
    """Return the nodes of the Gauss–Hermite rule in ``size`` dimensions, and the logarithms of their weights.

    >>> nodes, log_weights = product_rule(3, 2)
    >>> nodes.shape, round(float(np.exp(log_weights).sum() / np.pi), 12)
    ((9, 2), 1.0)
    """
    nodes, weights = np.polynomial.hermite.hermgauss(n_nodes)
    some = list(itertools.product(range(n_nodes), repeat=size))
    chosen = np.array(some, int).reshape(len(some), size)
    return nodes[chosen], np.log(weights)[chosen].sum(axis=1)
