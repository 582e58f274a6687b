"""Responses drawn from a model at given parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jaxlmm._util import as_table, in_double_precision
from jaxlmm.api.names import named_options
from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.errors import OptionError
from jaxlmm.formula import ModelOptions, build_frame, parse
from jaxlmm.model import Layout
from jaxlmm.results import check_draws, drawn, factors_of


@named_options
@in_double_precision
def simulate(
    formula: str,
    data: Any,
    *,
    beta: Any,
    theta: Any,
    sigma: float,
    nsim: int = 1,
    seed: int = 0,
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    kinship: Mapping[str, Any] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | Along | None = None,
    dispersion: str | None = None,
) -> pd.DataFrame:
    """Draw responses from a linear mixed model at given parameters; those of a family are drawn by ``fit.simulate``.

    Parameters
    ----------
    formula, data
        The model, as in :func:`jaxlmm.fit`; a left side only decides which rows are complete.
    beta
        A number for each column of X, in their order; or a mapping of all their names to numbers.
    theta
        The covariance parameters in the order of ``fit.theta``: for ``us`` terms the lower triangle of lme4's relative
        factor, column by column.
    sigma
        The residual standard deviation, in units of the response.
    nsim, seed
        The number of responses, and the seed of NumPy's generator.
    weights, offset, kinship, covariance, residual, dispersion
        As in :func:`jaxlmm.fit`.

    Returns
    -------
    pandas.DataFrame
        Rows × draws, columns 0, 1, …, on the data's index.

    Raises
    ------
    OptionError
        If there are not as many numbers as parameters, ``sigma`` or ``nsim`` is not positive, or there is no such
        option.
    FormulaError, DataError, KinshipError
        As :func:`jaxlmm.fit` does.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> y = lmm.simulate("~ Days + (1 | Subject)", sleep, beta=[250.0, 10.0], theta=[1.2], sigma=30.0, nsim=2)
    >>> y.shape
    (180, 2)
    """
    check_draws("nsim", nsim)
    options = ModelOptions(
        weights=weights, offset=offset, kinship=kinship, covariance=covariance, residual=residual,
        dispersion=dispersion,
    )  # fmt: skip
    frame = build_frame(parse(formula, as_table(data).columns), data, options, known_residual=True)
    names, layout = frame.labels.fixed_names, Layout.of(frame.design)
    if isinstance(beta, Mapping):
        if set(beta) != set(names):
            raise OptionError(
                f"beta: expected a number for each of {', '.join(names)}, got {', '.join(map(str, beta))}."
            )
        beta = [beta[name] for name in names]
    coefficients, parameters = np.atleast_1d(np.asarray(beta, float)), np.atleast_1d(np.asarray(theta, float))
    if coefficients.shape != (len(names),) or not np.isfinite(coefficients).all():
        raise OptionError(f"beta: expected {len(names)} numbers, for {', '.join(names)}, got {beta!r}.")
    if parameters.size != layout.n_theta or not np.isfinite(parameters).all():
        raise OptionError(f"theta: expected {layout.n_theta} numbers in the order of fit.theta, got {theta!r}.")
    if isinstance(sigma, bool) or not isinstance(sigma, (int, float, np.number)) or not 0.0 < float(sigma) < np.inf:
        raise OptionError(f"sigma: expected a positive number, got {sigma!r}.")
    factors = factors_of(frame.design, parameters.reshape(-1))
    rng = np.random.default_rng(seed)
    relative = float(sigma) / float(factors.sigma_ratio)
    draws = drawn(frame, factors, relative, int(nsim), rng, [True] * len(frame.design.terms))
    return pd.DataFrame((frame.x @ coefficients + frame.offset)[:, None] + draws, index=frame.index)
