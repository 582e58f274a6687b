"""Shares of variance, and any function of the variance parameters, with standard errors by the delta method."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, in_double_precision
from jaxlmm.covariance import Parameter
from jaxlmm.errors import OptionError, nearest
from jaxlmm.inference import delta_method
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.many_estimates import ManyEstimates
from jaxlmm.results.tables.columns import estimate_frame
from jaxlmm.results.tables.random import check_group

SHARE = Parameter("share", "proportion")
"""A share of variance, as far as its interval is concerned."""

BOUNDARY_SHARE = 1e-12
"""Shares this close to 0 or 1 are at the boundary."""


def ratio(fit: Fitted, group: str) -> pd.Series:
    """Return the share of ``group`` in all random variance plus residual (an ICC, a heritability).

    Variances are averaged over the rows. Returns ``estimate std_error conf_low conf_high``.
    """
    check_group(fit.estimates.labels, group)
    share, std_error = ratio_of(fit.estimates, group)
    return _share_frame([group], share[None], std_error[None]).iloc[0]


def pve(fit: Fitted) -> pd.DataFrame:
    """Return the shares of the fixed part, each group and the residual in the total variance; they sum to 1.

    The variance of the fixed part is the sample variance of Xβ.
    """
    shares, std_error = pve_of(fit.estimates)
    return _share_frame(components_of(fit.estimates), shares, std_error).rename_axis("component")


def r2(fit: Fitted) -> pd.DataFrame:
    """Return the shares of variance that the model explains: Nakagawa and Schielzeth's (2013) R², with random slopes.

    Returns
    -------
    pandas.DataFrame
        Rows ``marginal``, by the fixed part, and ``conditional``, by fixed and random effects: ``estimate std_error
        conf_low conf_high``. Variances of random effects are averaged over the rows (Johnson 2014).

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.r2()["estimate"].round(3).to_dict()
    {'marginal': 0.279, 'conditional': 0.799}
    """
    shares, std_error = pve_of(fit.estimates)
    explained = np.array([shares[0], 1.0 - shares[-1]])
    return _share_frame(["marginal", "conditional"], explained, std_error[[0, -1]]).rename_axis("r2")


def components_of(estimates: Estimates | ManyEstimates) -> list[str]:
    """Return the names of the components of the total variance: the fixed part, each group, the residual."""
    return ["fixed", *estimates.labels.groups, "Residual"]


def ratio_of(
    estimates: Estimates | ManyEstimates, group: str
) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
    """Return the share of a group and its standard error."""
    estimates.labels.check_gaussian("shares of variance")
    variances, jacobian = _by_group(estimates)
    index, total = list(estimates.labels.groups).index(group), variances.sum(axis=-1)
    share = np.asarray(variances[..., index] / total)
    gradient = (np.eye(variances.shape[-1])[index] - share[..., None]) / total[..., None]
    std_error = delta_method((gradient @ jacobian)[..., None, :], estimates.uncertainty.component_cov)
    in_limit = _in_limit(estimates, variances)
    return share, _nan_at_boundary(in_limit[..., index] / in_limit.sum(axis=-1), std_error[..., 0])


def pve_of(estimates: Estimates | ManyEstimates) -> tuple[Float[NumpyArray, "*b c"], Float[NumpyArray, "*b c"]]:
    """Return the shares of all components and their standard errors."""
    estimates.labels.check_gaussian("shares of variance")
    variances, jacobian = _by_group(estimates)
    aliased = np.isnan(estimates.beta)  # linearly dependent on the others on a response's rows
    beta = np.where(aliased, 0.0, estimates.beta)
    column_cov = np.where(aliased[..., :, None] | aliased[..., None, :], 0.0, estimates.column_cov)
    slope = 2.0 * np.einsum("...ij,...j->...i", column_cov, beta)
    fixed = 0.5 * np.sum(beta * slope, axis=-1, keepdims=True)
    values = np.concatenate([fixed, variances], axis=-1)
    total = values.sum(axis=-1)[..., None]
    shares, p, t = values / total, slope.shape[-1], jacobian.shape[1]
    gradient = (np.eye(values.shape[-1]) - shares[..., :, None]) / total[..., None]
    both = np.zeros((*values.shape, p + t))
    both[..., 0, :p], both[..., 1:, p:] = slope, jacobian
    covariance = np.zeros((*values.shape[:-1], p + t, p + t))
    covariance[..., :p, :p] = estimates.uncertainty.vcov
    covariance[..., p:, p:] = estimates.uncertainty.component_cov
    in_limit = _in_limit(estimates, values)
    return shares, _nan_at_boundary(
        in_limit / in_limit.sum(axis=-1, keepdims=True), delta_method(gradient @ both, covariance)
    )


@in_double_precision
def delta(fit: Fitted, f: Callable[[Mapping[str, float]], float]) -> pd.Series:
    """Return a function of variance parameters and fixed effects with its standard error by the delta method.

    Parameters
    ----------
    f
        Takes a dict from name to value and returns a number, in arithmetic or ``jax.numpy``. Names are those of
        :meth:`variance` (standard deviations and correlations) and of :meth:`fixef`; a fixed effect that is called as
        a variance parameter is goes by ``"fixed: "`` and its name.

    Returns
    -------
    pandas.Series
        ``estimate std_error conf_low conf_high``; the interval is Wald's on the function's own scale. Fixed effects
        and variance parameters are taken to be uncorrelated, as they are in large samples (their information matrix
        is block-diagonal, by ML and by REML).

    Raises
    ------
    OptionError
        If ``f`` is no such function, names what is not there, or returns more than one number.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> f = lambda v: v["Subject: sd(Intercept)"] ** 2 / v["Residual: sd"] ** 2
    >>> fit.delta(f).round(3).to_dict()
    {'estimate': 1.435, 'std_error': 0.554, 'conf_low': 0.35, 'conf_high': 2.52}
    >>> fit.delta(lambda v: v["Days"] / v["Residual: sd"]).round(4)[["estimate", "std_error"]].to_dict()
    {'estimate': 0.3377, 'std_error': 0.0321}
    """
    if not callable(f):
        raise OptionError(f"f: expected a function such as lambda v: v['Residual: sd'] ** 2, got {f!r}.")
    estimates = fit.estimates
    parameters, r = estimates.labels.parameters, estimates.report.size
    effects = [f"fixed: {name}" if name in parameters else name for name in estimates.labels.fixed_names]
    names, values = [*parameters, *effects], np.append(estimates.report, estimates.beta)

    def of_vector(vector: Float[jax.Array, " _"]) -> jax.Array:
        try:
            value = jnp.asarray(f(dict(zip(names, vector, strict=True))))
        except KeyError as error:
            hint = nearest(str(error.args[0]), names)
            raise OptionError(f"f: no parameter or fixed effect is named {error}; {hint}.") from error
        except jax.errors.JAXTypeError as error:
            raise OptionError(
                "f: expected a function that JAX can differentiate, in arithmetic or jax.numpy; got one that asks for "
                "plain numbers, as functions of NumPy and math and float() do; write jnp.log(x), for example."
            ) from error
        if value.shape != ():
            raise OptionError(f"f: expected one number, got shape {value.shape}; call delta once for each.")
        return value

    estimate, gradient = jax.value_and_grad(of_vector)(jnp.asarray(values))
    jacobian = np.array(gradient)
    for index in np.flatnonzero(estimates.verdict.at_boundary & (jacobian[:r] == 0.0)):
        inside = values.copy()
        inside[index] = 0.5 * (inside[index] if inside[index] else estimates.sigma)
        if np.isfinite(values[index]) and float(of_vector(jnp.asarray(inside))) != float(estimate):
            jacobian[index] = np.nan  # it depends on a parameter at a boundary, though not to first order
    covariance = np.zeros((values.size,) * 2)
    covariance[:r, :r], covariance[r:, r:] = estimates.uncertainty.report_cov, estimates.uncertainty.vcov
    std_error = delta_method(jacobian[None], covariance)
    return estimate_frame(["value"], np.asarray(estimate)[None], std_error, Parameter("value")).iloc[0].rename(None)


def _share_frame(names: list[str], shares: Float[NumpyArray, " c"], std_error: Float[NumpyArray, " c"]) -> pd.DataFrame:
    return estimate_frame(names, shares, std_error, SHARE)


def _nan_at_boundary(shares: Float[Array, "*b"], std_error: Float[Array, "*b"]) -> Float[NumpyArray, "*b"]:
    """Return the standard errors of shares; NaN where a share is 0 or 1, at the boundary."""
    return np.where(np.abs(shares - 0.5) < 0.5 - BOUNDARY_SHARE, std_error, np.nan)


def _in_limit(estimates: Estimates | ManyEstimates, values: Float[NumpyArray, "*b c"]) -> Float[NumpyArray, "*b c"]:
    """Return the variances in the limit: the residual's, the last, is zero where its standard error is unknown."""
    residual = np.array([parameter.is_residual_sd for parameter in estimates.labels.natural])
    unknown = np.isnan(np.diagonal(estimates.uncertainty.report_cov, axis1=-2, axis2=-1)[..., residual]).any(axis=-1)
    variances = values.copy()
    variances[..., -1] = np.where(unknown, 0.0, variances[..., -1])
    return variances


def _by_group(estimates: Estimates | ManyEstimates) -> tuple[Float[NumpyArray, "*b g"], Float[NumpyArray, "g t"]]:
    """Return the mean variance of each group and of the residual, and its derivative in the components."""
    owners = [*(term.group for term in estimates.labels.terms), "Residual"]
    jacobian = np.array([[float(owner == group) for owner in owners] for group in components_of(estimates)[1:]])
    return estimates.components @ jacobian.T, jacobian
