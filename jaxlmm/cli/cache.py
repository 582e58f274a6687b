"""Commands about the compiled programs that are kept on disk."""

from __future__ import annotations

import typer

from jaxlmm.cli.common import USAGE_ERROR, app, stop

OFF = "JAXLMM_CACHE_DIR is empty, so no programs are kept. Unset it, or set it to a folder."

cache = typer.Typer(no_args_is_help=True, help="Show or remove the compiled programs that are kept on disk.")
app.add_typer(cache, name="cache")


@cache.command()
def info() -> None:
    """Show where compiled programs are kept, how many, and their size."""
    place = _store()
    if place is None:
        typer.echo(f"folder    none: {OFF}")
        return
    folder, programs, size = place.contents()
    typer.echo(f"folder    {folder}\nprograms  {programs}\nsize      {size / 1e6:.1f} MB")
    if place.trouble:
        typer.echo(f"not used  {place.trouble}")


@cache.command()
def clear() -> None:
    """Remove all compiled programs; they are compiled again when needed."""
    place = _store()
    if place is None:
        stop(OFF, USAGE_ERROR)
    _, programs, size = place.contents()
    place.clear()
    typer.echo(f"{programs} programs ({size / 1e6:.1f} MB) removed from {place.folder}.")


def _store():  # type: ignore[no-untyped-def]
    from jaxlmm._util import store

    return store()
