"""Values of natural parameters by name, as ``start`` and ``fixed`` take them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.errors import OptionError, nearest
from jaxlmm.formula import ModelLabels
from jaxlmm.model import Design, Natural

MIN_CORRELATION_EIGENVALUE = -1e-10
"""The smallest eigenvalue that a matrix of correlations may have, below zero by rounding alone."""


def as_mapping(option: str, values: Any) -> dict[str, Any] | None:
    """Return a copy of a mapping as a dict, None if it is empty; raise if it is no mapping."""
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise OptionError(
            f"{option}: expected a dict from parameter name to value, got {type(values).__name__}; write "
            f"{option}={{'Residual: sd': 1.0}}, with the names of fit.variance()."
        )
    return dict(values) or None


def natural(option: str, values: Mapping[str, float] | None, labels: ModelLabels, design: Design) -> Natural | None:
    """Return the values of ``start`` or ``fixed`` term by term, checked; None where there are none.

    Raises
    ------
    OptionError
        If a name is not one of the model's, or a value is not in its parameter's range.
    """
    if values is None:
        return None
    parameters = {parameter.name: parameter for parameter in labels.natural}
    for name, value in values.items():
        if name not in parameters:
            raise OptionError(f"{option}: no parameter is named {name!r}; {nearest(str(name), parameters)}.")
        _check(option, parameters[name], value)
    by_term = Natural.of(design, labels.blocks, values)
    for block, block_values in zip(by_term.parameters, by_term.values, strict=True):
        _check_correlations(option, block, block_values)
    return by_term


def check_apart(start: Mapping[str, float] | None, fixed: Mapping[str, float] | None) -> None:
    """Raise if a parameter is given both a start and a fixed value."""
    both = [name for name in start or {} if name in (fixed or {})]
    if both:
        raise OptionError(f"start, fixed: {both[0]!r} is in both; a fixed parameter needs no start.")


def _check(option: str, parameter: Parameter, value: Any) -> None:
    """Raise unless a value is in the range of its parameter."""
    expected, inside = {
        "sd": ("a standard deviation of 0 or more, in units of the response", lambda x: x >= 0.0),
        "corr": ("a correlation from -1 to 1", lambda x: abs(x) <= 1.0),
        "rho": ("a number between 0 and 1, without these", lambda x: 0.0 < x < 1.0),
    }.get(parameter.kind, ("a number", lambda x: True))
    if parameter.is_residual_sd:
        expected, inside = "a standard deviation above 0, in units of the response", lambda x: x > 0.0
    real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    if not real or not np.isfinite(float(value)) or not inside(float(value)):
        raise OptionError(f"{option}: expected {expected} for {parameter.name!r}, got {value!r}.")


def _check_correlations(option: str, parameters: tuple[Parameter, ...], values: Float[NumpyArray, " r"]) -> None:
    """Raise if all correlations between the columns of a term are given and their matrix is indefinite."""
    pairs = [parameter for parameter in parameters if parameter.kind == "corr" and parameter.columns]
    q = len(parameters) - len(pairs)
    correlations = values[q:]
    if not pairs or np.isnan(correlations).any():
        return
    columns, rows = np.triu_indices(q, 1)
    matrix = np.eye(q)
    matrix[rows, columns] = matrix[columns, rows] = correlations
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < MIN_CORRELATION_EIGENVALUE:
        raise OptionError(
            f"{option}: expected correlations that a covariance can have, got {correlations.tolist()} for "
            f"{tuple(pair.name for pair in pairs)}: their "
            f"matrix has the eigenvalue {smallest:.4g}."
        )
