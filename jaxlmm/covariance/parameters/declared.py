"""The natural parameters of a structure, as its class declares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxlmm.covariance.parameters.parameter import Parameter
from jaxlmm.errors import OptionError


@runtime_checkable
class DeclaresParameters(Protocol):
    """A covariance structure, as far as its natural parameters are concerned."""

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        """Return the parameters."""


def declared(structure: DeclaresParameters, columns: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the natural parameters of a structure on ``columns`` (or positions), of no group yet.

    Those of its ``parameters``. A class with ``param_names`` in its place has plain numbers of these names; one with a
    ``report`` of its own and neither has plain numbers of the names that it would have without.

    Raises
    ------
    OptionError
        If it declares something else than parameters.
    """
    own: Any = structure
    levels = {method: _level_of(structure, method) for method in ("parameters", "param_names", "report")}
    by_name = levels["param_names"] < levels["parameters"]
    found = own.param_names(columns) if by_name else own.parameters(columns)
    kind, word = (str, "texts from param_names") if by_name else (Parameter, "lmm.covariance.Parameter from parameters")
    wrong = (
        [one for one in found if not isinstance(one, kind) or not one] if isinstance(found, tuple | list) else [found]
    )
    if wrong:
        raise OptionError(f"{type(structure).__name__}: expected a tuple of {word}, got {wrong[0]!r}.")
    if by_name:
        return tuple(Parameter(name) for name in found)
    if levels["report"] < levels["parameters"]:
        return tuple(Parameter(parameter.label) for parameter in found)
    return tuple(found)


def parameters_of(structure: DeclaresParameters, group: str, columns: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the natural parameters of a structure on ``columns`` (or positions) of a group, as it declares them.

    Raises
    ------
    OptionError
        If it declares something else than parameters.

    Examples
    --------
    >>> from jaxlmm.covariance import OU
    >>> [(parameter.name, parameter.kind) for parameter in parameters_of(OU(), "g", ["1", "2"])]
    [('g: sd', 'sd'), ('g: rho', 'proportion')]
    """
    return tuple(parameter.of(group) for parameter in declared(structure, columns))


def sds_of(columns: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the standard deviations of columns.

    >>> sds_of(["a"])
    (Parameter('sd(a)', 'sd', columns=('a',)),)
    """
    return tuple(Parameter(kind="sd", columns=(column,)) for column in columns)


def correlations_of(columns: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the correlations of pairs of columns, column by column.

    >>> [parameter.label for parameter in correlations_of("abc")]
    ['corr(a, b)', 'corr(a, c)', 'corr(b, c)']
    """
    pairs = [(first, second) for index, first in enumerate(columns) for second in columns[index + 1 :]]
    return tuple(Parameter(kind="correlation", columns=pair) for pair in pairs)


def _level_of(structure: DeclaresParameters, method: str) -> int:
    """Return which of its classes defines a method: 0 is its own, larger numbers are ancestors, then none."""
    classes = type(structure).__mro__
    return next((index for index, part in enumerate(classes) if method in vars(part)), len(classes))
