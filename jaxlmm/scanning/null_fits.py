"""Null fits of a scan: its responses without a marker, fitted on first use or given by the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray
from jaxlmm.api import run_many
from jaxlmm.errors import OptionError
from jaxlmm.inference import PROVEN
from jaxlmm.model import Natural
from jaxlmm.results import FitMany
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.kernels import Given, NullPoint
from jaxlmm.scanning.options import ScanOptions

SIGMA_TOLERANCE = 1e-4
"""Largest relative difference of the residual standard deviation of a given fit from that of the scan's rows."""


@dataclasses.dataclass(eq=False)
class NullFits:
    """Fits of all responses without a marker, by the criterion of the scan and by ML.

    ``given`` are fits that the user handed to the scan; ``index_in_given`` is the index in them of each response.
    """

    data: ScanData
    given: FitMany | None
    index_in_given: Int[NumpyArray, " m"]
    _by_method: dict[str, FitMany]

    @classmethod
    def of(cls, data: ScanData, given: FitMany | None) -> Self:
        """Take fits that were given, once they are checked, or None; fits by other criteria are made on first use."""
        if given is None:
            return cls(data, None, np.arange(len(data.responses.names)), {})
        return cls(data, given, checked(given, data), {data.call.options.criterion: given})

    def by(self, method: str) -> FitMany:
        """Return the fits by a criterion."""
        if method not in self._by_method:
            data = self.data
            table = data.call.data
            rows = table.reset_index(drop=True) if isinstance(table, pd.DataFrame) else table
            responses = pd.DataFrame(data.responses.values[data.matched.kept], columns=list(data.responses.names))
            call = dataclasses.replace(data.call, data=rows).with_options(method=method)
            self._by_method[method] = run_many(call, responses, None, False)
        return self._by_method[method]

    def requested(self) -> FitMany:
        """Return the fits by the criterion of the scan."""
        return self.by(self.data.call.options.criterion)

    def make(self, options: ScanOptions) -> None:
        """Make the fits that a scan by a solver needs."""
        if options.variances != "refit":
            self.requested()
        if options.by_likelihood:
            self.by("ML")

    def point(self, response: int, method: str) -> NullPoint | None:
        """Return the null optimum of one response by a criterion; None if no fits by it were made."""
        if method not in self._by_method:
            return None
        estimates, index = self._by_method[method].estimates, self._index(response, method)
        bases = tuple(basis[index] for basis in estimates.bases)
        return NullPoint(estimates.theta[index], bases, float(estimates.deviance[index]), int(estimates.status[index]))

    def start(self, response: int) -> Natural | None:
        """Return the start of fits with a marker: the optimum of a response without one, where it is in the interior.

        At a boundary the gradient vanishes, and a search finds better starts.
        """
        data, method = self.data, self.data.call.options.criterion
        estimates, index = self.by(method).estimates, self._index(response, method)
        if estimates.words[index] != "interior" or data.call.options.fixed is not None:
            return None
        return Natural.split(data.frame.labels.blocks, estimates.report[index])

    def ratios(self, responses: Int[NumpyArray, " m"]) -> Given | None:
        """Return the variance ratios of some responses by the fits that were given, if any were."""
        if self.given is None or not self.data.frame.design.terms:
            return None
        estimates, index = self.given.estimates, self.index_in_given[responses]
        term_sd, residual_sd = estimates.report[index].T
        with np.errstate(divide="ignore", invalid="ignore"):
            return Given((term_sd / residual_sd) ** 2, estimates.status[index].astype(np.int8))

    def check_sigma(self, response: int, sigma: float) -> None:
        """Raise if a given fit has another residual standard deviation than the scan's rows at its variances."""
        if self.given is None or self.data.call.options.fixed is not None:
            return
        index = self.index_in_given[response]
        if self.given.estimates.status[index] not in PROVEN:
            return
        given_sigma = float(self.given.estimates.sigma[index])
        if not np.isclose(sigma, given_sigma, rtol=SIGMA_TOLERANCE, atol=0.0) and given_sigma > 0.0:
            name = self.data.responses.names[response]
            raise OptionError(
                f"null: the fit of {name!r} has a residual standard deviation of {given_sigma:.6g}, "
                f"and its variances give {sigma:.6g} on the rows of this scan: it is of other data, weights or "
                "matrices. Leave null= out."
            )

    def _index(self, response: int, method: str) -> int:
        """Return the index of a response in the fits by a criterion."""
        return int(self.index_in_given[response]) if self._by_method[method] is self.given else response


def are_fits(null: Any) -> FitMany:
    """Return what a user gave as fits without a marker.

    Raises
    ------
    OptionError
        If it is something else.
    """
    if isinstance(null, FitMany):
        return null
    raise OptionError(
        f"null: expected what fit_many returned, or hits.null of an earlier scan, got {type(null).__name__}."
    )


def checked(null: FitMany, data: ScanData) -> Int[NumpyArray, " m"]:
    """Return the index of each response of a scan in given fits, if these are fits of its model, rows and responses.

    Raises
    ------
    OptionError
        If they are of another model, criterion, rows or responses.
    """
    given, labels, method = null.estimates, data.frame.labels, data.call.options.criterion
    if given.method != method:
        raise OptionError(f"null: expected fits by {method}, as the scan is, got fits by {given.method}.")
    if set(given.labels.fixed_names) != set(labels.fixed_names) or given.labels.parameters != labels.parameters:
        raise OptionError(
            f"null: expected fits of '{data.call.formula}' with parameters {_listed(labels.parameters)} and fixed "
            f"effects {_listed(labels.fixed_names)}, got '{given.labels.formula}' with "
            f"{_listed(given.labels.parameters)} and {_listed(given.labels.fixed_names)}."
        )
    fixed = data.fixed
    fixed_values = np.full(len(labels.parameters), np.nan) if fixed is None else fixed.given
    if not np.array_equal(given.given, fixed_values, True):
        raise OptionError(
            f"null: expected fits with the same parameters fixed, {data.call.options.fixed or 'none'}, got others."
        )
    names = data.responses.names
    index = pd.Index(given.names).get_indexer(pd.Index(names))
    if (index < 0).any():
        absent = [name for name, at in zip(names, index, strict=True) if at < 0]
        raise OptionError(
            f"null: expected a fit of every response of the scan, got none of {_listed(absent)}; it has "
            f"{_listed(given.names)}."
        )
    n = np.isfinite(data.y).sum(axis=0)
    other_n = np.flatnonzero(given.n[index] != n)
    if other_n.size:
        first = other_n[0]
        raise OptionError(
            f"null: expected a fit of {names[first]!r} on the {n[first]} rows that have genotypes, got one "
            f"on {given.n[index[first]]}; fit those rows, or take hits.null of an earlier scan."
        )
    if null.origin is not None and null.origin.frame.used.sum() == len(data.y):
        given_y = null.origin.y[null.origin.frame.used][:, index]
        unlike = np.flatnonzero(~((given_y == data.y) | (np.isnan(given_y) & np.isnan(data.y))).all(axis=0))
        if unlike.size:
            raise OptionError(
                f"null: expected fits of the same responses on the same rows, got other values of "
                f"{_listed([names[response] for response in unlike])}."
            )
    return np.asarray(index)


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:3])
    return shown + (", …" if len(names) > 3 else "")
