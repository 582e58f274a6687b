"""Responses of a scan on one pattern of rows: their null optima, and what markers are multiplied with."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self

import jax
import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.inference import PROVEN, STATUS
from jaxlmm.scanning.kernels.criterion import Criterion
from jaxlmm.scanning.kernels.refit import Optimum
from jaxlmm.scanning.kernels.rotate import Rows, null_optima
from jaxlmm.scanning.kernels.statistics import solved

INTERIOR, BOUNDARY, NOT_IDENTIFIED, NOT_CONVERGED = (
    STATUS.index(word) for word in ("interior", "boundary", "not_identified", "not_converged")
)

PERFECT = 1e-12
"""A marker that leaves no larger share of the response explains all of it."""


class Null(NamedTuple):
    """Null optima of m responses by one criterion: ``ratio`` λ, ``value`` of the criterion, ``status`` (m,).

    ``squares`` (m,) are yᵀPy there, times ``1 + λ mean``, and ``mixing`` (r, m) the combinations of kept weights;
    ``limit`` (m,) says that it is the limit in which no residual is left, and the criterion falls without bound.
    """

    ratio: NumpyArray
    value: NumpyArray
    status: NumpyArray
    squares: NumpyArray
    mixing: NumpyArray
    limit: NumpyArray

    @property
    def proven(self) -> NumpyArray:
        """Which responses (m,) have an optimum, in the interior or at a boundary, or a limit."""
        return has_optimum(self.status)

    @property
    def finite(self) -> NumpyArray:
        """Which responses (m,) have an optimum at which the likelihood is finite."""
        return self.proven & ~self.limit


def has_optimum(status: NumpyArray) -> NumpyArray:
    """Return which status codes are those of an optimum."""
    return np.asarray(np.isin(status, PROVEN))


def judged(found: Optimum, related: bool) -> NumpyArray:
    """Return the status codes (s,) of what was found, arrays of the host.

    On the way to no residual there is a limit where levels are independent, with what is known between them. Where a
    matrix relates them, copies of a person would settle the heritability of all: that is no optimum. A marker that
    explains all of the response is at the boundary of no residual, whatever the ratio.
    """
    status = np.where(found.converged, np.where(found.at_end, BOUNDARY, INTERIOR), NOT_CONVERGED)
    status = np.where(found.flat, NOT_IDENTIFIED, status)
    a, b, squares = (np.asarray(part) for part in found.sums)
    if a.size:  # beside a marker
        status = np.where(solved(a, b)[2] > (1.0 - PERFECT) * squares, BOUNDARY, status)
    return np.where(found.falls, NOT_CONVERGED if related else BOUNDARY, status).astype(np.int8)


class Given(NamedTuple):
    """Null optima that are known already: ``ratio`` λ and ``status`` (m,)."""

    ratio: NumpyArray
    status: NumpyArray


@dataclasses.dataclass(frozen=True, eq=False)
class Traits:
    """m responses in the basis of ``rows``.

    ``rotated`` (n − p, m), and which of them vanish where M is zero, ``vanishes`` (m,);
    ``of_kept`` (r, m) are their squares with the kept weights; ``estimated`` and ``likely`` are
    the criteria of the estimates and ML; ``wald`` and ``likelihood`` the null optima by them.
    """

    rows: Rows
    rotated: NumpyArray
    vanishes: NumpyArray
    of_kept: NumpyArray
    estimated: Criterion
    likely: Criterion
    wald: Null
    likelihood: Null

    @classmethod
    def of(cls, rows: Rows, y: NumpyArray, *, reml: bool, ml: bool = True, given: Given | None = None) -> Self:
        """Rotate responses ``y`` (n, m) and find their null optima; without ``ml`` those by ML take no extra work.

        Of the criterion of the estimates, optima that are ``given`` are taken as they are.
        """
        basis, (rotated, vanishes) = rows.basis, rows.rotated(y)
        of_kept = basis.kept.T @ rotated**2
        estimated = likely = jax.device_put(Criterion.of(basis, reml=reml))

        def null(criterion: Criterion) -> Null:
            found = jax.tree.map(np.asarray, null_optima(criterion, *_squares(criterion, of_kept), vanishes))
            own, status, limit = np.exp(found.log_ratio), judged(found, rows.related), found.falls
            if given is not None and criterion is estimated:
                own, status = given
                limit = vanishes & np.isinf(own) & (np.asarray(criterion.n_zero) > 0)
            if rows.linear:
                own, status, limit = np.zeros(y.shape[1]), np.full(y.shape[1], INTERIOR), np.zeros(y.shape[1], bool)
            own = np.where(limit, np.inf, own)
            mixing = basis.mixing_at(own)
            return Null(own, found.value, status.astype(np.int8), np.sum(mixing * of_kept, axis=0), mixing, limit)

        wald = likelihood = null(estimated)
        if ml and reml:
            likely = jax.device_put(Criterion.of(basis, reml=False))
            likelihood = null(likely)
        return cls(rows, rotated, vanishes, of_kept, estimated, likely, wald, likelihood)

    def sigma(self, *, reml: bool) -> NumpyArray:
        """Return the residual's standard deviation (m,) at the null optima of the criterion of the estimates."""
        basis, null = self.rows.basis, self.wald
        with np.errstate(over="ignore"):
            squares = null.squares / (1.0 + null.ratio * basis.mean)
        return np.asarray(np.sqrt(squares / (basis.degrees if reml else basis.n)))

    def only(self, chosen: NumpyArray) -> Self:
        """Return some of the responses."""

        def part(null: Null) -> Null:
            return Null(*(values[..., chosen] for values in null))

        return dataclasses.replace(
            self,
            rotated=self.rotated[:, chosen],
            vanishes=self.vanishes[chosen],
            of_kept=self.of_kept[:, chosen],
            wald=part(self.wald),
            likelihood=part(self.likelihood),
        )

    def criterion(self, t: int, *, ml: bool) -> Criterion:
        """Return a criterion with the squares of response ``t``."""
        shared = self.likely if ml else self.estimated
        squares, ends = _squares(shared, self.of_kept[:, t])
        return shared.replace(squares=squares, end_squares=ends, vanishes=np.bool_(self.vanishes[t]))

    def refit_numerators(self, t: int) -> NumpyArray:
        """Return what a rotated marker is multiplied with at all kept weights for response ``t``, (r, n − p)."""
        return np.asarray((self.rows.basis.kept * self.rotated[:, [t]]).T)

    def fixed_numerators(self, *, ml: bool) -> NumpyArray:
        """Return what a rotated marker is multiplied with at each response's null, (m, n − p)."""
        null = self.likelihood if ml else self.wald
        return np.asarray((self.rotated * (self.rows.basis.kept @ null.mixing)).T)


def _squares(criterion: Criterion, of_kept: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Return yᵀPy (..., k) and (..., 2) at the nodes and ends of a criterion from squares (r, ...)."""
    return of_kept.T @ np.asarray(criterion.mixing), of_kept.T @ np.asarray(criterion.end_mixing)
