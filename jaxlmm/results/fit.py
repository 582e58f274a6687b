"""The result of one fit: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray, on_host
from jaxlmm.engine import Solution
from jaxlmm.errors import DataError
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import Rows
from jaxlmm.model import Design
from jaxlmm.results import refit as again
from jaxlmm.results import serialize as record
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.foreign import FIT, answering
from jaxlmm.results.rows import fitted as rows
from jaxlmm.results.rows import matrices
from jaxlmm.results.rows import predict as predicted
from jaxlmm.results.summary import summary as printed
from jaxlmm.results.tables import fixed, noted, shares
from jaxlmm.results.tables import random as effects
from jaxlmm.results.tables import tidy as broom


class Origin(NamedTuple):
    """What a fit was made from and by: rows, compiled solvers, the call. No file holds it."""

    frame: ModelFrame
    solution: Solution
    rows: Rows
    call: again.Call


@answering("fit", FIT)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted linear mixed model. Made by :func:`jaxlmm.fit` or :func:`jaxlmm.load`; nothing in it changes.

    Its scalars are properties. Its tables are methods, and each is a plain function of a fit in a module beside this
    one: the list at the end of the class is the table of contents. What needs no row reads ``estimates``, which a
    file holds; what needs rows reads the ``origin``, which a loaded fit lacks, and then raises a ``DataError``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.status, round(fit.deviance, 2)
    ('interior', 1743.63)
    >>> fit.fixef().round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """

    estimates: Estimates
    origin: Origin | None

    def __getstate__(self) -> dict[str, Any]:
        return {name: on_host(value) for name, value in self.__dict__.items()}

    def __repr__(self) -> str:
        said = noted(self.estimates.notes)
        return f"<jaxlmm Fit: {self.formula} by {self.method}, {self.status}, deviance {self.deviance:.4f}{said}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

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
        """The number of parameters that are estimated: fixed effects, theta and sigma but for what is fixed."""
        return self.estimates.beta.size + len(self.estimates.uncertainty.psi_cov)

    @property
    def df_residual(self) -> int:
        """Rows minus parameters."""
        return self.n - self.n_params

    @property
    def sigma(self) -> float:
        """The residual standard deviation (at weight 1)."""
        return self.estimates.residual_sd

    @property
    def theta(self) -> NumpyArray:
        """The covariance parameters (k,), for ``us`` terms lme4's relative Cholesky factor, column by column.

        Fixed ones are among them.
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
        """The device on which it was computed."""
        return self.estimates.device

    @property
    def seconds(self) -> float:
        """How long it took."""
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
        """What is proven about the optimum."""
        return Certificate.of(self.estimates.verdict)

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
        """What the optimum says of levels and rows, as arrays."""
        return self._made_from.rows

    @property
    def call(self) -> again.Call:
        """What was asked for."""
        return self._made_from.call

    @property
    def _made_from(self) -> Origin:
        if self.origin is None:
            raise DataError(
                "this fit was loaded from a file, which holds its estimates and no rows; fitted values, residuals, "
                "the matrices X, Z and V, the design, refit and update need the data. Fit again where they are, "
                f"lmm.fit({self.formula!r}, data, method={self.method!r}, ...), or give other data to "
                "predict(newdata)."
            )
        return self.origin

    # ---- tables and rows: functions of a fit ---------------------------------------------------------------------

    fixef = fixed.fixef
    vcov = fixed.vcov
    coef = fixed.coef

    variance = effects.variance
    ranef = effects.ranef
    ranef_sd = effects.ranef_sd
    coef_by = effects.coef_by

    ratio = shares.ratio
    pve = shares.pve
    delta = shares.delta

    fitted = rows.fitted
    residuals = rows.residuals
    predict = predicted.predict

    model_matrix = matrices.model_matrix
    random_matrix = matrices.random_matrix
    marginal_cov = matrices.marginal_cov

    summary = printed.summary
    tidy = broom.tidy
    glance = broom.glance
    save = record.save

    refit = again.refit
    update = again.update
