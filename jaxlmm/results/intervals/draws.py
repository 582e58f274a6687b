"""Draws of the parameters from their asymptotic distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jaxlmm.errors import DataError
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.rows import check_draws


def draws(fit: Fitted, n: int = 1000, *, seed: int = 0) -> pd.DataFrame:
    """Draw fixed effects and variance parameters from the normal distribution of the estimates.

    For those who propagate uncertainty through other computations. Variance parameters are drawn on the scales of their
    intervals (logarithms of standard deviations, Fisher's z of correlations) and independently of the fixed effects, as
    they are in large samples.

    Parameters
    ----------
    n, seed
        The number of draws, and the seed of NumPy's generator.

    Returns
    -------
    pandas.DataFrame
        Draws × parameters: the names of :meth:`fixef`, then those of :meth:`variance`. A parameter without a standard
        error (at a boundary, or fixed) keeps its value.

    Raises
    ------
    OptionError
        If ``n`` is not positive.
    DataError
        If the fit has no proven optimum.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> fit.draws(1000, seed=1).std().round(2).to_dict()["Days"]
    0.82
    """
    check_draws("n", n)
    estimates = fit.estimates
    if not estimates.proven:
        raise DataError(f"draws: expected a fit with a proven optimum, got one whose status is {fit.status}.")
    rng = np.random.default_rng(seed)
    vcov = np.where(np.isfinite(estimates.uncertainty.vcov), estimates.uncertainty.vcov, 0.0)
    beta = rng.multivariate_normal(estimates.beta, vcov, size=n, method="eigh")
    covariance, parameters = estimates.uncertainty.report_cov, estimates.labels.natural
    known = np.isfinite(np.diagonal(covariance)) & (np.diagonal(covariance) > 0) & np.isfinite(estimates.report)
    report = np.tile(estimates.report, (n, 1))
    if known.any():
        index = np.flatnonzero(known)
        scales = [parameters[i].bounded_scale for i in index]
        pairs = list(zip(scales, estimates.report[index], strict=True))
        slopes = np.array([scale.derivative(value) for scale, value in pairs])
        center = np.array([scale.forward(value) for scale, value in pairs])
        block = covariance[np.ix_(index, index)] * np.outer(slopes, slopes)
        drawn = rng.multivariate_normal(center, block, size=n, method="eigh")
        for column, (i, scale) in enumerate(zip(index, scales, strict=True)):
            report[:, i] = scale.inverse(drawn[:, column])
    names = [*estimates.labels.fixed_names, *estimates.labels.parameters]
    return pd.DataFrame(np.concatenate([beta, report], axis=1), columns=names)
