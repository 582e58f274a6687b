"""Plain dense algebra of a small design in NumPy: H, its products, and the modes, from the model's definition."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.model import Design, Factors, Term


class PlainTerm(NamedTuple):
    """One term's effects b, levels × columns in one axis: ``columns`` Z, the ``prior`` covariance of b over sigma², and
    the observed ``levels`` with the number of columns (or positions) ``q``.
    """

    columns: Float[NumpyArray, "n b"]
    prior: Float[NumpyArray, "b b"]
    levels: Int[NumpyArray, " _"]
    q: int


class PlainEffects(NamedTuple):
    """Modes and conditional standard deviations of the observed levels of one term."""

    levels: Int[NumpyArray, " l"]
    modes: Float[NumpyArray, "l q"]
    sds: Float[NumpyArray, "l q"]


class Plain(NamedTuple):
    """H on the rows of a design, at one theta, with the terms it is made of."""

    covariance: Float[NumpyArray, "n n"]
    terms: tuple[PlainTerm, ...]

    @classmethod
    def of(cls, design: Design, factors: Factors) -> Plain:
        """Write the covariance out."""
        pairs = zip(design.terms, factors.terms, strict=True)
        terms = tuple(_term(design, term, np.asarray(factor)) for term, factor in pairs)
        total = _residual(design, factors)
        for term in terms:
            total = total + term.columns @ term.prior @ term.columns.T
        return cls(total, terms)

    def at_rows(self, rows: Int[NumpyArray, " r"]) -> Float[NumpyArray, "r r"]:
        """Return H among some of the rows."""
        return self.covariance[np.ix_(rows, rows)]

    def logdet(self) -> float:
        """Return ``log|H|``."""
        return float(np.linalg.slogdet(self.covariance)[1])

    def inner(self, a: Float[NumpyArray, "n i"], b: Float[NumpyArray, "n j"]) -> Float[NumpyArray, "i j"]:
        """Return ``Aᵀ H⁻¹ B``."""
        return np.asarray(a.T @ np.linalg.solve(self.covariance, b))

    def effects(self, residual: Float[NumpyArray, " n"]) -> list[PlainEffects]:
        """Return ``C H⁻¹ r`` of each term, C the covariance of b and the rows, and the roots of the diagonal of
        ``prior − C H⁻¹ Cᵀ``.
        """
        found = []
        for columns, prior, levels, q in self.terms:
            covariance = prior @ columns.T
            modes = covariance @ np.linalg.solve(self.covariance, residual)
            explained = np.sum(covariance.T * np.linalg.solve(self.covariance, covariance.T), axis=0)
            sds = np.sqrt(np.maximum(np.diagonal(prior) - explained, 0.0))
            found.append(PlainEffects(levels, modes.reshape(-1, q)[levels], sds.reshape(-1, q)[levels]))
        return found


def _term(design: Design, term: Term, factor: Float[NumpyArray, "... _ _"]) -> PlainTerm:
    n, grouping = int(design.n), design.groupings[term.grouping]
    levels, codes, z = int(grouping.n_levels), np.asarray(grouping.codes)[:n], np.asarray(term.z)[:n]
    columns, row = np.zeros((n, levels, term.size)), np.arange(n)
    if term.positions is None:
        columns[row, codes] = z
        known = np.eye(levels) if grouping.relation is None else grouping.relation.dense()
        prior = np.kron(known, factor @ factor.T)
    else:
        columns[row, codes, np.asarray(term.positions)[:n]] = z[:, 0]
        own = factor[np.arange(levels) if term.own_positions else np.zeros(levels, int)]
        prior = np.zeros((levels, term.size, levels, term.size))
        prior[np.arange(levels), :, np.arange(levels), :] = own
        prior = prior.reshape(levels * term.size, -1)
    return PlainTerm(columns.reshape(n, -1), prior, np.unique(codes), term.size)


def _residual(design: Design, factors: Factors) -> Float[NumpyArray, "n n"]:
    n = int(design.n)
    if design.residual is None or factors.residual is None:
        return np.eye(n)
    codes = np.asarray(design.groupings[design.residual.grouping].codes)[:n]
    blocks, positions = design.residual.blocks(codes), np.asarray(design.residual.positions)[:n]
    own = np.asarray(factors.residual)[blocks[:, None], positions[:, None], positions[None, :]]
    return np.where(codes[:, None] == codes[None, :], own, 0.0)
