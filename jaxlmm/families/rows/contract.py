"""Whether a family keeps its contract: values, shapes, derivatives, what it says of itself."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError
from jaxlmm.families.base import AbstractFamily
from jaxlmm.families.rows.derivatives import row_derivatives

ETA = np.array([-1.3, -0.4, 0.2, 0.9])
"""Linear predictors at which a family is tried out, beside its own starts."""

STEP, SLOPE = 1e-5, 1e-5
"""The step of differences, and their error relative to the values."""


def check_contract(family: AbstractFamily, y: Float[NumpyArray, "*y"], where: str) -> None:
    """Raise unless a family keeps its contract at some observations, as it takes them.

    Raises
    ------
    OptionError
        With the property that fails.
    """
    name = f"{where}: {type(family).__name__}"
    try:
        _ = hash(jax.tree.structure(family))
    except TypeError as error:
        raise OptionError(f"{name}: fields that set a branch must be hashable, and declared by static().") from error
    roots = [one.attained[0] or np.isinf(one.lower) or np.isinf(one.upper) for one in family.parameters]
    searched = np.where(np.array(roots, bool), 0.5, 0.0)
    dispersion = np.asarray(family.natural(jnp.asarray(searched, float)))
    allowed = family.allows(y)
    if not allowed.all():
        raise OptionError(f"{name}: expected observations that it allows, got others; it takes {family.expected()}.")
    y = np.repeat(y, ETA.size, axis=0)
    eta = np.tile(ETA, len(y) // ETA.size)
    value = _evaluated(family, y, eta, dispersion, name)
    if value.shape != eta.shape:
        raise OptionError(
            f"{name}.log_density: expected one value for each linear predictor, shape {eta.shape}, got {value.shape}; "
            "do not sum over the observations."
        )
    if np.isnan(value).any():
        at = float(eta[np.isnan(value)][0])
        raise OptionError(f"{name}.log_density: expected numbers, or minus infinity, got NaN at eta = {at:g}.")
    usable = np.isfinite(value)
    if not usable.any():
        raise OptionError(f"{name}.log_density: expected finite values, got none at eta = {ETA.tolist()}.")
    alone = np.stack([_evaluated(family, y[i : i + 1], eta[i : i + 1], dispersion, name)[0] for i in range(eta.size)])
    if not np.allclose(value[usable], alone[usable], rtol=1e-10):
        raise OptionError(f"{name}.log_density: the value of an observation depends on the others.")
    _check_derivatives(family, y, eta, dispersion, usable, name)
    constant = family.normalizer(jnp.asarray(y), jnp.asarray(dispersion))
    kernel = np.asarray(family.log_kernel(jnp.asarray(y), jnp.asarray(eta), jnp.asarray(dispersion)))
    whole = kernel + (0.0 if constant is None else np.asarray(constant))
    if not np.allclose(whole[usable], value[usable], rtol=1e-10):
        raise OptionError(f"{name}: expected log_kernel plus normalizer to be log_density.")
    if not np.isfinite(np.asarray(family.start(jnp.asarray(y)))).all():
        raise OptionError(f"{name}.start: expected finite linear predictors.")


def _evaluated(family: AbstractFamily, y: Any, eta: Any, dispersion: Any, name: str) -> NumpyArray:
    try:
        return np.asarray(jax.jit(family.log_density)(jnp.asarray(y), jnp.asarray(eta), jnp.asarray(dispersion)))
    except (TypeError, ValueError, jax.errors.JAXTypeError) as error:
        raise OptionError(f"{name}.log_density: expected a function that JAX can trace: {error}") from error


def _check_derivatives(
    family: AbstractFamily, y: NumpyArray, eta: NumpyArray, dispersion: NumpyArray, usable: NumpyArray, name: str
) -> None:
    def total(eta: jax.Array, dispersion: jax.Array) -> jax.Array:
        rows = family.log_density(jnp.asarray(y), eta, dispersion)
        return jnp.sum(jnp.where(jnp.asarray(usable), rows, 0.0))

    here = jnp.asarray(eta), jnp.asarray(dispersion)
    slopes = jax.jit(jax.grad(total, (0, 1)))
    score, in_dispersion = (np.asarray(part) for part in slopes(*here))
    if not (np.isfinite(score[usable]).all() and np.isfinite(in_dispersion).all()):
        raise OptionError(
            f"{name}.log_density: expected finite derivatives; where a branch by jnp.where is not finite, neither may "
            "its argument be."
        )
    aside = STEP * np.ones_like(eta)
    found = _evaluated(family, y, eta + aside, dispersion, name) - _evaluated(family, y, eta - aside, dispersion, name)
    close = np.isfinite(found) & usable
    size = 1.0 + np.abs(score[close]).max(initial=0.0)
    if not np.allclose(score[close], found[close] / (2.0 * STEP), rtol=SLOPE, atol=SLOPE * size):
        raise OptionError(f"{name}.log_density: derivatives in eta are not those of the values.")
    curvature = row_derivatives(family, jnp.asarray(y), jnp.asarray(eta), jnp.asarray(dispersion)).curvature
    if not np.isfinite(np.asarray(curvature)[usable]).all():
        raise OptionError(f"{name}.log_density: expected finite second derivatives in eta.")
