"""Commands that make known matrices between individuals."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from jaxlmm.cli.common import app, check_out, exit_codes
from jaxlmm.cli.ids import read_ids
from jaxlmm.cli.options import Force


class Scale(enum.StrEnum):
    """The scaling of a marker's column."""

    centered = "centered"
    standardized = "standardized"


class Chromosome(enum.StrEnum):
    """The chromosomes whose alleles are compared."""

    autosome = "autosome"
    X = "X"


@app.command()
def grm(
    genotypes: Annotated[
        list[str],
        typer.Argument(help="A .bed, .pgen, .bgen, .vcf, .vcf.gz or .bcf file, or several of the same samples."),
    ],
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
            genotypes[0] if len(genotypes) == 1 else genotypes,
            scale=scale.value,
            maf=maf,
            missing=missing,
            exclude_chromosome=exclude_chromosome,
        )
        matrix.save(out)
    typer.echo(f"{matrix}\nThe matrix is in {out}.")


@app.command()
def kinship(
    pedigree: Annotated[Path, typer.Argument(help="A .csv, .tsv or .parquet file with a row for each individual.")],
    out: Annotated[Path, typer.Option(help="Write the matrix to this .npz file, for --kinship id=2*FILE.")],
    id: Annotated[str, typer.Option(help="The column of ids.")] = "id",
    father: Annotated[str, typer.Option(help="The column of fathers: 0 or nothing if not known.")] = "father",
    mother: Annotated[str, typer.Option(help="The column of mothers.")] = "mother",
    sex: Annotated[str, typer.Option(help="The column of sexes: 1 or M, 2 or F, 0 or nothing if not known.")] = "sex",
    family: Annotated[
        str | None, typer.Option(help="The column of families, where ids are unique within families alone.")
    ] = None,
    relations: Annotated[
        Path | None, typer.Option(help="A file of twins with columns id1, id2, code (1 or MZ, 2 or DZ, 3 or UZ).")
    ] = None,
    chromosome: Annotated[Chromosome, typer.Option(help="Autosomes, or the X chromosome.")] = Chromosome.autosome,
    force: Force = False,
) -> None:
    """Compute the kinship coefficients of a pedigree: 0.5 with oneself, 0.25 between parent and child."""
    check_out(out, (".npz",), force)
    import jaxlmm as lmm

    families = [] if family is None else [family]
    people = read_ids(pedigree, [id, father, mother, *families], "PEDIGREE")
    twins = None if relations is None else read_ids(relations, ["id1", "id2", *families], "--relations")
    with exit_codes():
        matrix = lmm.genetics.kinship(
            people,
            id=id,
            father=father,
            mother=mother,
            sex=sex,
            family=family,
            relations=twins,
            chromosome=chromosome.value,
        )
        matrix.save(out)
    typer.echo(f"{matrix}\nThe matrix is in {out}.")
