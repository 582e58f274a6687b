"""The result of one fit: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.engine import Solution
from jaxlmm.errors import OptionError, choose, nearest
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import Examination, Uncertainty, Verdict
from jaxlmm.model import Design
from jaxlmm.results import rows, shares, tidy
from jaxlmm.results.certificate import Certificate
from jaxlmm.results.record import record
from jaxlmm.results.tables import intervals, t_table
from jaxlmm.results.text import Summary, summarise
from jaxlmm.solvers import Choice


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A fitted linear mixed model. Made by :func:`jaxlmm.fit`; nothing in it changes.

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
    method: str
    seconds: float
    device: str

    def __repr__(self) -> str:
        return f"<jaxlmm Fit: {self.formula} by {self.method}, {self.status}, deviance {self.deviance:.4f}>"

    # ---- scalars -------------------------------------------------------------------------------------------------

    @property
    def formula(self) -> str:
        """The formula as it was given."""
        return self.frame.formula

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

    # ---- fixed effects -------------------------------------------------------------------------------------------

    def fixef(self) -> pd.Series:
        """Return the fixed effects by term."""
        return pd.Series(np.array(self.examination.beta), index=list(self.frame.fixed_names), name="estimate")

    def vcov(self, kind: str = "model") -> pd.DataFrame:
        """Return the covariance matrix of the fixed effects; ``kind`` is ``"model"``."""
        choose("kind", kind, ("model",))
        names = list(self.frame.fixed_names)
        return pd.DataFrame(self.uncertainty.vcov, index=names, columns=names)

    def coef(self, df: str = "satterthwaite", *, level: float = 0.95) -> pd.DataFrame:
        """Return the table of fixed effects, index ``term``.

        Parameters
        ----------
        df
            ``"satterthwaite"`` degrees of freedom, or ``"normal"`` for z tests.
        level
            The confidence level.

        Returns
        -------
        pandas.DataFrame
            ``estimate std_error df statistic p_value conf_low conf_high``; a column that the others determine has NaN.
        """
        choose("df", df, ("satterthwaite", "normal"))
        names = list(self.frame.fixed_names)
        count = np.full(len(names), np.inf)
        if df == "satterthwaite":
            count = self.uncertainty.satterthwaite(np.eye(len(names)))
        estimate = np.asarray(self.examination.beta)
        table = t_table(names, estimate, np.sqrt(np.diag(self.uncertainty.vcov)), count, level)
        return table.reindex(pd.Index(self.frame.column_names, name="term"))

    # ---- random effects ------------------------------------------------------------------------------------------

    def variance(self, scale: str = "sd") -> pd.DataFrame:
        """Return the variance parameters, index ``parameter``.

        Parameters
        ----------
        scale
            ``"sd"``: standard deviations in response units, and correlations; ``"variance"``: squared ones.

        Returns
        -------
        pandas.DataFrame
            ``group estimate std_error conf_low conf_high at_boundary fixed``. Standard errors come from the exact
            Hessian; a parameter at a boundary or on a ridge has none.
        """
        choose("scale", scale, ("sd", "variance"))
        names = list(self.frame.parameters)
        estimate = np.array(self.examination.values.report)
        with np.errstate(invalid="ignore"):
            std_error = np.sqrt(np.diag(self.uncertainty.report_cov))
        if scale == "variance":
            is_sd = np.array([name.split(": ")[-1].startswith("sd") for name in names])
            std_error = np.where(is_sd, 2.0 * estimate * std_error, std_error)
            estimate = np.where(is_sd, estimate**2, estimate)
            names = [name.replace(": sd", ": var", 1) for name in names]
        low, high = intervals(names, estimate, std_error)
        table = {
            "group": [name.split(": ")[0] for name in names],
            "estimate": estimate,
            "std_error": std_error,
            "conf_low": low,
            "conf_high": high,
            "at_boundary": self.verdict.at_boundary,
            "fixed": False,
        }
        return pd.DataFrame(table, index=pd.Index(names, name="parameter"))

    def ranef(self, group: str | None = None) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """Return the conditional modes, levels × columns of all terms of ``group``; a dict for all groups without."""
        return self._by_group(self.examination.modes, group)

    def ranef_sd(self, group: str | None = None) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """Return the conditional standard deviations of the modes given theta and beta, in the shape of ``ranef``."""
        return self._by_group(self.examination.mode_sds, group)

    def _by_group(self, arrays: tuple, group: str | None) -> pd.DataFrame | dict[str, pd.DataFrame]:
        grouped = dict.fromkeys(term.group for term in self.frame.terms)
        if group is None:
            return {name: self._one_group(arrays, name) for name in grouped}
        if group not in grouped:
            raise OptionError(f"group: no random term is grouped by {group!r}; {nearest(group, grouped)}.")
        return self._one_group(arrays, group)

    def _one_group(self, arrays: tuple, group: str) -> pd.DataFrame:
        labels = self.frame.levels[group].labels
        parts = [
            pd.DataFrame(np.array(array)[: len(labels)], index=labels, columns=list(term.columns))
            for term, array in zip(self.frame.terms, arrays, strict=True)
            if term.group == group
        ]
        return pd.concat(parts, axis=1).rename_axis(index=group)

    # ---- shares of variance --------------------------------------------------------------------------------------

    def ratio(self, group: str) -> pd.Series:
        """Return the share of ``group`` in all random variance plus residual (an ICC, a heritability).

        Variances are averaged over the rows. Returns ``estimate std_error conf_low conf_high``.
        """
        return shares.ratio(self, group)

    def pve(self) -> pd.DataFrame:
        """Return the shares of the fixed part, each group and the residual in the total variance; they sum to 1."""
        return shares.pve(self)

    def delta(self, f: Callable[[Mapping[str, float]], float]) -> pd.Series:
        """Return a function of the variance parameters with its standard error by the delta method.

        Parameters
        ----------
        f
            Takes a dict from parameter name (as in :meth:`variance`, standard deviations and correlations) to value
            and returns a number, in arithmetic or ``jax.numpy``.

        Returns
        -------
        pandas.Series
            ``estimate std_error conf_low conf_high``; the interval is Wald's on the function's own scale.

        Examples
        --------
        >>> import jaxlmm as lmm
        >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
        >>> f = lambda v: v["Subject: sd(Intercept)"] ** 2 / v["Residual: sd"] ** 2
        >>> fit.delta(f).round(3).to_dict()
        {'estimate': 1.435, 'std_error': 0.554, 'conf_low': 0.35, 'conf_high': 2.52}
        """
        return shares.delta(self, f)

    # ---- rows ----------------------------------------------------------------------------------------------------

    def fitted(self, level: str = "conditional") -> pd.Series:
        """Return fitted values on the data's index: with the random effects' modes, or ``"marginal"`` without."""
        return rows.fitted(self, level)

    def residuals(self, type: str = "response", level: str = "conditional") -> pd.Series:
        """Return residuals on the data's index.

        Parameters
        ----------
        type
            ``"response"``: observed minus fitted; ``"pearson"``: in units of each row's residual standard deviation;
            ``"normalized"``: pearson, and decorrelated by the residual structure's Cholesky factor.
        level
            Of the fitted values.
        """
        return rows.residuals(self, type, level)

    # ---- tables --------------------------------------------------------------------------------------------------

    def tidy(self, effects: str = "fixed", *, df: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
        """Return one table in the manner of broom.mixed.

        Parameters
        ----------
        effects
            ``"fixed"``, ``"ran_pars"`` (variance parameters), ``"ran_vals"`` (modes), or ``"all"`` of them with a
            first column ``effect``.
        df, level
            As in :meth:`coef`.
        """
        return tidy.tidy(self, effects, df, level)

    def glance(self) -> pd.DataFrame:
        """Return one row of scalars."""
        return tidy.glance(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fit's tables and scalars as JSON; what is not a finite number becomes null."""
        Path(path).write_text(json.dumps(record(self), indent=1, allow_nan=False) + "\n")

    def summary(self, df: str = "satterthwaite") -> Summary:
        """Return the printed account of the fit; ``print`` it. ``df`` as in :meth:`coef`."""
        return summarise(self, df)
