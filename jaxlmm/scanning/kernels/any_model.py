"""Markers in a model of any structure: products with the inverse of H by its solver, or a fit for every marker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Num

from jaxlmm._util import NumpyArray, pad
from jaxlmm.covariance import Parameter
from jaxlmm.engine import Problems, certified, find_optima
from jaxlmm.inference import PROVEN, STATUS, Units
from jaxlmm.likelihood import Likelihood, likelihood_of
from jaxlmm.model import Design, Natural
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.scanning.kernels.filter import PairFilter, Pairs
from jaxlmm.scanning.kernels.marker_columns import orthonormalized, prepare_with, sums_at
from jaxlmm.scanning.kernels.null_models import has_optimum
from jaxlmm.scanning.kernels.rotate import COLLINEAR_SHARE, CONSTANT_SHARE
from jaxlmm.scanning.kernels.scanner import NOT_TESTED
from jaxlmm.scanning.kernels.statistics import log_likelihood_ratio, solved, wald
from jaxlmm.solvers import AbstractSolver

MARKERS_PER_BATCH = 64
"""Markers whose columns a compiled function takes at once."""

MARKERS_PER_SMALL_BATCH = 8
"""Markers that are fitted at once where no more are left, or the solver is sequential."""


class MarkerFits(NamedTuple):
    """Fits of one response with each of s markers: estimates of c columns, their ``joint`` F, status and deviance."""

    estimate: Float[NumpyArray, "c s"]
    std_error: Float[NumpyArray, "c s"]
    joint: Float[NumpyArray, " s"]
    status: Int[NumpyArray, " s"]
    deviance: Float[NumpyArray, " s"]


class NullPoint(NamedTuple):
    """The optimum of one response without a marker: ``theta`` in ``bases``, its ``deviance`` and ``status``."""

    theta: Float[NumpyArray, " k"]
    bases: tuple[Float[NumpyArray, "_ _"], ...]
    deviance: float
    status: int


class SolverScanner:
    """Tests blocks of markers for one response by the solver of its design.

    Parameters
    ----------
    design, y
        The rows of the response, and the response on them.
    solver, method, parameters, first_order
        As in :func:`jaxlmm.engine.solve_many`.
    samples
        Which sample each row is of.
    moderator
        The covariate x of an interaction, for a second column g·x, or None.
    number
        Of the response, among all.
    null, ml_null
        Its optimum without a marker by ``method`` and by ML, where they are needed.
    refit
        Whether the variances are refitted for every marker.
    start
        Natural parameters at which a refit begins: those of the optimum without a marker are near.
    given
        Natural parameters that are fixed. Where a standard deviation is, the residual's is not estimated with each
        marker: it is fixed too, or that of the null.
    """

    def __init__(
        self,
        design: Design,
        y: Float[NumpyArray, " n"],
        *,
        solver: type[AbstractSolver],
        method: str,
        parameters: Sequence[Parameter],
        samples: Int[NumpyArray, " n"],
        moderator: Float[NumpyArray, " n"] | None,
        number: int,
        null: NullPoint | None,
        ml_null: NullPoint | None,
        refit: bool,
        tests: Sequence[str],
        given: Natural | None = None,
        first_order: AbstractMinimizer | None = None,
        start: Natural | None = None,
    ) -> None:
        self.given, self.first_order, self.start = given, first_order, start
        self.parameters, self.samples, self.number = parameters, samples, number
        self.refit, self.tests = refit, tuple(tests)
        self.null, self.ml_null = null, ml_null
        built = solver.build(design)
        self.likelihood = jax.device_put(likelihood_of(design, built, method, given))
        self.by_ml = self.likelihood.replace(reml=np.float64(0.0))
        n = self.n = int(design.n)
        root_weight = np.asarray(design.root_weight)[:n]
        self.y = pad(y, design.n_padded)
        self.scales = [root_weight] if moderator is None else [root_weight, root_weight * moderator]
        self.columns = len(self.scales)
        fixed = np.asarray(design.basis)[:n]
        residual = root_weight - fixed @ (fixed.T @ root_weight)
        self.centered = bool(residual @ residual <= CONSTANT_SHARE * (root_weight @ root_weight))
        self.degrees = float(n - int(design.n_fixed) - self.columns)
        self.count = self.degrees if method == "REML" else float(n)
        self.units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())  # from basis to X

    def scan(
        self, values: Num[NumpyArray, "q s"], markers: Int[NumpyArray, " s"], frequency: Float[NumpyArray, " s"],
        keep: PairFilter,
    ) -> None:  # fmt: skip
        """Test markers with ``values`` in the samples, and their numbers and frequencies; hand pairs to a filter."""
        for start in range(0, markers.size, MARKERS_PER_BATCH):
            batch = slice(start, start + MARKERS_PER_BATCH)
            g = values[:, batch]
            g = (g - g.mean(axis=0) if self.centered else g)[self.samples]
            columns = np.zeros((self.columns, self.y.size, MARKERS_PER_BATCH))
            for column, scale in zip(columns, self.scales, strict=True):
                column[: self.n, : g.shape[1]] = scale[:, None] * g
            pairs = self._tested(columns, markers[batch], frequency[batch])
            keep.counts.add(pairs.marker, pairs.status)
            keep.add(pairs)

    def _tested(
        self, columns: Float[NumpyArray, "c N S"], markers: Int[NumpyArray, " s"], frequency: Float[NumpyArray, " s"]
    ) -> Pairs:
        s, none = markers.size, np.full(markers.size, np.nan)
        orthonormal, triangle, left = (np.asarray(part) for part in orthonormalized(self.likelihood, columns))
        collinear = np.logical_not(left[:s] > COLLINEAR_SHARE)
        lrt = score = none
        unbounded = np.zeros(s, bool)  # no residual is left: information is between groups alone, with fewer degrees
        if self.refit:
            fits = self._fitted(self.likelihood, orthonormal, triangle, s)
            estimate, std_error, joint, status, deviance = fits
            unbounded = np.isneginf(deviance)
            if "lrt" in self.tests and self.ml_null is not None:
                by_ml = float(self.likelihood.reml) == 0.0
                ml_fits = fits if by_ml else self._fitted(self.by_ml, orthonormal, triangle, s)
                lrt = np.maximum(self.ml_null.deviance - ml_fits.deviance, 0.0)
            statistic = (estimate / std_error) ** 2
        else:
            assert self.null is not None
            a, b, squares, variance = self._sums(self.null, columns, s)
            estimate, std_error, statistic, joint = wald(a, b, squares, self.count, variance)
            status = np.full(s, self.null.status)
        if self.ml_null is not None:
            a, b, squares, variance = self._sums(self.ml_null, columns, s)
            explained = solved(a, b)[2]
            score = explained / (self.columns * (squares / self.n if variance is None else variance))
            at_null = log_likelihood_ratio(explained, squares, self.n) if variance is None else explained / variance
            lrt = lrt if self.refit else at_null
        if self.ml_null is not None and not (self.ml_null.status in PROVEN and np.isfinite(self.ml_null.deviance)):
            lrt = score = none
        if not self.refit and self.null is not None:
            unbounded[:] = not np.isfinite(self.null.deviance)  # at fixed ratios nothing has a size then
        without_optimum = ~has_optimum(status) | unbounded
        pairs = Pairs(
            np.full(s, self.number), markers, np.where(collinear, NOT_TESTED, status).astype(np.int8),
            np.full(s, self.degrees), frequency, none, none, estimate, std_error, statistic, joint, lrt, score,
        )  # fmt: skip
        return pairs.without_tests(without_optimum & ~collinear).blanked(collinear)

    def null_sigma(self) -> float:
        """Return the residual's standard deviation at the variance ratios of the null point."""
        assert self.null is not None
        no_columns = np.zeros((self.columns, self.y.size, MARKERS_PER_BATCH))
        squares = self._sums(self.null, no_columns, 1)[2]
        return float(np.sqrt(squares[0] / (self.count + (self.columns if self.count < self.n else 0))))

    def _sums(
        self, null: NullPoint, columns: Float[NumpyArray, "c N S"], s: int
    ) -> tuple[Float[NumpyArray, "c s"], Float[NumpyArray, "c c s"], Float[NumpyArray, " s"], float | None]:
        """Return gᵀPy, gᵀPg and yᵀPy of the first s markers at a null optimum, and σ² if it is not profiled out."""
        *sums, sigma = sums_at(self.likelihood, null.theta, null.bases, self.y, columns)
        a, b, squares = (np.asarray(part) for part in sums)
        return a[:, :s], b[:, :, :s], np.broadcast_to(squares, s), None if sigma is None else float(sigma) ** 2

    def _fitted(
        self,
        likelihood: Likelihood,
        orthonormal: Float[NumpyArray, "c N S"],
        triangle: Float[NumpyArray, "p_all c S"],
        s: int,
    ) -> MarkerFits:
        """Fit the response with each of the first s markers."""
        finite = np.isfinite(np.concatenate([orthonormal.sum(axis=1), triangle.sum(axis=1)])).all(axis=0)[:s]
        c, failed = self.columns, STATUS.index("failed")
        estimate, std_error = (np.full((c, s), np.nan) for _ in range(2))
        joint, deviance, status = np.full(s, np.nan), np.full(s, np.nan), np.full(s, failed)
        indices = np.flatnonzero(finite)
        few = likelihood.solver.sequential or indices.size <= MARKERS_PER_SMALL_BATCH
        size = MARKERS_PER_SMALL_BATCH if few else MARKERS_PER_BATCH
        for first in range(0, indices.size, size):
            batch = indices[first : first + size]
            count, filled = batch.size, np.resize(batch, size)
            responses, rows = prepare_with(
                likelihood, self.units, self.y, orthonormal[..., filled], triangle[..., filled]
            )
            problems = Problems(likelihood, responses, self.units, rows, size)
            optima = find_optima(problems, self.first_order, self.start)
            found = certified(problems, optima, self.parameters, self.given)
            beta = np.asarray(found.examination.beta)[:count, -c:]
            vcov = np.asarray(found.uncertainty.vcov)[:count, -c:, -c:]
            estimate[:, batch], std_error[:, batch] = beta.T, np.sqrt(np.diagonal(vcov, axis1=1, axis2=2)).T
            joint[batch] = np.einsum("bi,bi->b", beta, np.linalg.solve(vcov, beta[..., None])[..., 0]) / c
            status[batch], deviance[batch] = found.verdicts.status[:count], found.examination.deviance[:count]
        return MarkerFits(estimate, std_error, joint, status, deviance)
