"""``deviance``, ``loglik``, ``estimate``: the likelihood of a design and its optimum, as pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, is_traced, program
from jaxlmm.api.options import criterion
from jaxlmm.engine import Estimate
from jaxlmm.engine import estimate as _estimate
from jaxlmm.errors import DataError, OptionError, PrecisionError
from jaxlmm.families import observations
from jaxlmm.likelihood import Likelihood, likelihood_of
from jaxlmm.linalg import inverse_triangle
from jaxlmm.model import Design, at_rest, settled
from jaxlmm.solvers import AbstractSolver, built


def deviance(
    design: Design, method: str = "REML", *, solver: str | type[AbstractSolver] = "auto"
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the profiled deviance as a pure function ``f(theta, y)``.

    Parameters
    ----------
    design
        From :func:`design`, or ``fit.design``.
    method
        ``"REML"`` or ``"ML"``.
    solver
        As in :func:`jaxlmm.fit`.

    Returns
    -------
    function
        ``f(theta, y)`` with ``theta`` (k,) in the order of ``fit.theta`` and ``y`` (n,) gives −2 log-likelihood,
        profiled over beta and sigma (Bates et al. 2015, eqs. 34 and 42). It can be differentiated to any order,
        compiled, and mapped over the columns of a matrix of responses; it follows the caller's precision. With a model
        of dispersion its coefficients are the last of ``theta``, as in ``fit.theta``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> with jax.enable_x64(True):
    ...     f = lmm.deviance(lmm.design("~ Days + (Days | Subject)", sleep))
    ...     theta, y = jnp.array([0.9667, 0.0152, 0.2309]), jnp.array(sleep["Reaction"].to_numpy())
    ...     print(round(float(jax.jit(f)(theta, y)), 4))
    ...     print(bool(jnp.all(jnp.abs(jax.grad(f)(theta, y)) < 0.1)))
    ...     print(jax.hessian(f)(theta, y).shape)
    ...     print(jax.vmap(f, in_axes=(None, 1))(theta, jnp.stack([y, 2 * y], axis=1)).shape)
    1743.6283
    True
    (3, 3)
    (2,)
    """
    if design.distribution is not None:
        raise OptionError(
            "deviance: the deviance of a generalized model cannot be profiled over beta; lmm.loglik(design) is a "
            "function of beta and theta."
        )
    likelihood = _likelihood(design, criterion(method), solver)
    n, k = int(likelihood.design.n), likelihood.layout.n_theta

    def f(theta: Float[Array, " k"], y: Float[Array, " n"]) -> Float[Array, ""]:
        theta, y = jnp.asarray(theta), jnp.asarray(y)
        _check_shape("theta", theta, (k,))
        _check_shape("y", y, (n,))
        return _deviance(likelihood, theta, y)

    return f


def loglik(
    design: Design, *, solver: str | type[AbstractSolver] = "auto"
) -> Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]:
    """Return the unprofiled log-likelihood as a pure function ``f(beta, theta, sigma, y)``, for samplers and penalties.

    ``beta`` (p,) on the columns of the formula, ``theta`` (k,) relative to ``sigma`` (), ``y`` (n,). The ``solver`` is
    as in :func:`jaxlmm.fit`. Of a generalized model theta is that of ``fit.theta`` too, which ends in what is searched
    for of the family's parameters, and sigma has no part in it.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep, method="ML")
    >>> with jax.enable_x64(True):
    ...     f = lmm.loglik(fit.design)
    ...     y = jnp.array(sleep["Reaction"].to_numpy())
    ...     value, slope = jax.value_and_grad(f)(jnp.array(fit.fixef().to_numpy()), fit.theta, fit.sigma, y)
    ...     print(round(float(value), 4) == round(fit.loglik, 4), bool(jnp.all(jnp.abs(slope) < 1e-6)))
    True True
    """
    likelihood = _likelihood(design, "ML", solver)
    family = likelihood.layout.family
    n, k, p = int(likelihood.design.n), likelihood.layout.n_theta, design.basis.shape[1]

    def f(
        beta: Float[Array, " p"], theta: Float[Array, " k"], sigma: Float[Array, ""] | float, y: Float[Array, " n"]
    ) -> Float[Array, ""]:
        beta, theta, sigma, y = (jnp.asarray(value) for value in (beta, theta, sigma, y))
        _check_shape("beta", beta, (p,))
        _check_shape("theta", theta, (k if family is None else k - family.n_columns,))
        _check_shape("y", y, (n,))
        _check_observations(design, y)
        if family is not None:
            theta = jnp.concatenate([theta, jnp.zeros(family.n_columns, theta.dtype)])
        return _loglik(likelihood, beta, theta, sigma, y)

    return f


def estimate(
    design: Design, y: Any, *, method: str | None = None, solver: str | type[AbstractSolver] = "auto"
) -> Estimate:
    """Return the optimum as a pure function of a response and of a design's values: for ``jit``, ``vmap``, derivatives.

    Parameters
    ----------
    design
        From :func:`design`, :func:`design_from_arrays`, or ``fit.design``; with values that are traced, by
        :meth:`Design.replace` or as an argument of a transformed function.
    y
        A response (n,), complete, in double precision.
    method
        ``"REML"`` or ``"ML"``; by default REML, of a generalized model ML.
    solver
        As in :func:`jaxlmm.fit`.

    Returns
    -------
    Estimate
        A pytree: ``theta`` (k,) in the order of ``fit.theta``, ``beta`` (p,), ``sigma`` (), ``deviance`` (), and
        ``status`` (), an index into ``jaxlmm.STATUS`` (judged by gradient and Hessian alone, without the walks along a
        ridge of ``fit``). Derivatives of any order, forward and reverse, in ``y``, weights, offset, X, known matrices,
        coordinates and fields of structures are those of the implicit function theorem with the exact Hessian; a
        parameter that is held at a boundary has derivatives of zero.

    Raises
    ------
    PrecisionError
        If ``y`` is not in double precision.
    DataError, OptionError
        If what is traced cannot be.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> design = lmm.design("~ Days + (Days | Subject)", sleep)
    >>> with jax.enable_x64(True):
    ...     y = jnp.array(sleep["Reaction"].to_numpy())
    ...     found = lmm.estimate(design, y)
    ...     slope = jax.grad(lambda y: lmm.estimate(design, y).beta[1])(y)
    ...     print(lmm.STATUS[found.status], found.beta.round(2).tolist(), round(float(slope @ y), 2))
    ...     weights = jnp.ones(180)
    ...     by_weight = jax.grad(lambda w: lmm.estimate(design.replace(weights=w), y).sigma)(weights)
    ...     print(round(float(by_weight @ weights / found.sigma), 6))  # weights times c: sigma times the root of c
    interior [251.41, 10.47] 10.47
    0.5
    """
    y = jnp.asarray(y)
    if y.dtype != jnp.float64:
        raise PrecisionError(
            f"y: expected double precision (float64), got {y.dtype}. Call inside 'with jax.enable_x64(True):', and "
            "make the array there."
        )
    by_default = "REML" if design.distribution is None else "ML"
    likelihood, triangle = _likelihood(design, criterion(method or by_default), solver), design.triangle
    _check_shape("y", y, (int(likelihood.design.n),))
    _check_observations(design, y)
    inverse = inverse_triangle(triangle) if is_traced(triangle) else np.linalg.inv(np.asarray(triangle))
    layout = at_rest(likelihood.layout, design.incidence) if is_traced(likelihood.layout) and design.incidence else None
    return _estimate(likelihood, inverse, likelihood.padded(y), layout)


@program()
def _deviance(likelihood: Likelihood, theta: Float[Array, " k"], y: Float[Array, " n"]) -> Float[jax.Array, ""]:
    return likelihood.deviance(likelihood.layout.factors(theta), likelihood.observe(likelihood.padded(y)))


@program()
def _loglik(
    likelihood: Likelihood,
    beta: Float[Array, " p"],
    theta: Float[Array, " k"],
    sigma: Float[Array, ""],
    y: Float[Array, " n"],
) -> Float[jax.Array, ""]:
    return likelihood.loglik(likelihood.layout.factors(theta), beta, sigma, likelihood.padded(y))


def _likelihood(design: Design, method: str, solver: str | type[AbstractSolver]) -> Likelihood:
    design = settled(design)
    return likelihood_of(design, built(design, solver), method)


def _check_observations(design: Design, y: jax.Array) -> None:
    """Raise if numbers are no observations of the family of a generalized model."""
    distribution = design.distribution
    if distribution is None or is_traced((y, distribution)):
        return
    values, row_data = np.asarray(y, float), distribution.row_data
    own = None if row_data is None else np.asarray(row_data)[: values.size]
    wrong = np.flatnonzero(~distribution.family.allows(observations(values, own)))
    if wrong.size:
        raise DataError(f"y: expected {distribution.family.expected()}, got {values[wrong[0]]:g} in row {wrong[0]}.")


def _check_shape(name: str, value: jax.Array, expected: tuple[int, ...]) -> None:
    if value.shape != expected:
        raise DataError(f"{name}: expected shape {expected}, got {value.shape}.")
