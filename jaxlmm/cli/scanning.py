"""``jaxlmm scan``: responses × markers from a shell."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlmm.cli.common import USAGE_ERROR, Force, app, check_out, exit_codes, read, stop
from jaxlmm.cli.fitting import (
    Criterion,
    Data,
    Id,
    Method,
    Offset,
    Progress,
    Responses,
    RightSide,
    Weights,
    responses_of,
)
from jaxlmm.cli.known import Kinship, matrices

SHOWN = 10
"""Rows that are printed."""


class Variances(enum.StrEnum):
    """Which variances markers are tested at."""

    refit = "refit"
    null = "null"
    kept = "kept"


class Test(enum.StrEnum):
    """A test of a marker."""

    wald = "wald"
    lrt = "lrt"
    score = "score"


class Coding(enum.StrEnum):
    """How counts of the effect allele are coded."""

    additive = "additive"
    dominant = "dominant"
    recessive = "recessive"


class Style(enum.StrEnum):
    """Columns of the table that is written."""

    tidy = "tidy"
    gwas_ssf = "gwas-ssf"
    regenie = "regenie"


@app.command()
def scan(
    formula: RightSide,
    data: Data,
    genotypes: Annotated[Path, typer.Option(help="A .bed file (.bim, .fam beside it) or .pgen (.pvar, .psam).")],
    responses: Responses = None,
    id: Id = None,
    kinship: Kinship = None,
    variances: Annotated[Variances, typer.Option(help="Refitted for each marker, or those without one.")] = (
        Variances.refit
    ),
    tests: Annotated[list[Test] | None, typer.Option(help="By default wald. Repeatable.")] = None,
    interaction: Annotated[str | None, typer.Option(help="A column that markers interact with.")] = None,
    coding: Annotated[Coding, typer.Option(help="Of counts of the effect allele.")] = Coding.additive,
    maf: Annotated[float, typer.Option(help="Leave out markers with a rarer minor allele.")] = 0.0,
    missing: Annotated[float, typer.Option(help="Leave out markers with a larger share of missing calls.")] = 0.05,
    chromosome: Annotated[list[str] | None, typer.Option(help="Only this chromosome. Repeatable.")] = None,
    extract: Annotated[Path | None, typer.Option(help="A file with a marker's name in each line.")] = None,
    p_max: Annotated[float | None, typer.Option(help="Keep tests with a p-value of at most this.")] = None,
    top: Annotated[int | None, typer.Option(help="Keep this many, those with the smallest p-values.")] = None,
    best: Annotated[bool, typer.Option("--best", help="Keep the best marker of each response.")] = False,
    method: Criterion = Method.REML,
    weights: Weights = None,
    offset: Offset = None,
    progress: Progress = None,
    plot: Annotated[Path | None, typer.Option(help="Save a Manhattan plot to this .png, .pdf or .svg file.")] = None,
    style: Annotated[Style, typer.Option(help="Columns of --out.")] = Style.tidy,
    out: Annotated[Path | None, typer.Option(help="Write all tests to this .tsv or .tsv.gz file.")] = None,
    force: Force = False,
) -> None:
    """Test every marker of a genotype file for one or many responses; --kinship auto makes the matrix from them."""
    check_out(out, (".tsv", ".gz"), force)
    check_out(plot, (".png", ".pdf", ".svg"), force)
    if kinship and "auto" in kinship and len(kinship) > 1:
        stop("--kinship: expected auto alone or GROUP=FILE, got both.", USAGE_ERROR)
    import jaxlmm as lmm

    frame = read(data)
    auto = kinship == ["auto"]
    with exit_codes():
        chosen = lmm.genetics.genotypes(
            genotypes, coding=coding.value, maf=maf, missing=missing, chromosome=chromosome or None, extract=extract
        )
        hits = lmm.scan(
            formula,
            frame,
            genotypes=chosen,
            responses=responses_of(responses or [], frame),
            id=id,
            kinship="auto" if auto else matrices(kinship or []),
            variances=variances.value,
            tests=[test.value for test in tests or [Test.wald]],
            interaction=interaction,
            p_max=p_max,
            top=top,
            best=best,
            progress=progress,
            method=method.value,
            weights=weights,
            offset=offset,
        )
        typer.echo(str(hits))
        columns = ["response", "chromosome", "position", "variant", "estimate", "std_error", "status"]
        head = hits.top(SHOWN)
        shown = [*columns[:-1], *(str(name) for name in head if str(name).startswith("p_value")), columns[-1]]
        typer.echo(f"\nThe smallest p-values:\n{head[shown].to_string(index=False)}")
        if out is not None:
            hits.to_tsv(out, style=style.value)
            typer.echo(f"\nThe tests are in {out}.")
        if plot is not None:
            figure: Any = lmm.plot.manhattan(hits, hits.responses[0]).figure
            figure.savefig(plot, dpi=150)
            typer.echo(f"The Manhattan plot of {hits.responses[0]} is in {plot}.")
