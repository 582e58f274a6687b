"""The result of one fit: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.engine import Solution
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import Examination, Uncertainty, Verdict
from jaxlmm.model import Design
from jaxlmm.results import again, broom, effects, fixed, matrices, printed, record, rows, shares
from jaxlmm.results.certificate import Certificate
from jaxlmm.solvers import Choice


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted linear mixed model. Made by :func:`jaxlmm.fit`; nothing in it changes.

    Its scalars are properties. Its tables are methods, and each is a plain function of a fit in a module beside this
    one: the list at the end of the class is the table of contents.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.status, round(fit.deviance, 2)
    ('interior', 1743.63)
    >>> fit.fixef().round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """

    frame: ModelFrame
    solution: Solution
    examination: Examination
    verdict: Verdict
    uncertainty: Uncertainty
    choice: Choice
    call: again.Call
    seconds: float
    device: str

    def __repr__(self) -> str:
        return f"<jaxlmm Fit: {self.formula} by {self.method}, {self.status}, deviance {self.deviance:.4f}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # ---- scalars -------------------------------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """The formula as it was given."""
        return self.frame.formula

    @property
    def method(self) -> str:
        """``"REML"`` or ``"ML"``."""
        return self.call.method

    @property
    def design(self) -> Design:
        """The design: a pytree that :func:`jaxlmm.deviance` and :func:`jaxlmm.loglik` take."""
        return self.frame.design

    @property
    def n(self) -> int:
        """The number of rows used."""
        return len(self.frame.index)

    @property
    def n_groups(self) -> dict[str, int]:
        """The number of levels of each grouping factor."""
        return {name: len(level.labels) for name, level in self.frame.levels.items()}

    @property
    def n_dropped(self) -> int:
        """The number of rows left out because a used variable is missing."""
        return self.frame.n_dropped

    @property
    def n_params(self) -> int:
        """The number of parameters: fixed effects, theta and sigma."""
        return len(self.frame.fixed_names) + self.theta.size + 1

    @property
    def df_residual(self) -> int:
        """Rows minus parameters."""
        return self.n - self.n_params

    @property
    def sigma(self) -> float:
        """The residual standard deviation (at weight 1)."""
        return float(self.examination.sigma)

    @functools.cached_property
    def theta(self) -> NumpyArray:
        """The covariance parameters (k,), for ``us`` terms lme4's relative Cholesky factor, column by column."""
        solution, parts = self.solution, []
        places = solution.likelihood.layout.slices()
        for term, frame, place in zip(self.design.terms, solution.frames, places, strict=False):
            parts.append(term.structure.canonical(solution.theta[place], frame))
        if self.design.residual is not None:
            parts.append(solution.theta[places[-1]])
        return np.concatenate([np.zeros(0), *parts])

    @property
    def deviance(self) -> float:
        """−2 log-likelihood, or the REML criterion."""
        return float(self.solution.minimum.value)

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
        return self.choice.name

    @property
    def solver_reason(self) -> str:
        """Why this solver was used."""
        return self.choice.reason

    @property
    def status(self) -> str:
        """``interior``, ``boundary``, ``not_identified``, ``not_converged`` or ``failed``."""
        return self.verdict.status

    @property
    def is_singular(self) -> bool:
        """Whether a covariance matrix of random effects is singular at the optimum."""
        return not bool(self.solution.free.all())

    @functools.cached_property
    def certificate(self) -> Certificate:
        """What is proven about the optimum."""
        return Certificate.of(self.verdict)

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

    model_matrix = matrices.model_matrix
    random_matrix = matrices.random_matrix
    marginal_cov = matrices.marginal_cov

    summary = printed.summary
    tidy = broom.tidy
    glance = broom.glance
    save = record.save

    refit = again.refit
    update = again.update
