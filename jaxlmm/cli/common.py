"""What every command needs: the application, reading tables, exit codes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

USAGE_ERROR, DATA_ERROR, INTERRUPTED = 2, 3, 4
"""Exit codes: an option or a formula is wrong; the data cannot support the model; somebody pressed Ctrl-C."""

Force = Annotated[bool, typer.Option("--force", help="Overwrite --out.")]


def readers() -> dict[str, Callable[..., Any]]:
    """Return what reads a table, by the ending of its file."""
    import pandas as pd

    return {
        ".csv": pd.read_csv,
        ".tsv": functools.partial(pd.read_csv, sep="\t"),
        ".parquet": pd.read_parquet,
    }


def read(path: Path, what: str = "DATA") -> Any:
    """Return the table of a file."""
    known = readers()
    if path.suffix not in known:
        stop(f"{what}: expected a file ending in {', '.join(known)}, got {path}.", USAGE_ERROR)
    if not path.exists():
        stop(f"{what}: {path} does not exist.", DATA_ERROR)
    return known[path.suffix](path)


def stop(message: str, code: int) -> None:
    """Say what is wrong, and end with an exit code."""
    typer.echo(f"jaxlmm: {message}", err=True)
    raise typer.Exit(code)


def check_out(out: Path | None, endings: tuple[str, ...], force: bool) -> None:
    """Stop before any computing if the result cannot be written."""
    if out is not None and out.suffix not in endings:
        expected = " or ".join([", ".join(endings[:-1]), endings[-1]] if endings[1:] else endings)
        stop(f"--out: expected a file ending in {expected}, got {out}.", USAGE_ERROR)
    if out is not None and out.exists() and not force:
        stop(f"--out: {out} exists; give --force to overwrite it.", USAGE_ERROR)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what is wrong with a model or its data into a message and an exit code."""
    import jaxlmm as lmm

    try:
        yield
    except (lmm.FormulaError, lmm.OptionError) as error:
        stop(str(error), USAGE_ERROR)
    except lmm.JaxlmmError as error:
        stop(str(error), DATA_ERROR)
    except KeyboardInterrupt:
        stop("interrupted; nothing was written.", INTERRUPTED)
