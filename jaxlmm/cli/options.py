"""Arguments and options that several commands share, as typer reads them; those of ``lmm.fit`` in one record."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from jaxlmm.cli.common import USAGE_ERROR, stop
from jaxlmm.cli.matrices import Kinship, matrices

Formula = Annotated[str, typer.Argument(help="lme4's spelling, e.g. 'y ~ x + (1 + x | g)'.")]
RightSide = Annotated[str, typer.Argument(help="As in fit, e.g. '~ x + (1 | g)' or 'cbind(y1, y2) ~ x + (1 | g)'.")]
Data = Annotated[Path, typer.Argument(help="A .csv, .tsv or .parquet file.")]
Responses = Annotated[
    list[str] | None,
    typer.Option(help="A column of the data, a pattern ('gene*'), or a file with a response per column. Repeatable."),
]
Id = Annotated[str | None, typer.Option(help="The column of both files by which rows of --responses FILE are found.")]
Progress = Annotated[bool | None, typer.Option("--progress/--no-progress", help="A bar; by default on a terminal.")]
Workers = Annotated[int | None, typer.Option(help="Do the work in this many processes of this machine.")]
Dask = Annotated[
    str | None, typer.Option(help="Do the work in the workers of the Dask scheduler at this address, tcp://HOST:PORT.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite --out.")]


class Method(enum.StrEnum):
    """The criterion."""

    REML = "REML"
    ML = "ML"


@dataclasses.dataclass(frozen=True)
class FitArguments:
    """The options of ``lmm.fit`` that a shell has: a field is an option of ``fit``, ``fit-many`` and ``scan``.

    Names and defaults are those of :class:`jaxlmm.api.FitOptions`, types those that can be written in a shell.
    """

    method: Annotated[
        Method | None,
        typer.Option(help="The criterion; by default REML, with a family ML.", case_sensitive=False),
    ] = None
    family: Annotated[
        str,
        typer.Option(
            help="The distribution of the response: gaussian, binomial, poisson, nbinom2, nbinom1, "
            "truncated_poisson, truncated_nbinom2, truncated_nbinom1, gamma, inverse_gaussian, beta, tweedie or "
            "student_t."
        ),
    ] = "gaussian"
    quadrature: Annotated[int, typer.Option(help="Nodes of adaptive quadrature; 1 is Laplace's approximation.")] = 1
    trials: Annotated[str | None, typer.Option(help="The column of numbers of trials, of a binomial response.")] = None
    zero_inflated: Annotated[
        str | None, typer.Option(help="A formula of the logit of the probability of a zero, e.g. '~ x' or '~ 1'.")
    ] = None
    weights: Annotated[str | None, typer.Option(help="The column of weights: Var = sigma² / weight.")] = None
    offset: Annotated[str | None, typer.Option(help="The column that is subtracted from the response.")] = None
    kinship: Kinship = None
    residual: Annotated[str | None, typer.Option(help="A residual structure, e.g. 'ou(time | id)'.")] = None
    dispersion: Annotated[
        str | None, typer.Option(help="A formula of the residual's log standard deviation, e.g. '~ time'.")
    ] = None
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, where a variance parameter starts; names as in fit.variance(), e.g. "
            "'Subject: sd(Intercept)=30'. Repeatable."
        ),
    ] = None
    fixed: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, a variance parameter that is held, e.g. 'Residual: sd=1'. Repeatable."),
    ] = None
    solver: Annotated[str, typer.Option(help="auto, moments, blocked, spectral, chain or dense.")] = "auto"

    def keywords(self, *, auto: bool = False) -> dict[str, Any]:
        """Return the options as keyword arguments of ``lmm.fit``.

        For ``scan`` (``auto=True``), which takes no family, ``--kinship auto``, the relationship matrix of the scan's
        own markers, is passed on and not read as a file.
        """
        names = [field.name for field in dataclasses.fields(self) if not (auto and field.name in OF_FAMILIES)]
        return {
            **{name: getattr(self, name) for name in names},
            "method": None if self.method is None else self.method.value,
            "kinship": "auto" if auto and self.kinship == ["auto"] else matrices(self.kinship or []),
            "start": values_of("--start", self.start or []),
            "fixed": values_of("--fixed", self.fixed or []),
        }


DEFAULTS = FitArguments()

OF_FAMILIES = ("family", "quadrature", "trials", "zero_inflated")
"""Options of generalized models."""


def with_scan_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as :func:`with_fit_options` does, without the options of generalized models."""
    return with_fit_options(command, without=OF_FAMILIES)


def with_fit_options(command: Callable[..., None], without: Sequence[str] = ()) -> Callable[..., None]:
    """Return a command with an option for each field of :class:`FitArguments` in place of its parameter ``model``.

    The command is called with ``model``, the record of all of them. A field that is a parameter of the command too is
    listed where that stands, and passed both ways.
    """
    signature = inspect.signature(command, eval_str=True)
    own, hints = signature.parameters, get_type_hints(FitArguments, include_extras=True)
    options = {
        field.name: own["model"].replace(name=field.name, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(FitArguments)
        if field.name not in without
    }
    parameters = list(own.values())
    position = list(own).index("model")
    parameters[position : position + 1] = [option for name, option in options.items() if name not in own]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        model = FitArguments(**{name: values[name] for name in options})
        command(**{name: value for name, value in values.items() if name in own}, model=model)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def values_of(option: str, arguments: list[str]) -> dict[str, float]:
    """Return values of variance parameters by name, from arguments ``NAME=VALUE``; the last ``=`` ends the name.

    >>> values_of("--fixed", ["Residual: sd=1", "g: sd(I(x == 2))=0.5"])
    {'Residual: sd': 1.0, 'g: sd(I(x == 2))': 0.5}
    """
    values: dict[str, float] = {}
    for argument in arguments:
        name, _, text = argument.rpartition("=")
        name = name.strip()
        try:
            value = float(text)
        except ValueError:
            name = ""
        if not name:
            stop(f"{option}: expected NAME=VALUE such as 'Residual: sd=1', got {argument!r}.", USAGE_ERROR)
        if name in values:
            stop(f"{option}: expected each parameter once, got {name!r} twice.", USAGE_ERROR)
        values[name] = value
    return values
