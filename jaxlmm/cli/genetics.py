"""Commands that make known matrices between individuals."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from jaxlmm.cli.common import Force, app, check_out, exit_codes


class Scale(enum.StrEnum):
    """What a marker's column is divided by."""

    centered = "centered"
    standardized = "standardized"


@app.command()
def grm(
    genotypes: Annotated[Path, typer.Argument(help="A .bed file (.bim, .fam beside it) or .pgen (.pvar, .psam).")],
    out: Annotated[Path, typer.Option(help="Write the matrix to this .npz file, for --kinship id=FILE.")],
    scale: Annotated[Scale, typer.Option(help="As GEMMA's -gk 1 or -gk 2.")] = Scale.centered,
    maf: Annotated[float, typer.Option(help="Leave out markers with a rarer minor allele.")] = 0.01,
    missing: Annotated[float, typer.Option(help="Leave out markers with a larger share of missing calls.")] = 0.05,
    exclude_chromosome: Annotated[
        list[str] | None, typer.Option(help="Leave out markers on this chromosome. Repeatable.")
    ] = None,
    force: Force = False,
) -> None:
    """Compute the genomic relationship matrix of all samples of a genotype file."""
    check_out(out, (".npz",), force)
    import jaxlmm as lmm

    with exit_codes():
        matrix = lmm.genetics.grm(
            genotypes, scale=scale.value, maf=maf, missing=missing, exclude_chromosome=exclude_chromosome
        )
        matrix.save(out)
    typer.echo(f"{matrix}\nThe matrix is in {out}.")
