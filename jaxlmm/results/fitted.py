"""A fit without its tables: estimates, scalars, and what it was made from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, on_host
from jaxlmm.engine import Solution, kenward_roger
from jaxlmm.errors import DataError
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import KenwardRoger, Rows
from jaxlmm.model import Design
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.many_estimates import ManyEstimates


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """A fit as its tables read it: ``estimates``, which a file holds, and the ``origin``, which a loaded fit lacks.

    Tables are functions of a ``Fitted``; its subclass :class:`jaxlmm.Fit`, which users get, has them as methods.
    """

    estimates: Estimates
    origin: Origin | None

    def __getstate__(self) -> dict[str, Any]:
        return {name: on_host(value) for name, value in self.__dict__.items()}

    # ---- scalars -------------------------------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """The formula as it was given."""
        return self.estimates.labels.formula

    @property
    def method(self) -> str:
        """``"REML"`` or ``"ML"``."""
        return self.estimates.method

    @property
    def n(self) -> int:
        """The number of rows used."""
        return self.estimates.n

    @property
    def n_groups(self) -> dict[str, int]:
        """The number of levels of each grouping factor."""
        return dict(self.estimates.n_groups)

    @property
    def n_dropped(self) -> int:
        """The number of rows left out because a used variable is missing."""
        return self.estimates.n_dropped

    @property
    def n_params(self) -> int:
        """The number of estimated parameters: fixed effects, theta and sigma, less those held at given values."""
        return self.estimates.beta.size + self.estimates.n_variance_params

    @property
    def df_residual(self) -> int:
        """Rows minus parameters."""
        return self.n - self.n_params

    @property
    def sigma(self) -> float:
        """The residual standard deviation (at weight 1, and where the columns of a model of dispersion are zero)."""
        return self.estimates.residual_sd

    @property
    def theta(self) -> Float[NumpyArray, " k"]:
        """The covariance parameters (k,), for ``us`` terms lme4's relative Cholesky factor, column by column.

        Those held at given values are included. With a model of dispersion its coefficients come last, and the others
        are relative to the geometric mean of the rows' residual standard deviations.
        """
        return self.estimates.theta.copy()

    @property
    def deviance(self) -> float:
        """−2 log-likelihood, or the REML criterion."""
        return self.estimates.deviance

    @property
    def loglik(self) -> float:
        """The (restricted) log-likelihood."""
        return -0.5 * self.deviance

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return self.deviance + 2.0 * self.n_params

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the logarithm of the number of rows."""
        return self.deviance + float(np.log(self.n)) * self.n_params

    @property
    def solver(self) -> str:
        """The solver's name."""
        return self.estimates.solver

    @property
    def solver_reason(self) -> str:
        """Why this solver was used."""
        return self.estimates.solver_reason

    @property
    def device(self) -> str:
        """The device on which the fit was computed."""
        return self.estimates.device

    @property
    def seconds(self) -> float:
        """How long the fit took, in seconds."""
        return self.estimates.seconds

    @property
    def status(self) -> str:
        """``interior``, ``boundary``, ``not_identified``, ``not_converged`` or ``failed``."""
        return self.estimates.verdict.status

    @property
    def is_singular(self) -> bool:
        """Whether a covariance matrix of random effects is singular at the optimum."""
        return self.estimates.is_singular

    @functools.cached_property
    def certificate(self) -> Certificate:
        """The evidence for the optimum."""
        return Certificate.of(self.estimates.verdict)

    @functools.cached_property
    def kenward_roger(self) -> KenwardRoger | None:
        """Kenward and Roger's covariance of the fixed effects; None where the engine has none."""
        solution, uncertainty = self._made_from.solution, self.estimates.uncertainty
        optima, natural = solution.optima, self.estimates.labels.natural
        p, psi_cov = self.estimates.beta.size, uncertainty.psi_cov[None]
        return kenward_roger(solution.with_matrices(), optima.theta, optima.bases, psi_cov, p, natural)[0]

    # ---- what it was made from -----------------------------------------------------------------------------------

    @property
    def frame(self) -> ModelFrame:
        """The rows: response, columns, index, weights, offset."""
        return self._made_from.frame

    @property
    def design(self) -> Design:
        """The design: a pytree that :func:`jaxlmm.deviance` and :func:`jaxlmm.loglik` take."""
        return self._made_from.frame.design

    @property
    def solution(self) -> Solution:
        """The optimum as the engine found it."""
        return self._made_from.solution

    @property
    def by_row(self) -> Rows:
        """Modes and fitted values at the optimum, as arrays."""
        return self._made_from.rows

    @property
    def call(self) -> Call[Any]:
        """The formula, data and options."""
        return self._made_from.call

    @property
    def _made_from(self) -> Origin:
        """The origin; raises for a loaded fit."""
        if self.origin is None:
            raise DataError(
                "this fit was loaded from a file, which holds its estimates and no rows; fitted values, residuals, "
                "the matrices X, Z and V, the design, refit and update need the data. Fit again where they are, "
                f"lmm.fit({self.formula!r}, data, method={self.method!r}, ...), or give other data to "
                "predict(newdata)."
            )
        return self.origin


F = TypeVar("F", bound=Fitted)


@runtime_checkable
class Call(Protocol[F]):
    """Formula, data and options of a fit, with which it can be repeated or changed.

    A fit cannot import the verb that made it, because imports only go down; the verb hands in this object.
    """

    @property
    def data(self) -> Any:
        """The data, as they were given."""
        ...

    def refit(self, fit: F, y: Any) -> F:
        """Fit the model of ``fit`` to another response on its design."""
        ...

    def refit_many(self, fit: F, y: Float[NumpyArray, "n m"], executor: Any = None) -> ManyEstimates:
        """Fit the model of ``fit`` to many responses on its rows, by the workers of an executor if there is one."""
        ...

    def update(self, fit: F, formula: str | None, data: Any, options: Mapping[str, Any]) -> F:
        """Fit with another formula, other data or other options; what is None or absent stays."""
        ...


class Origin(NamedTuple):
    """The rows, solution and call of a fit, which no file holds."""

    frame: ModelFrame
    solution: Solution
    rows: Rows
    call: Call[Any]
