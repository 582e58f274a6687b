"""The units of fixed parameters of users' structures: what is declared, against what is reported."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, in_double_precision
from jaxlmm.covariance import AbstractCovariance, Parameter, parameters_of
from jaxlmm.errors import OptionError
from jaxlmm.model import Design, Natural

MOST_POSITIONS = 8
"""Positions at which a structure is asked, where the number of its natural parameters does not depend on them."""

SAME = 1e-6
"""Relative difference of derivatives of a natural parameter up to which they are the same."""


@in_double_precision
def check_units(design: Design, fixed: Natural) -> None:
    """Raise unless the parameters of users' structures are in the units in which they are held.

    One without a unit is held as it is, whatever sigma: its value is not to change with sigma. Where one with a unit is
    held, theta is no longer relative to sigma: then what is reported is to depend on the covariance in units of the
    response alone, not on how it is split into sigma² and theta.

    Raises
    ------
    OptionError
        With the parameter that is in another unit.
    """
    for term, parameters, values in zip(design.terms, fixed.parameters, fixed.values, strict=False):
        structure, coords = term.structure, np.asarray(term.coords)
        without_unit = [k for k, one in enumerate(parameters) if np.isfinite(values[k]) and not one.has_unit]
        if not structure.authored or not (without_unit or fixed.absolute):
            continue
        block = coords[0] if coords.ndim == 3 else coords
        few = block[:MOST_POSITIONS]
        block = few if len(parameters_of(structure, "", ["x"] * len(few))) == len(parameters) else block
        by_theta, by_sigma = _derivatives_in_scale(structure, block)
        for k in [] if fixed.absolute else without_unit:
            if not _same(by_sigma[k], 0.0):
                raise OptionError(_changes_with_sigma(structure, parameters[k]))
        if fixed.absolute and by_theta is None:
            raise OptionError(
                f"fixed: a standard deviation cannot be fixed beside {type(structure).__name__}, whose covariance is a "
                "multiple of the residual's that no parameter changes: give it a standard deviation of its own."
            )
        if by_theta is not None and fixed.absolute and not _same(by_theta, by_sigma):
            k = int(np.argmax(np.nan_to_num(np.abs(by_theta - by_sigma))))
            raise OptionError(
                f"fixed: a standard deviation cannot be fixed beside {parameters[k].name!r}, which is relative to the "
                f"residual's standard deviation: let the report of {type(structure).__name__} give it in units of the "
                "response, times sigma."
            )


def _changes_with_sigma(structure: AbstractCovariance, parameter: Parameter) -> str:
    return (
        "fixed: expected a parameter that does not change with the residual's standard deviation, as "
        f"{parameter.name!r} has no unit, got one that does; in the parameters of {type(structure).__name__} declare "
        f"it as Parameter({parameter.label!r}, unit='response')."
    )


def _same(one: Any, other: Any) -> bool:
    return np.allclose(one, other, rtol=SAME, atol=SAME, equal_nan=True)


def _derivatives_in_scale(
    structure: AbstractCovariance, coords: Float[NumpyArray, "q d"]
) -> tuple[Float[NumpyArray, " r"] | None, Float[NumpyArray, " r"]]:
    """Return the derivatives of the natural parameters in the logarithm of the scale of the covariance.

    The scale is changed once by theta (None where it cannot), once by sigma.
    """
    theta, where = jnp.asarray(structure.start(coords), float), jnp.asarray(coords)

    def covariance(theta: Float[Array, " k"]) -> jax.Array:
        factor = structure.leading_factor(theta, where)
        return jnp.ravel(factor @ factor.T)

    def report(theta: Float[Array, " k"], log_sigma: Float[Array, ""]) -> jax.Array:
        return structure.report(theta, structure.leading_factor(theta, where), jnp.exp(log_sigma))

    slope, scaled = np.asarray(jax.jacfwd(covariance)(theta)), 2.0 * np.asarray(covariance(theta))
    direction = np.linalg.lstsq(slope, scaled, rcond=None)[0]
    in_theta, in_sigma = (np.asarray(part) for part in jax.jacfwd(report, (0, 1))(theta, jnp.zeros(())))
    closed = np.abs(slope @ direction - scaled).max(initial=0.0) <= SAME * np.abs(scaled).max(initial=0.0)
    return in_theta @ direction if closed else None, in_sigma
