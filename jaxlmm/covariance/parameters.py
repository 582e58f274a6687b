"""Natural parameters and their kinds, which a structure declares: no name is parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

from jaxlmm.errors import OptionError

Kind = Literal["sd", "corr", "rho", "theta", "coef", "number"]
"""The kinds of natural parameters: a standard deviation in units of the response; a correlation; a number between 0
and 1; an entry of theta as it is, relative to the residual's standard deviation; a coefficient of the logarithm of a
standard deviation; any other number."""

KINDS: tuple[Kind, ...] = get_args(Kind)
SD: Kind = "sd"
CORR: Kind = "corr"
THETA: Kind = "theta"
COEF: Kind = "coef"
PLAIN_NUMBER: Kind = "number"


class Parameter(NamedTuple):
    """A natural parameter of a term.

    ``label`` is its name within its ``group``; ``columns`` are those whose standard deviation or correlation it is,
    none where it belongs to no single column or pair.

    Examples
    --------
    >>> Parameter("Subject", "sd(Days)", "sd", ("Days",)).name
    'Subject: sd(Days)'
    """

    group: str
    label: str
    kind: Kind
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name by which users know it."""
        return f"{self.group}: {self.label}"

    @property
    def name_of_square(self) -> str:
        """The name of a standard deviation's square, the variance; the same name for anything else."""
        if self.kind != "sd":
            return self.name
        own = f"var{self.label[2:]}" if self.label.startswith("sd") else f"var({self.label})"
        return f"{self.group}: {own}"

    @property
    def is_residual_sd(self) -> bool:
        """Whether it is the residual's standard deviation; no group may have the residual's name."""
        return self.group == RESIDUAL_SD.group and self.kind == "sd"


RESIDUAL_SD = Parameter("Residual", "sd", "sd")
"""The standard deviation of the residual."""


@runtime_checkable
class DeclaresParameters(Protocol):
    """A covariance structure, as far as its natural parameters are concerned."""

    def param_names(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the names."""

    def param_kinds(self, columns: Sequence[str]) -> tuple[Kind, ...]:
        """Return the kinds."""


def parameters_of(structure: DeclaresParameters, group: str, columns: Sequence[str]) -> tuple[Parameter, ...]:
    """Return the natural parameters of a structure on ``columns`` (or positions) of a group, as it declares them.

    Parameters of a class that overrides ``param_names`` or ``report`` but not ``param_kinds`` are plain numbers.

    Raises
    ------
    OptionError
        If it does not declare one kind for each name, or a kind that there is not.

    Examples
    --------
    >>> from jaxlmm.covariance import OU
    >>> [(parameter.name, parameter.kind) for parameter in parameters_of(OU(), "g", ["1", "2"])]
    [('g: sd', 'sd'), ('g: rho', 'rho')]
    """
    names = structure.param_names(columns)
    declared = _declared_by(structure, "param_kinds") <= min(
        _declared_by(structure, method) for method in ("param_names", "report")
    )
    kinds = tuple(structure.param_kinds(columns)) if declared else (PLAIN_NUMBER,) * len(names)
    if len(kinds) != len(names) or not set(kinds) <= set(KINDS):
        raise OptionError(
            f"{type(structure).__name__}: expected param_kinds to give one of {', '.join(KINDS)} for each of "
            f"{len(names)} parameters ({', '.join(names)}), got {kinds}."
        )
    about: list[tuple[str, ...]] = [(column,) for column in columns]
    if len(kinds) > len(about):
        about += pairs(columns)
    if kinds != tuple("sd" if len(some) == 1 else "corr" for some in about):
        about = [()] * len(names)
    return tuple(Parameter(group, name, kind, some) for name, kind, some in zip(names, kinds, about, strict=True))


def pairs(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of columns in the order of their correlations, column by column.

    >>> pairs("abc")
    [('a', 'b'), ('a', 'c'), ('b', 'c')]
    """
    return [(first, second) for index, first in enumerate(columns) for second in columns[index + 1 :]]


def _declared_by(structure: DeclaresParameters, method: str) -> int:
    """Return which of its classes defines a method: 0 is its own, larger numbers are ancestors."""
    return next(index for index, part in enumerate(type(structure).__mro__) if method in vars(part))
