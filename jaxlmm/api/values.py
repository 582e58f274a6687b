"""Values of natural parameters by name, as ``start`` and ``fixed`` take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.api.units import check_units
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
        If a name is not one of the model's, a value is not in its parameter's range, or one is fixed in another
        unit than its structure reports.
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
    if option == "fixed":
        check_units(design, by_term)
    return by_term


def check_apart(start: Mapping[str, float] | None, fixed: Mapping[str, float] | None) -> None:
    """Raise if a parameter is given both a start and a fixed value."""
    both = [name for name in start or {} if name in (fixed or {})]
    if both:
        raise OptionError(f"start, fixed: {both[0]!r} is in both; a fixed parameter needs no start.")


def _check(option: str, parameter: Parameter, value: Any) -> None:
    """Raise unless a value is in the range of its parameter."""
    if not parameter.accepts(value):
        raise OptionError(f"{option}: expected {parameter.expected} for {parameter.name!r}, got {value!r}.")


def _check_correlations(option: str, parameters: tuple[Parameter, ...], values: Float[NumpyArray, " r"]) -> None:
    """Raise if all correlations between the columns of a term are given and their matrix is indefinite."""
    given = {
        parameter: float(value)
        for parameter, value in zip(parameters, values, strict=True)
        if parameter.is_correlation_of_columns
    }
    columns = list(dict.fromkeys(column for parameter in given for column in parameter.columns))
    matrix = np.eye(len(columns)) + np.where(np.eye(len(columns)), 0.0, np.nan)
    for parameter, value in given.items():
        first, second = (columns.index(column) for column in parameter.columns)
        matrix[first, second] = matrix[second, first] = value
    if not given or np.isnan(matrix).any():
        return
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < MIN_CORRELATION_EIGENVALUE:
        raise OptionError(
            f"{option}: expected correlations that a covariance can have, got {list(given.values())} for "
            f"{tuple(parameter.name for parameter in given)}: their "
            f"matrix has the eigenvalue {smallest:.4g}."
        )
