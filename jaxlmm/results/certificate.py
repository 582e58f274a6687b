"""The certificate of a fit, by the user's own parameter names."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from jaxlmm.inference import Verdict


class Certificate(NamedTuple):
    """The evidence for an optimum: status, gradient, smallest eigenvalue of the Hessian, multipliers, ridge.

    Attributes
    ----------
    status
        ``interior``, ``boundary``, ``not_identified``, ``not_converged`` or ``failed``.
    gradient
        The largest absolute entry of the deviance's gradient in theta.
    min_eigenvalue
        The smallest eigenvalue of the Hessian in relative changes of the parameters that are not at a boundary.
    multipliers
        For what is held at a boundary, the rate at which the deviance rises with the variance that is let in, averaged
        over the rows, in units of the residual variance (for a covariance matrix the smallest eigenvalue); with the
        standard deviation where a correlation with it is fixed off zero, since the deviance has a slope in it. Where a
        standard deviation is fixed, units are those of the residual of least squares. Positive at an optimum.
    ridge
        Where parameters are not identified, the direction in which they move together at no cost; otherwise empty.
    help
        What the status means and what to do.
    """

    status: str
    gradient: float
    min_eigenvalue: float
    multipliers: pd.Series
    ridge: pd.Series
    help: str

    @classmethod
    def of(cls, verdict: Verdict) -> Certificate:
        """Return the certificate of a verdict, with series for its dicts."""
        return cls(
            verdict.status,
            verdict.gradient,
            verdict.min_eigenvalue,
            pd.Series(verdict.multipliers, dtype=float, name="multiplier"),
            pd.Series(verdict.ridge, dtype=float, name="weight"),
            verdict.help,
        )
