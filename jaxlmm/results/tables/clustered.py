"""Cluster-robust covariances of fixed effects: the sandwich, and its corrections for few clusters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.errors import OptionError
from jaxlmm.inference import Contrasts
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.levels import factors_at, row_covariance
from jaxlmm.results.tables.clusters import codes_by

KINDS_OF_CLUSTERS = ("CR0", "CR1", "CR2")
"""Cluster-robust covariances."""

SMALLEST_EIGENVALUE = 1e-10
"""Of a cluster's matrix, relative to the largest: smaller ones are zero, and their directions are left out."""


class Sandwich(NamedTuple):
    """A cluster-robust covariance (p, p), and what its degrees of freedom are computed from.

    Per cluster ``weights`` (n_g, p): the rows that estimate each coefficient, ``A_gᵀ V_g⁻¹ X_g M``; ``covariances``
    V_g; ``x``.
    """

    vcov: Float[NumpyArray, "p p"]
    weights: list[Float[NumpyArray, "_g p"]]
    covariances: list[Float[NumpyArray, "_g _g"]]
    x: list[Float[NumpyArray, "_g p"]]
    model: Float[NumpyArray, "p p"]

    def degrees(self, rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, " c"]:
        """Return Satterthwaite's degrees of freedom of combinations, if V is right (Bell and McCaffrey 2002)."""
        found = np.full(len(rows), np.nan)
        if not self.weights:  # of a fit without an optimum
            return found
        for number, row in enumerate(rows):
            products = self._products(row[None])[0, 0]
            found[number] = np.trace(products) ** 2 / np.sum(products**2)
        return found

    def test(self, beta: Float[NumpyArray, " p"], rows: Float[NumpyArray, "c p"]) -> Contrasts:
        """Test that ``rows @ beta`` is zero, by Hotelling's T² with estimated degrees of freedom.

        With D the covariance of the contrasts over its expectation, if V is right, η = c(c + 1)/Σ Var(D_st) and
        ``F = (η − c + 1)/(ηc) Q`` on c and η − c + 1 degrees of freedom (Pustejovsky and Tipton 2018, "HTZ").
        Directions without a variance do not count; NaN where there are as many contrasts as clusters, or more.
        """
        nothing = Contrasts(*(np.array(np.nan),) * 3)
        if not self.weights:  # of a fit without an optimum
            return nothing
        values, vectors = np.linalg.eigh(rows @ self.model @ rows.T)
        counted = values > SMALLEST_EIGENVALUE * values.max(initial=0.0)
        c = int(counted.sum())
        robust = np.linalg.eigvalsh(vectors[:, counted].T @ rows @ self.vcov @ rows.T @ vectors[:, counted])
        if c == 0 or not robust.min() > SMALLEST_EIGENVALUE * robust.max():
            return nothing
        rows = vectors[:, counted].T @ rows
        products = self._products(rows)
        expected = np.trace(products, axis1=2, axis2=3)
        size, axes = np.linalg.eigh(0.5 * (expected + expected.T))
        unit = (axes / np.sqrt(size)).T  # in these directions the covariance is expected to be the identity
        own = np.einsum("as,bt,stij->abij", unit, unit, products, optimize=True)
        squares = np.einsum("ssij,ttij->", own, own, optimize=True) + np.einsum("stij,tsij->", own, own, optimize=True)
        eta = c * (c + 1.0) / float(squares)
        estimate = rows @ beta
        statistic = float(estimate @ np.linalg.solve(rows @ self.vcov @ rows.T, estimate)) / c
        den_df = eta - c + 1.0
        known = den_df > 0.0
        return Contrasts(
            np.array(float(c)),
            np.array(den_df if known else np.nan),
            np.array(statistic * den_df / eta if known else np.nan),
        )

    def _products(self, rows: Float[NumpyArray, "c p"]) -> Float[NumpyArray, "c c m m"]:
        """Return the covariances of the m clusters' scores in combinations, for each two of these, if V is right."""
        own = [weights @ rows.T for weights in self.weights]
        crossed = np.stack([x.T @ one for x, one in zip(self.x, own, strict=True)])  # (m, p, c)
        products = -np.einsum("ips,pq,jqt->stij", crossed, self.model, crossed, optimize=True)
        for number, (one, v) in enumerate(zip(own, self.covariances, strict=True)):
            products[:, :, number, number] += one.T @ v @ one
        return products


@in_double_precision
def sandwich(fit: Fitted, kind: str, cluster: Any) -> Sandwich:
    """Return the cluster-robust covariance of the fixed effects.

    ``M (Σ_g X_gᵀ V_g⁻¹ A_g e_g e_gᵀ A_gᵀ V_g⁻¹ X_g) M`` with ``M = (XᵀV⁻¹X)⁻¹`` and e the marginal residuals: ``"CR0"``
    with A the identity, ``"CR1"`` that times m/(m − 1) for m clusters, ``"CR2"`` with ``A_g = D_gᵀ B_g^(−1/2) D_g``,
    ``D_gᵀD_g = V_g`` and ``B_g = D_g (V_g − X_g M X_gᵀ) D_gᵀ`` (Bell and McCaffrey 2002; Pustejovsky and Tipton 2018),
    as clubSandwich has it.

    Raises
    ------
    OptionError
        If the rows of several clusters are correlated by the model, or there is one cluster.
    """
    frame, codes = fit.frame, _clusters(fit, cluster)
    if not codes.max(initial=0):
        raise OptionError("cluster: expected two or more clusters, got one.")
    if not fit.estimates.proven or fit.sigma == 0.0:
        nothing = np.full_like(fit.estimates.uncertainty.vcov, np.nan)
        return Sandwich(nothing, [], [], [], nothing)
    _check_apart(fit, codes)
    solution = fit.solution
    factors = factors_at(solution.layout, solution.theta, solution.bases)
    variance, model = float(fit.by_row.sigma) ** 2, fit.estimates.uncertainty.vcov
    assert frame.y is not None
    residual = frame.y - frame.offset - frame.x @ fit.estimates.beta
    meat = np.zeros_like(model)
    weights, covariances, columns = [], [], []
    for level in range(int(codes.max(initial=-1)) + 1):
        rows = np.flatnonzero(codes == level)
        x, v = frame.x[rows], variance * row_covariance(frame, factors, rows)
        solved = np.linalg.solve(v, x)
        adjusted = solved
        if kind == "CR2":
            root = np.linalg.cholesky(v).T  # D_g, with D_gᵀ D_g = V_g
            inner = root @ (v - x @ model @ x.T) @ root.T
            values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
            kept = values > SMALLEST_EIGENVALUE * values.max(initial=0.0)
            inverse_root = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
            adjusted = (root.T @ inverse_root @ root).T @ solved
        score = adjusted.T @ residual[rows]
        meat += np.outer(score, score)
        weights.append(adjusted @ model)
        covariances.append(v)
        columns.append(x)
    count = len(weights)
    factor = count / (count - 1.0) if kind == "CR1" else 1.0
    return Sandwich(factor * model @ meat @ model, weights, covariances, columns, model)


def _clusters(fit: Fitted, cluster: Any) -> Int[NumpyArray, " n"]:
    """Return the cluster of each row; None for the only grouping factor."""
    if cluster is None:
        levels = fit.frame.levels
        if len(levels) != 1:
            raise OptionError(f"cluster: expected one of {', '.join(levels) or 'the columns of the data'}, got None.")
        cluster = next(iter(levels))
    return codes_by(fit, cluster, "cluster")[0]


def _check_apart(fit: Fitted, codes: Int[NumpyArray, " n"]) -> None:
    """Raise where a level of a grouping factor, or a known matrix, relates rows of several clusters."""
    for group, level in fit.frame.levels.items():
        own = np.asarray(level.codes)
        pairs = np.unique(np.stack([own, codes]), axis=1)
        if group in fit.frame.level_covariances or np.unique(pairs[0]).size < pairs.shape[1]:
            raise OptionError(
                f"cluster: rows of several clusters are correlated by {group}; expected clusters within which all "
                "levels of the grouping factors lie, as those of the outermost factor."
            )
