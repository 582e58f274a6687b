"""A solver as a user writes it: H over all rows at once, inverted, for models without known matrices."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

import jaxlmm as lmm
from jaxlmm.linalg import inverse_logdet


class Plain(lmm.solvers.AbstractSolver):
    """H = R + Σ Z C Zᵀ on all rows; Z of each term is (N, levels, columns)."""

    name = "plain"

    terms: tuple
    real: np.ndarray  # 1 on rows that are not padded
    levels: np.ndarray | None  # those of the residual structure, with positions in them
    positions: np.ndarray | None

    @classmethod
    def unsuitable(cls, design):
        return "a known matrix" if any(grouping.relation is not None for grouping in design.groupings) else ""

    @classmethod
    def build(cls, design):
        terms, row = [], np.arange(design.n_padded)
        for term in design.terms:
            grouping = design.groupings[term.grouping]
            z = np.zeros((row.size, int(grouping.n_levels), term.size))
            columns = np.arange(term.size) if term.positions is None else np.asarray(term.positions)[:, None]
            z[row[:, None], np.asarray(grouping.codes)[:, None], columns] = np.asarray(term.z)
            terms.append(z)
        real, levels, positions = (row < int(design.n)).astype(float), None, None
        if design.residual is not None:
            levels = np.asarray(design.groupings[design.residual.grouping].codes)
            positions = np.asarray(design.residual.positions)
        return cls(tuple(terms), real, levels, positions)

    def priors(self, factors):
        """The covariance of the effects of all levels of each term: a block per level."""
        found = []
        for z, own in zip(self.terms, factors.terms, strict=True):
            levels = z.shape[1]
            if own.ndim == 2:
                found.append(jnp.kron(jnp.eye(levels), own @ own.T))
            else:  # along positions, shared by all levels or of each
                found.append(block_diag(*(own if len(own) > 1 else [own[0]] * levels)))
        return found

    def factor(self, factors):
        h = jnp.eye(self.real.shape[0])
        if self.levels is not None:
            blocks = self.levels if len(factors.residual) > 1 else 0 * self.levels
            own = factors.residual[blocks[:, None], self.positions[:, None], self.positions[None, :]]
            together = (self.levels[:, None] == self.levels[None, :]) & (self.real[:, None] * self.real[None, :] > 0)
            h = jnp.where(together, own, h)
        for z, prior in zip(self.terms, self.priors(factors), strict=True):
            columns = z.reshape(h.shape[0], -1)
            h = h + columns @ prior @ columns.T
        return inverse_logdet(h)

    def logdet(self, factor):
        return factor[1]

    def cross_products(self, a, b):
        return a, b

    def inner(self, factor, products):
        return products[0].T @ factor[0] @ products[1]

    def augmented(self, a, e):
        return jnp.asarray(e).T

    def quadratic_forms(self, factor, products, augmented):
        weighted = factor[0] @ augmented
        return self.inner(factor, products), products[0].T @ weighted, augmented @ weighted

    def effects(self, design, factors, factor, residual):
        modes, sds = [], []
        for z, prior in zip(self.terms, self.priors(factors), strict=True):
            covariance = prior @ z.reshape(z.shape[0], -1).T
            left = jnp.diagonal(prior - covariance @ factor[0] @ covariance.T)
            modes.append((covariance @ (factor[0] @ residual)).reshape(z.shape[1:]))
            sds.append(jnp.sqrt(jnp.maximum(left, 0.0)).reshape(z.shape[1:]))
        return lmm.solvers.Effects(tuple(modes), tuple(sds))


class Reweighted(Plain):
    """The same, for models of dispersion too."""

    name = "reweighted"

    def reweighted(self, root_weight):
        return self.replace(terms=tuple(root_weight[:, None, None] * z for z in self.terms))
