"""Commands that fit models, show what they do, and say what runs here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlmm.cli.common import (
    DATA_ERROR,
    MAX_ROWS_PRINTED,
    USAGE_ERROR,
    app,
    check_out,
    executor_of,
    exit_codes,
    readers,
    save_figure,
    stop,
)
from jaxlmm.cli.ids import read_data, read_ids
from jaxlmm.cli.missing import MissingCode, codes_of
from jaxlmm.cli.options import (
    DEFAULTS,
    Dask,
    Data,
    FitArguments,
    Force,
    Formula,
    Id,
    Progress,
    Responses,
    RightSide,
    Workers,
    with_fit_options,
)


def _version(requested: bool) -> bool:
    if requested:
        import jaxlmm

        typer.echo(f"jaxlmm {jaxlmm.__version__}")
        raise typer.Exit
    return requested


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Linear mixed models in lme4's formulas."""


@app.command()
@with_fit_options
def fit(
    formula: Formula,
    data: Data,
    model: FitArguments = DEFAULTS,
    missing_code: MissingCode = None,
    out: Annotated[Path | None, typer.Option(help="Write the result to this .json file.")] = None,
    force: Force = False,
) -> None:
    """Fit one model and print its summary."""
    check_out(out, (".json",), force)
    import jaxlmm as lmm

    with exit_codes():
        codes = codes_of(missing_code)
        options = model.dispersion, model.zero_inflated
        frame = read_data(data, formula, model.kinship or [], None, model.residual, codes, *options)
        result = lmm.fit(formula, frame, **model.keywords())
        typer.echo(str(result.summary()))
        if out is not None:
            result.save(out)


@app.command()
@with_fit_options
def fit_many(
    formula: RightSide,
    data: Data,
    responses: Responses = None,
    id: Id = None,
    model: FitArguments = DEFAULTS,
    missing_code: MissingCode = None,
    workers: Workers = None,
    dask: Dask = None,
    progress: Progress = None,
    out: Annotated[Path | None, typer.Option(help="Write all coefficients to this .parquet, .csv or .tsv.")] = None,
    force: Force = False,
) -> None:
    """Fit one model to many responses, and print or write a table of their coefficients."""
    check_out(out, (".parquet", ".csv", ".tsv"), force)
    import jaxlmm as lmm
    from jaxlmm.results.tables import by_reason

    with exit_codes(), executor_of(workers, dask) as executor:
        codes = codes_of(missing_code)
        options = model.dispersion, model.zero_inflated
        frame = read_data(data, formula, model.kinship or [], id, model.residual, codes, *options)
        many = lmm.fit_many(
            formula,
            frame,
            responses=responses_of(responses or [], frame, codes, id),
            id=id,
            executor=executor,
            progress=progress,
            **model.keywords(),
        )
        typer.echo(str(many))
        failed = many.failed()
        if len(failed):
            _echo_table("Without a proven optimum", failed)
        if (many.status == "failed").all():
            reasons = by_reason(dict(zip(failed["response"], failed["reason"], strict=True)))
            stop(f"no response can be fitted: {'; '.join(reasons)}.", DATA_ERROR)
        if out is None:
            _echo_table("Coefficients", many.tidy())
        else:
            (many.to_parquet if out.suffix == ".parquet" else many.to_csv)(out)
            typer.echo(f"\nThe coefficients are in {out}.")


def _echo_table(title: str, table: Any) -> None:
    more = len(table) - MAX_ROWS_PRINTED
    typer.echo(f"\n{title}:\n{table.head(MAX_ROWS_PRINTED).to_string(index=False)}")
    if more > 0:
        typer.echo(f"... and {more} more rows")


def responses_of(arguments: list[str], data: Any, codes: Sequence[str] = (), id: str | None = None) -> Any:
    """Return None, names and patterns of columns of the data, or the frame of a file, which has a column of ids."""
    files = [argument for argument in arguments if argument not in data and Path(argument).suffix in readers()]
    if files and arguments[1:]:
        stop(f"--responses: expected one file or names of columns, got {', '.join(arguments)}.", USAGE_ERROR)
    for argument in arguments:
        parts = [part.strip() for part in argument.split(",")]
        if parts[1:] and argument not in data and all(part in data for part in parts):
            repeated = " ".join(f"--responses {shlex.quote(part)}" for part in parts)
            stop(
                f"--responses: expected one column each time, got {len(parts)} in {argument!r}; write {repeated}.",
                USAGE_ERROR,
            )
    return read_ids(Path(files[0]), [id] if id else [], "--responses", codes) if files else arguments or None


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
