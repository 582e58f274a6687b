"""A criterion of Laplace's approximation or quadrature as a function of theta, dispersion and beta, for tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm.likelihood.laplace import EffectsByElimination, EffectsByLevel, Given, Laplace, Observations, Quadrature
from jaxlmm.model import Layout
from jaxlmm.optimize import Objective
from jaxlmm.optimize.loop import second_order


class Model:
    """A criterion of (theta, what is searched for of the dispersion, beta of the columns of X)."""

    def __init__(self, design, family, y, *, effects=None, n_nodes=None, weight=None):
        self.design, self.family, self.layout = design, family, Layout.of(design)
        n, padded = int(design.n), design.n_padded
        weight = np.ones(n) if weight is None else weight
        self.observed = Observations(
            np.concatenate([y, np.repeat(y[:1], padded - n, axis=0)]), np.pad(weight, (0, padded - n)), np.zeros(1)
        )
        if effects is None:
            one = len({term.grouping for term in design.terms}) <= 1
            effects = (EffectsByLevel if one else EffectsByElimination).of(design)
        method = Laplace(family, effects) if n_nodes is None else Quadrature(family, effects, n_nodes)
        self.effects, self.method = effects, method
        k, d = self.layout.n_theta, family.n_dispersion
        x = jnp.asarray(design.basis) @ jnp.asarray(design.triangle)

        def deviance(psi):
            theta, dispersion, beta = jnp.split(psi, [k, k + d])
            fixed = x @ beta + jnp.asarray(design.offset)
            return method.deviance(Given(self.layout.factors(theta), family.natural(dispersion), fixed), self.observed)

        self.modes = jax.jit(lambda psi: self._at_mode(method, *jnp.split(psi, [k, k + d]), x))
        self.deviance, self.first_order = jax.jit(deviance), jax.jit(jax.value_and_grad(deviance))
        self.second_order = jax.jit(functools.partial(second_order, Objective(deviance)))

    def conditional_effects(self, psi):
        """The modes and conditional standard deviations of the effects."""
        theta, dispersion, beta = jnp.split(psi, [self.layout.n_theta, self.layout.n_theta + self.family.n_dispersion])
        x = jnp.asarray(self.design.basis) @ jnp.asarray(self.design.triangle)
        fixed = x @ beta + jnp.asarray(self.design.offset)
        given = Given(self.layout.factors(theta), self.family.natural(dispersion), fixed)
        return self.method.effects_at(self.design, given, self.observed)

    def _at_mode(self, method, theta, dispersion, beta, x):
        """The scores of the rows at the mode, and its dual, which are equal there."""
        fixed = x @ beta + jnp.asarray(self.design.offset)
        given = Given(self.layout.factors(theta), self.family.natural(dispersion), fixed)
        modes = method.modes(given, self.observed)
        return method.conditional(given, self.observed, modes.predictor).score, modes.dual
