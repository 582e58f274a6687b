"""The application, and the reading of tables, log files and exit codes of all commands."""

from __future__ import annotations

import contextlib
import csv
import datetime
import functools
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer

from jaxlmm.cli.missing import without_codes

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

USAGE_ERROR, DATA_ERROR, INTERRUPTED = 2, 3, 4
"""Exit codes: an option or a formula is wrong; the data cannot support the model; somebody pressed Ctrl-C, a file
cannot be written, or workers died."""

MAX_ROWS_PRINTED = 10
"""Rows of a table that are printed."""


def readers(codes: Sequence[str] = ()) -> dict[str, Callable[..., Any]]:
    """Return functions that read a table, by the ending of its file; ``codes`` stand for missing values in it."""
    import pandas as pd

    from jaxlmm._util import ALL_DIGITS

    # As R does: "None" and "N/A" are levels of factors.
    words = ["", "NA", "NaN", "nan", *codes]
    read_text = functools.partial(pd.read_csv, keep_default_na=False, na_values=words, **ALL_DIGITS)
    return {
        ".csv": read_text,
        ".tsv": functools.partial(read_text, sep="\t"),
        ".parquet": lambda path, **options: without_codes(pd.read_parquet(path, **options), codes),
    }


def read(path: Path, what: str = "DATA", codes: Sequence[str] = (), text: Iterable[str] = ()) -> Any:
    """Return the table of a file, in which ``codes`` stand for missing values.

    The columns ``text`` of a text file are not turned into numbers.
    """
    by_ending = readers(codes)
    if path.suffix not in by_ending:
        stop(f"{what}: expected a file ending in {', '.join(by_ending)}, got {path}.", USAGE_ERROR)
    if not path.exists():
        stop(f"{what}: {path} does not exist.", DATA_ERROR)
    options = {} if path.suffix == ".parquet" else {"dtype": dict.fromkeys(text, str)}
    with reading(path, what):
        return by_ending[path.suffix](path, **options)


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Stop where a file is no table that can be read, and say what is wrong with it."""
    import pandas as pd
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError:
        stop(f"{what}: expected text in UTF-8 in {path}, got another encoding; save it anew.", DATA_ERROR)
    except (OSError, pa.ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        stop(f"{what}: {path} cannot be read as a table: {reason}.", DATA_ERROR)


class Stop(typer.Exit):
    """The end of a command, with the message that says why."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(code)
        self.message = message


def stop(message: str, code: int) -> NoReturn:
    """Say what is wrong, and end with an exit code."""
    typer.echo(f"jaxlmm: {message}", err=True)
    raise Stop(message, code)


@contextlib.contextmanager
def logged(path: Path | None, more: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that prints a text and writes it to a log file, whose last line says how the command ended.

    ``more`` adds to a file that is there.
    """
    if path is None:
        yield typer.echo
        return
    import jaxlmm as lmm
    from jaxlmm._util import writing

    with _opened(path, more) as file:

        def note(text: str) -> None:
            with writing(path):
                file.write(f"{text}\n")
                file.flush()

        def last(text: str) -> None:  # what went wrong is not hidden by a log that cannot be written either
            with contextlib.suppress(lmm.OutputError):
                note(text)

        def say(text: str) -> None:
            typer.echo(text)
            note(text)

        with exit_codes():
            note(f"jaxlmm {lmm.__version__}, {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}")
            note(f"jaxlmm {shlex.join(sys.argv[1:])}\n")
        try:
            yield say
        except Stop as error:
            last(f"\nStopped: {error.message} (exit code {error.exit_code})")
            raise
        except BaseException as error:
            last(f"\nStopped: {type(error).__name__}: {error}")
            raise
        with exit_codes():
            note(f"\nDone, {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}")


@contextlib.contextmanager
def _opened(path: Path, more: bool) -> Iterator[TextIO]:
    """Open a log file; an error when it is closed is ignored, since each line was written out before."""
    from jaxlmm._util import writing

    with exit_codes(), writing(path):
        file = path.open("a" if more else "w", encoding="utf-8")
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


@contextlib.contextmanager
def executor_of(workers: int | None, dask: str | None) -> Iterator[Any]:
    """Yield what runs work in other processes: a pool of so many, or a client of a Dask scheduler; else None."""
    if workers is not None and dask is not None:
        stop("--workers: expected this or --dask, got both.", USAGE_ERROR)
    if workers is not None:
        if workers < 1:
            stop(f"--workers: expected a whole number of processes from 1, got {workers}.", USAGE_ERROR)
        import concurrent.futures
        import multiprocessing

        spawned = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawned) as pool:
            yield pool
    elif dask is not None:
        try:
            from distributed import Client
        except ModuleNotFoundError:
            stop("--dask: needs dask.distributed, which is not installed: pip install distributed.", USAGE_ERROR)
        try:
            client = Client(dask)
        except (OSError, ValueError, TimeoutError) as error:
            stop(f"--dask: no scheduler answers at {dask}: {str(error).splitlines()[0]}.", USAGE_ERROR)
        with client:
            yield client
    else:
        yield None


def save_figure(path: Path, axes: Any) -> None:
    """Write the figure of a plot to a file in the format of its ending."""
    from jaxlmm._util import write_whole

    write_whole(path, lambda aside: axes.figure.savefig(aside, dpi=150))


def check_out(out: Path | None, endings: tuple[str, ...] | None, force: bool, option: str = "--out") -> None:
    """Stop before any computing if a file cannot be written; without ``endings`` it may have any."""
    if out is not None and endings is not None and out.suffix not in endings:
        expected = " or ".join([", ".join(endings[:-1]), endings[-1]] if endings[1:] else endings)
        stop(f"{option}: expected a file ending in {expected}, got {out}.", USAGE_ERROR)
    if out is not None and out.exists() and not force:
        stop(f"{option}: {out} exists; give --force to overwrite it.", USAGE_ERROR)
    # Where a file stands in place of one of the folders, check_writable says so below.
    if out is not None and not out.parent.exists() and not any(folder.is_file() for folder in out.parents):
        stop(f"{option}: the folder {out.parent} does not exist.", USAGE_ERROR)
    if out is not None:
        from jaxlmm._util import check_writable

        with exit_codes():
            check_writable(out)


@contextlib.contextmanager
def exit_codes(interrupted: str = "nothing was written") -> Iterator[None]:
    """Turn the package's errors and Ctrl-C into a message and an exit code.

    ``interrupted`` is the message after Ctrl-C: the state of the files.
    """
    import jaxlmm as lmm

    try:
        yield
    except (lmm.FormulaError, lmm.OptionError) as error:
        stop(str(error), USAGE_ERROR)
    except (lmm.OutputError, lmm.WorkerError) as error:
        stop(str(error), INTERRUPTED)
    except lmm.JaxlmmError as error:
        stop(str(error), DATA_ERROR)
    except KeyboardInterrupt:
        stop(f"interrupted; {interrupted}.", INTERRUPTED)
