"""Null models of a scan: the variance ratio of each response without a marker, on one pattern of rows."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.inference import PROVEN, STATUS
from jaxlmm.scanning.kernels.criterion import Criterion
from jaxlmm.scanning.kernels.refit import Optimum
from jaxlmm.scanning.kernels.rotate import ScanRows, null_optima
from jaxlmm.scanning.kernels.statistics import solved

INTERIOR, BOUNDARY, NOT_IDENTIFIED, NOT_CONVERGED = (
    STATUS.index(word) for word in ("interior", "boundary", "not_identified", "not_converged")
)

MIN_SHARE_LEFT_BY_MARKER = 1e-12
"""A marker that leaves no larger share of the response explains all of it."""


class Null(NamedTuple):
    """Null optima of m responses by one criterion: ``ratio`` λ, ``value`` of the criterion, ``status`` codes.

    ``squares`` are yᵀPy there, times ``1 + λ mean``, and ``mixing`` the combinations of kept weights; ``limit`` marks
    the limit in which no residual is left, and the criterion falls without bound.
    """

    ratio: Float[NumpyArray, " m"]
    value: Float[NumpyArray, " m"]
    status: Int[NumpyArray, " m"]
    squares: Float[NumpyArray, " m"]
    mixing: Float[NumpyArray, "r m"]
    limit: Bool[NumpyArray, " m"]

    @property
    def proven(self) -> Bool[NumpyArray, " m"]:
        """Whether each response has an optimum, in the interior or at a boundary, or a limit."""
        return has_optimum(self.status)

    @property
    def finite(self) -> Bool[NumpyArray, " m"]:
        """Whether each response has an optimum at which the likelihood is finite."""
        return self.proven & ~self.limit


def has_optimum(status: Int[NumpyArray, "*b"]) -> Bool[NumpyArray, "*b"]:
    """Return whether each status code is that of an optimum."""
    return np.asarray(np.isin(status, PROVEN))


def judged(optimum: Optimum, related: bool) -> Int[NumpyArray, " s"]:
    """Return the status codes of optima for s markers, arrays of the host.

    Where the criterion falls without bound as the residual vanishes, independent levels have a limit, the estimate
    between levels. Levels that a matrix relates have none: copies of one person would determine the heritability of
    all. A marker that explains all of the response is at the boundary of no residual, at any ratio.
    """
    status = np.where(optimum.converged, np.where(optimum.at_end, BOUNDARY, INTERIOR), NOT_CONVERGED)
    status = np.where(optimum.flat, NOT_IDENTIFIED, status)
    a, b, squares = (np.asarray(part) for part in optimum.sums)
    if a.size:  # beside a marker
        status = np.where(solved(a, b)[2] > (1.0 - MIN_SHARE_LEFT_BY_MARKER) * squares, BOUNDARY, status)
    return np.where(optimum.falls, NOT_CONVERGED if related else BOUNDARY, status).astype(np.int8)


class Given(NamedTuple):
    """Null optima that are known already: ``ratio`` λ and ``status``."""

    ratio: Float[NumpyArray, " m"]
    status: Int[NumpyArray, " m"]


@dataclasses.dataclass(frozen=True, eq=False)
class NullModels:
    """Null models of m responses, in the basis of ``rows``.

    ``rotated`` are the responses in it, with d = n − p rows, ``vanishes`` whether each is zero where M is,
    ``weighted_squares`` its squares with the kept weights. ``criterion`` is that of the estimates, REML
    or ML, and ``null`` the null optima by it;
    ``ml_criterion`` and ``ml_null`` are those by ML, of likelihood-ratio and score tests.
    """

    rows: ScanRows
    rotated: Float[NumpyArray, "d m"]
    vanishes: Bool[NumpyArray, " m"]
    weighted_squares: Float[NumpyArray, "r m"]
    criterion: Criterion
    ml_criterion: Criterion
    null: Null
    ml_null: Null

    @classmethod
    def of(
        cls, rows: ScanRows, y: Float[NumpyArray, "n m"], *, reml: bool, ml: bool = True, given: Given | None = None
    ) -> Self:
        """Rotate responses and find their null optima; without ``ml`` those by ML are those of the estimates.

        By the criterion of the estimates, optima that are ``given`` are taken as they are.
        """
        basis, (rotated, vanishes) = rows.basis, rows.rotated(y)
        weighted_squares = basis.kept.T @ rotated**2
        criterion = ml_criterion = jax.device_put(Criterion.of(basis, reml=reml))

        def null_by(criterion: Criterion, given: Given | None) -> Null:
            squares = _squares(criterion, weighted_squares)
            optimum = jax.tree.map(np.asarray, null_optima(criterion, *squares, vanishes))
            ratio, status, limit = np.exp(optimum.log_ratio), judged(optimum, rows.related), optimum.falls
            if given is not None:
                ratio, status = given
                limit = vanishes & np.isinf(ratio) & (np.asarray(criterion.n_zero) > 0)
            if rows.linear:
                m = y.shape[1]
                ratio, status, limit = np.zeros(m), np.full(m, INTERIOR), np.zeros(m, bool)
            ratio = np.where(limit, np.inf, ratio)
            mixing = basis.mixing_at(ratio)
            squares = np.sum(mixing * weighted_squares, axis=0)
            return Null(ratio, optimum.value, status.astype(np.int8), squares, mixing, limit)

        null = ml_null = null_by(criterion, given)
        if ml and reml:
            ml_criterion = jax.device_put(Criterion.of(basis, reml=False))
            ml_null = null_by(ml_criterion, None)
        return cls(rows, rotated, vanishes, weighted_squares, criterion, ml_criterion, null, ml_null)

    def on_device(self) -> Self:
        """Return them with what compiled functions take on the device, where another process prepared them."""
        rows = dataclasses.replace(self.rows, rotation=jax.device_put(self.rows.rotation))
        criterion, ml_criterion = jax.device_put((self.criterion, self.ml_criterion))
        return dataclasses.replace(self, rows=rows, criterion=criterion, ml_criterion=ml_criterion)

    def sigma(self, *, reml: bool) -> Float[NumpyArray, " m"]:
        """Return the residual's standard deviation at the null optima of the criterion of the estimates."""
        basis, null = self.rows.basis, self.null
        with np.errstate(over="ignore"):
            squares = null.squares / (1.0 + null.ratio * basis.mean)
        return np.asarray(np.sqrt(squares / (basis.degrees if reml else basis.n)))

    def only(self, chosen: Int[NumpyArray, " chosen"]) -> Self:
        """Return the null models of some of the responses."""

        def part(null: Null) -> Null:
            return Null(*(values[..., chosen] for values in null))

        return dataclasses.replace(
            self,
            rotated=self.rotated[:, chosen],
            vanishes=self.vanishes[chosen],
            weighted_squares=self.weighted_squares[:, chosen],
            null=part(self.null),
            ml_null=part(self.ml_null),
        )

    def criterion_of(
        self, chosen: Int[NumpyArray, " chosen"], *, ml: bool
    ) -> tuple[Criterion, Float[NumpyArray, "chosen k"], Float[NumpyArray, "chosen 2"], Bool[NumpyArray, " chosen"]]:
        """Return a criterion, and what of it some responses do not share, as :func:`null_optima` takes them."""
        shared = self.ml_criterion if ml else self.criterion
        return shared, *_squares(shared, self.weighted_squares[:, chosen]), self.vanishes[chosen]

    def refit_numerators(self, chosen: Int[NumpyArray, " chosen"]) -> Float[NumpyArray, "chosen r d"]:
        """Return responses, rotated, times each of the kept weights."""
        return np.asarray(self.rotated.T[chosen, None, :] * self.rows.basis.kept.T)

    def null_numerators(self, *, ml: bool) -> Float[NumpyArray, "m d"]:
        """Return each response, rotated, times its weights at its null optimum."""
        null = self.ml_null if ml else self.null
        return np.asarray((self.rotated * (self.rows.basis.kept @ null.mixing)).T)


def _squares(
    criterion: Criterion, weighted_squares: Float[NumpyArray, "r m"]
) -> tuple[Float[NumpyArray, "m k"], Float[NumpyArray, "m 2"]]:
    """Return yᵀPy at the nodes and ends of a criterion."""
    return weighted_squares.T @ np.asarray(criterion.mixing), weighted_squares.T @ np.asarray(criterion.end_mixing)
