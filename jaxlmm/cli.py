"""The same verbs from a shell."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

USAGE_ERROR, DATA_ERROR = 2, 3
"""Exit codes: an option or a formula is wrong; the data cannot support the model."""


class Method(enum.StrEnum):
    """The criterion."""

    REML = "REML"
    ML = "ML"


def _read(path: Path) -> Any:
    import pandas as pd

    readers: dict[str, Callable[[Path], Any]] = {
        ".csv": pd.read_csv,
        ".tsv": lambda file: pd.read_csv(file, sep="\t"),
        ".parquet": pd.read_parquet,
    }
    if path.suffix not in readers:
        _stop(f"DATA: expected a file ending in {', '.join(readers)}, got {path}.", USAGE_ERROR)
    if not path.exists():
        _stop(f"DATA: {path} does not exist.", DATA_ERROR)
    return readers[path.suffix](path)


def _stop(message: str, code: int) -> None:
    typer.echo(f"jaxlmm: {message}", err=True)
    raise typer.Exit(code)


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
    formula: Annotated[str, typer.Argument(help="lme4's spelling, e.g. 'y ~ x + (1 + x | g)'.")],
    data: Annotated[Path, typer.Argument(help="A .csv, .tsv or .parquet file.")],
    method: Annotated[Method, typer.Option(help="The criterion.", case_sensitive=False)] = Method.REML,
    weights: Annotated[str | None, typer.Option(help="The column of weights: Var = sigma² / weight.")] = None,
    offset: Annotated[str | None, typer.Option(help="The column that is subtracted from the response.")] = None,
    kinship: Annotated[
        list[str] | None, typer.Option(help="GROUP=FILE: a known matrix (.csv with ids as first column). Repeatable.")
    ] = None,
    residual: Annotated[str | None, typer.Option(help="A residual structure, e.g. 'ou(time | id)'.")] = None,
    solver: Annotated[str, typer.Option(help="auto, moments, blocked or dense.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the result to this .json file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Fit one model and print its summary."""
    if out is not None and out.suffix != ".json":
        _stop(f"--out: expected a file ending in .json, got {out}.", USAGE_ERROR)
    if out is not None and out.exists() and not force:
        _stop(f"--out: {out} exists; give --force to overwrite it.", USAGE_ERROR)
    import jaxlmm as lmm

    frame = _read(data)
    try:
        result = lmm.fit(
            formula,
            frame,
            method=method.value,
            weights=weights,
            offset=offset,
            kinship=_matrices(kinship or [], frame),
            residual=residual,
            solver=solver,
        )
    except (lmm.FormulaError, lmm.OptionError) as error:
        _stop(str(error), USAGE_ERROR)
    except lmm.JaxlmmError as error:
        _stop(str(error), DATA_ERROR)
    typer.echo(str(result.summary()))
    if out is not None:
        result.save(out)


def _matrices(arguments: list[str], data: Any) -> dict[str, Any]:
    import pandas as pd

    found = {}
    for argument in arguments:
        group, separator, file = argument.partition("=")
        if not separator or not Path(file).exists():
            _stop(f"--kinship: expected GROUP=FILE with an existing file, got {argument!r}.", USAGE_ERROR)
        matrix = pd.read_csv(file, index_col=0)
        kind = data[group].dtype if group in data else object
        matrix.index, matrix.columns = matrix.index.astype(kind), matrix.columns.astype(kind)
        found[group] = matrix
    return found


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the picture of the family effects is saved.")] = Path(
        "family_effects.png"
    ),
) -> None:
    """Fit the twin study and the sleep study, print both summaries, save a picture of the family effects."""
    if out.suffix not in (".png", ".pdf", ".svg"):
        _stop(f"--out: expected a file ending in .png, .pdf or .svg, got {out}.", USAGE_ERROR)
    import jaxlmm as lmm

    twins = lmm.fit(
        "y ~ Age.at.metagenomics.sample + IndividualBMI"
        " + (0 + dummy(twinstatus, 'MZ') | IndividualFamilyID)"
        " + (0 + dummy(twinstatus, 'DZ') | IndividualFamilyID)",
        lmm.datasets.twins(),
    )
    sleep = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    typer.echo(f"{twins.summary()}\n\n{'-' * 80}\n\n{sleep.summary()}\n")
    figure: Any = lmm.plot.ranef(twins, "IndividualFamilyID").figure
    figure.savefig(out, dpi=150)
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


if __name__ == "__main__":
    app()
