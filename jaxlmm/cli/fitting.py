"""Commands that fit models, show what they do, and say what runs here."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlmm.cli.common import DATA_ERROR, USAGE_ERROR, Force, app, check_out, exit_codes, readers, save_figure, stop
from jaxlmm.cli.ids import read_data, read_ids
from jaxlmm.cli.known import Kinship, matrices
from jaxlmm.cli.missing import MissingCode, codes_of

SHOWN = 10
"""Rows of a table that are printed."""


class Method(enum.StrEnum):
    """The criterion."""

    REML = "REML"
    ML = "ML"


Formula = Annotated[str, typer.Argument(help="lme4's spelling, e.g. 'y ~ x + (1 + x | g)'.")]
RightSide = Annotated[str, typer.Argument(help="As in fit, e.g. '~ x + (1 | g)' or 'cbind(y1, y2) ~ x + (1 | g)'.")]
Data = Annotated[Path, typer.Argument(help="A .csv, .tsv or .parquet file.")]
Criterion = Annotated[Method, typer.Option(help="The criterion.", case_sensitive=False)]
Weights = Annotated[str | None, typer.Option(help="The column of weights: Var = sigma² / weight.")]
Offset = Annotated[str | None, typer.Option(help="The column that is subtracted from the response.")]
Residual = Annotated[str | None, typer.Option(help="A residual structure, e.g. 'ou(time | id)'.")]
Start = Annotated[
    list[str] | None, typer.Option(help="NAME=VALUE, where a variance parameter starts, by its name here. Repeatable.")
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE, a variance parameter that is held, e.g. 'Residual: sd=1'. Repeatable."),
]
Solver = Annotated[str, typer.Option(help="auto, moments, blocked, spectral or dense.")]
Responses = Annotated[
    list[str] | None,
    typer.Option(help="A column of the data, a pattern ('gene*'), or a file with a response per column. Repeatable."),
]
Id = Annotated[str | None, typer.Option(help="The column of both files by which rows of --responses FILE are found.")]
Progress = Annotated[bool | None, typer.Option("--progress/--no-progress", help="A bar; by default on a terminal.")]


def _version(asked: bool) -> None:
    if asked:
        import jaxlmm

        typer.echo(f"jaxlmm {jaxlmm.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Linear mixed models in lme4's formulas."""


@app.command()
def fit(
    formula: Formula,
    data: Data,
    method: Criterion = Method.REML,
    weights: Weights = None,
    offset: Offset = None,
    kinship: Kinship = None,
    residual: Residual = None,
    start: Start = None,
    fixed: Fixed = None,
    solver: Solver = "auto",
    missing_code: MissingCode = None,
    out: Annotated[Path | None, typer.Option(help="Write the result to this .json file.")] = None,
    force: Force = False,
) -> None:
    """Fit one model and print its summary."""
    check_out(out, (".json",), force)
    import jaxlmm as lmm

    with exit_codes():
        frame = read_data(data, formula, kinship or [], residual=residual, codes=codes_of(missing_code))
        result = lmm.fit(
            formula,
            frame,
            method=method.value,
            weights=weights,
            offset=offset,
            kinship=matrices(kinship or []),
            residual=residual,
            start=values_of("--start", start or []),
            fixed=values_of("--fixed", fixed or []),
            solver=solver,
        )
        typer.echo(str(result.summary()))
        if out is not None:
            result.save(out)


@app.command()
def fit_many(
    formula: RightSide,
    data: Data,
    responses: Responses = None,
    id: Id = None,
    method: Criterion = Method.REML,
    weights: Weights = None,
    offset: Offset = None,
    kinship: Kinship = None,
    residual: Residual = None,
    start: Start = None,
    fixed: Fixed = None,
    solver: Solver = "auto",
    missing_code: MissingCode = None,
    progress: Progress = None,
    out: Annotated[Path | None, typer.Option(help="Write all coefficients to this .parquet, .csv or .tsv.")] = None,
    force: Force = False,
) -> None:
    """Fit one model to many responses, and print or write a table of their coefficients."""
    check_out(out, (".parquet", ".csv", ".tsv"), force)
    import jaxlmm as lmm
    from jaxlmm.results.tables import by_reason

    with exit_codes():
        codes = codes_of(missing_code)
        frame = read_data(data, formula, kinship or [], id, residual, codes)
        many = lmm.fit_many(
            formula,
            frame,
            responses=responses_of(responses or [], frame, codes, id),
            id=id,
            progress=progress,
            method=method.value,
            weights=weights,
            offset=offset,
            kinship=matrices(kinship or []),
            residual=residual,
            start=values_of("--start", start or []),
            fixed=values_of("--fixed", fixed or []),
            solver=solver,
        )
        typer.echo(str(many))
        failed = many.failed()
        if len(failed):
            _echo_table("Without a proven optimum", failed)
        if (many.status == "failed").all():
            why = by_reason(dict(zip(failed["response"], failed["reason"], strict=True)))
            stop(f"no response can be fitted: {'; '.join(why)}.", DATA_ERROR)
        if out is None:
            _echo_table("Coefficients", many.tidy())
        else:
            (many.to_parquet if out.suffix == ".parquet" else many.to_csv)(out)
            typer.echo(f"\nThe coefficients are in {out}.")


def _echo_table(title: str, table: Any) -> None:
    rest = len(table) - SHOWN
    typer.echo(f"\n{title}:\n{table.head(SHOWN).to_string(index=False)}")
    if rest > 0:
        typer.echo(f"... and {rest} more rows")


def responses_of(arguments: list[str], data: Any, codes: Sequence[str] = (), id: str | None = None) -> Any:
    """Return None, names and patterns of columns of the data, or the frame of a file, which has a column of ids."""
    files = [argument for argument in arguments if argument not in data and Path(argument).suffix in readers()]
    if files and arguments[1:]:
        stop(f"--responses: expected one file or names of columns, got {', '.join(arguments)}.", USAGE_ERROR)
    return read_ids(Path(files[0]), [id] if id else [], "--responses", codes) if files else arguments or None


def values_of(option: str, arguments: list[str]) -> dict[str, float]:
    """Return values of variance parameters by name, from ``NAME=VALUE`` with a name that may hold another sign.

    >>> values_of("--fixed", ["Residual: sd=1", "g: sd(I(x == 2))=0.5"])
    {'Residual: sd': 1.0, 'g: sd(I(x == 2))': 0.5}
    """
    found: dict[str, float] = {}
    for argument in arguments:
        name, _, value = argument.rpartition("=")
        name = name.strip()
        try:
            number = float(value)
        except ValueError:
            name = ""
        if not name:
            stop(f"{option}: expected NAME=VALUE such as 'Residual: sd=1', got {argument!r}.", USAGE_ERROR)
        if name in found:
            stop(f"{option}: expected each parameter once, got {name!r} twice.", USAGE_ERROR)
        found[name] = number
    return found


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the picture of the family effects is saved.")] = Path(
        "family_effects.png"
    ),
) -> None:
    """Fit the twin study and the sleep study, print both summaries, save a picture of the family effects."""
    check_out(out, (".png", ".pdf", ".svg"), force=True)
    import jaxlmm as lmm

    twins = lmm.fit(
        "y ~ Age.at.metagenomics.sample + IndividualBMI"
        " + (0 + dummy(twinstatus, 'MZ') | IndividualFamilyID)"
        " + (0 + dummy(twinstatus, 'DZ') | IndividualFamilyID)",
        lmm.datasets.twins(),
    )
    sleep = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    typer.echo(f"{twins.summary()}\n\n{'-' * 80}\n\n{sleep.summary()}\n")
    with exit_codes():
        save_figure(out, lmm.plot.ranef(twins, "IndividualFamilyID"))
    typer.echo(f"The family effects are drawn in {out}.")


@app.command()
def info() -> None:
    """Print versions and devices."""
    import importlib.metadata
    import platform

    import jax

    import jaxlmm

    typer.echo(f"jaxlmm {jaxlmm.__version__}")
    typer.echo(f"python {platform.python_version()} on {platform.platform()}")
    for name in ("jax", "jaxlib", "numpy", "pandas", "formulaic", "optax", "scipy"):
        typer.echo(f"{name} {importlib.metadata.version(name)}")
    for device in jax.devices():
        typer.echo(f"device {device} ({device.device_kind})")
