"""Many fits without their tables: estimates, responses, and what they were made from."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, double_precision
from jaxlmm.engine import kenward_roger, prepared_anew
from jaxlmm.errors import DataError
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import KenwardRoger
from jaxlmm.model import Natural
from jaxlmm.results.fit import Fit
from jaxlmm.results.many_estimates import ManyEstimates
from jaxlmm.solvers import AbstractSolver, with_matrices


@runtime_checkable
class ManyCall(Protocol):
    """Formula, data and options of ``fit_many``, with which one of the responses can be fitted alone."""

    def single(self, name: str, y: Float[NumpyArray, " _"]) -> Fit:
        """Fit one response, on the rows of the data, by ``fit``."""
        ...

    @property
    def data(self) -> Any:
        """The data, as they were given."""
        ...

    def again(
        self, names: tuple[str, ...], y: Float[NumpyArray, "_ m"], formula: str | None, method: str
    ) -> FittedMany:
        """Fit the responses by another formula (one with a dot too), or None for the same, and by a method."""
        ...


class ManyOrigin(NamedTuple):
    """The rows that are used, the responses ``y`` on all rows of the data, solver and call; no file holds them."""

    frame: ModelFrame
    y: Float[NumpyArray, "_ m"]
    solver: type[AbstractSolver]
    call: ManyCall


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedMany:
    """Many fits as their tables read them; objects are :class:`jaxlmm.FitMany`, which has the tables as methods."""

    estimates: ManyEstimates
    origin: ManyOrigin | None

    def __len__(self) -> int:
        return len(self.estimates.names)

    @property
    def responses(self) -> tuple[str, ...]:
        """The names of the responses."""
        return self.estimates.names

    @property
    def status(self) -> pd.Series:
        """The status of each response."""
        return pd.Series(self.estimates.words, index=pd.Index(self.responses, name="response"), name="status")

    @property
    def frame(self) -> ModelFrame:
        """The rows: columns, index, weights, offset."""
        return self._made_from.frame

    @property
    def y(self) -> pd.DataFrame:
        """The responses on the rows that are used, rows × responses."""
        return pd.DataFrame(
            self._made_from.y[self.frame.used],
            index=self.frame.index,
            columns=pd.Index(self.responses, name="response"),
        )

    @property
    def call(self) -> ManyCall:
        """The formula, data and options."""
        return self._made_from.call

    @property
    def values(self) -> Float[NumpyArray, "_ m"]:
        """The responses on all rows of the data."""
        return self._made_from.y

    @property
    def solver_class(self) -> type[AbstractSolver]:
        """The solver's class."""
        return self._made_from.solver

    @functools.cached_property
    def kenward_roger(self) -> list[KenwardRoger | None]:
        """Kenward and Roger's covariance of each response's coefficients; None where there is none, or no optimum."""
        estimates, frame = self.estimates, self.frame
        solver = with_matrices(self.solver_class, frame.design)
        wanted = np.flatnonzero(estimates.proven & np.isfinite(estimates.deviance))
        found: list[KenwardRoger | None] = [None] * len(self)
        natural, fixed = estimates.labels.natural, Natural.split(estimates.labels.blocks, estimates.given)
        y = self._made_from.y[frame.used][:, wanted]
        with double_precision():
            for index, problems, columns in prepared_anew(
                frame.design, y, solver=solver, method=estimates.method, fixed=fixed
            ):
                own = wanted[index]
                theta, bases = estimates.theta[own], tuple(basis[own] for basis in estimates.bases)
                psi_cov = estimates.uncertainty.psi_cov[own]
                made = kenward_roger(problems, theta, bases, psi_cov, columns.size, natural)
                for number, one in zip(own, made, strict=True):
                    found[number] = one
        return found

    @property
    def _made_from(self) -> ManyOrigin:
        if self.origin is None:
            raise DataError(
                "these fits were loaded from a file, which holds no rows: expected fits by fit_many. Fit again, or use "
                "tables: tidy, variance, glance, anova, test, confint, ratio, pve, failed."
            )
        return self.origin
