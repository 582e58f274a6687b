"""A solver as a user writes it: H over all rows at once, inverted, for models without known matrices."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

import jaxlmm as lmm
from jaxlmm.linalg import inverse_logdet


class Plain(lmm.solvers.AbstractSolver):
    """H = R + Σ Z Λ Λᵀ Zᵀ on all rows; Z of each term is (N, levels, columns)."""

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

    def roots(self, factors):
        """Λ of all levels of each term: one block per level."""
        return [
            jnp.kron(jnp.eye(z.shape[1]), own) if own.ndim == 2 else block_diag(*own)
            for z, own in zip(self.terms, factors.terms, strict=True)
        ]

    def factor(self, factors):
        h = jnp.eye(self.real.shape[0])
        if self.levels is not None:
            own = factors.residual[self.levels, self.positions]
            together = (self.levels[:, None] == self.levels[None, :]) & (self.real[:, None] * self.real[None, :] > 0)
            h = jnp.where(together, own @ own.T, h)
        for z, root in zip(self.terms, self.roots(factors), strict=True):
            spread = z.reshape(h.shape[0], -1) @ root
            h = h + spread @ spread.T
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
        for z, root in zip(self.terms, self.roots(factors), strict=True):
            spread = z.reshape(z.shape[0], -1) @ root
            left = jnp.eye(spread.shape[1]) - spread.T @ factor[0] @ spread
            modes.append((root @ (spread.T @ (factor[0] @ residual))).reshape(z.shape[1:]))
            sds.append(jnp.sqrt(jnp.maximum(jnp.diagonal(root @ left @ root.T), 0.0)).reshape(z.shape[1:]))
        return lmm.solvers.Effects(tuple(modes), tuple(sds))


class Reweighted(Plain):
    """The same, for models of dispersion too."""

    name = "reweighted"

    def reweighted(self, root_weight):
        return self.replace(terms=tuple(root_weight[:, None, None] * z for z in self.terms))
