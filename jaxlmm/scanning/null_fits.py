"""Fits of a scan's responses without a marker: made when they are needed, or taken from earlier ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.api import run_many
from jaxlmm.errors import OptionError
from jaxlmm.inference import PROVEN
from jaxlmm.model import Natural
from jaxlmm.results import FitMany
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.kernels import Given, NullPoint
from jaxlmm.scanning.options import ScanOptions

SIGMA = 1e-4
"""Relative, of the residual's standard deviation that fits say and the scan's rows have at their variances."""


@dataclasses.dataclass(eq=False)
class NullFits:
    """Fits of all responses without a marker by the criterion asked for, and by ML.

    ``given`` are fits that were handed to the scan, and ``places`` (m,) where in them its responses stand.
    """

    laid: ScanData
    given: FitMany | None
    places: NumpyArray
    _made: dict[str, FitMany]

    @classmethod
    def of(cls, laid: ScanData, given: FitMany | None) -> Self:
        """Take fits that were given, once they are checked, or none."""
        places = np.arange(len(laid.read.names))
        made = {}
        if given is not None:
            places, made[laid.call.options.method] = checked(given, laid), given
        return cls(laid, given, places, made)

    def by(self, method: str) -> FitMany:
        """Return the fits by a criterion."""
        if method not in self._made:
            laid = self.laid
            data = laid.call.data
            rows = data.reset_index(drop=True) if isinstance(data, pd.DataFrame) else data
            frame = pd.DataFrame(laid.read.values[laid.matched.kept], columns=list(laid.read.names))
            call = dataclasses.replace(laid.call, data=rows).with_options(method=method)
            self._made[method] = run_many(call, frame, None, False)
        return self._made[method]

    def wanted(self) -> FitMany:
        """Return the fits by the criterion that was asked for."""
        return self.by(self.laid.call.options.method)

    def make(self, wanted: ScanOptions) -> None:
        """Fit what a scan by a solver needs."""
        if wanted.variances != "refit":
            self.by(self.laid.call.options.method)
        if wanted.by_likelihood:
            self.by("ML")

    def point(self, place: int, method: str) -> NullPoint | None:
        """Return the optimum of one response, if it was made."""
        if method not in self._made:
            return None
        found, place = self._made[method].estimates, self._place(place, method)
        bases = tuple(basis[place] for basis in found.bases)
        return NullPoint(found.theta[place], bases, float(found.deviance[place]), int(found.status[place]))

    def start(self, place: int) -> Natural | None:
        """Return where fits with a marker begin: at the optimum of a response without one, where it is in the interior.

        At a boundary a search finds better places, since the gradient vanishes there.
        """
        laid, method = self.laid, self.laid.call.options.method
        found = self.by(method).estimates
        place = self._place(place, method)
        if found.words[place] != "interior" or laid.call.options.fixed is not None:
            return None
        return Natural.split(laid.frame.labels.blocks, found.report[place])

    def ratios(self, places: NumpyArray) -> Given | None:
        """Return the variance ratios of some responses, if fits were given."""
        if self.given is None or not self.laid.frame.design.terms:
            return None
        found, mine = self.given.estimates, self.places[places]
        own, rest = found.report[mine].T
        with np.errstate(divide="ignore", invalid="ignore"):
            return Given((own / rest) ** 2, found.status[mine].astype(np.int8))

    def check_sigma(self, place: int, sigma: float) -> None:
        """Raise if a given fit has another residual standard deviation than the scan's rows at its variances."""
        if self.given is None or self.laid.call.options.fixed is not None:
            return
        number = self.places[place]
        if self.given.estimates.status[number] not in PROVEN:
            return
        found = float(self.given.estimates.sigma[number])
        if not np.isclose(sigma, found, rtol=SIGMA, atol=0.0) and found > 0.0:
            raise OptionError(
                f"null: the fit of {self.laid.read.names[place]!r} has a residual standard deviation of {found:.6g}, "
                f"and its variances give {sigma:.6g} on the rows of this scan: it is of other data, weights or "
                "matrices. Leave null= out."
            )

    def _place(self, place: int, method: str) -> int:
        return int(self.places[place]) if self._made[method] is self.given else place


def checked(null: Any, laid: ScanData) -> NumpyArray:
    """Return where the responses of a scan (m,) stand in fits that were given, if these are fits of them.

    Raises
    ------
    OptionError
        If they are of another model, criterion, rows or responses.
    """
    if not isinstance(null, FitMany):
        raise OptionError(
            f"null: expected what fit_many returned, or hits.null of an earlier scan, got {type(null).__name__}."
        )
    found, labels = null.estimates, laid.frame.labels
    if found.method != laid.call.options.method:
        method = laid.call.options.method
        raise OptionError(f"null: expected fits by {method}, as the scan is, got fits by {found.method}.")
    theirs, ours = found.labels, labels
    if set(theirs.fixed_names) != set(ours.fixed_names) or theirs.parameters != ours.parameters:
        raise OptionError(
            f"null: expected fits of '{laid.call.formula}' with parameters {_listed(ours.parameters)} and fixed "
            f"effects {_listed(ours.fixed_names)}, got '{theirs.formula}' with {_listed(theirs.parameters)} and "
            f"{_listed(theirs.fixed_names)}."
        )
    fixed = laid.fixed
    if not np.array_equal(found.given, np.full(len(ours.parameters), np.nan) if fixed is None else fixed.flat, True):
        raise OptionError(
            f"null: expected fits with the same parameters fixed, {laid.call.options.fixed or 'none'}, got others."
        )
    places = pd.Index(found.names).get_indexer(pd.Index(laid.read.names))
    if (places < 0).any():
        absent = [name for name, place in zip(laid.read.names, places, strict=True) if place < 0]
        raise OptionError(
            f"null: expected a fit of every response of the scan, got none of {_listed(absent)}; it has "
            f"{_listed(found.names)}."
        )
    n = np.isfinite(laid.y).sum(axis=0)
    other = np.flatnonzero(found.n[places] != n)
    if other.size:
        first = other[0]
        raise OptionError(
            f"null: expected a fit of {laid.read.names[first]!r} on the {n[first]} rows that have genotypes, got one "
            f"on {found.n[places[first]]}; fit those rows, or take hits.null of an earlier scan."
        )
    if null.origin is not None and null.origin.frame.used.sum() == len(laid.y):
        theirs_y = null.origin.y[null.origin.frame.used][:, places]
        unlike = np.flatnonzero(~((theirs_y == laid.y) | (np.isnan(theirs_y) & np.isnan(laid.y))).all(axis=0))
        if unlike.size:
            raise OptionError(
                f"null: expected fits of the same responses on the same rows, got other values of "
                f"{_listed([laid.read.names[place] for place in unlike])}."
            )
    return np.asarray(places)


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:3])
    return shown + (", …" if len(names) > 3 else "")
