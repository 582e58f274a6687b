"""``jaxlmm scan``: responses × markers from a shell."""

from __future__ import annotations

import contextlib
import enum
import shutil
from collections.abc import Iterator
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
    logged,
    save_figure,
    stop,
)
from jaxlmm.cli.fitting import responses_of
from jaxlmm.cli.ids import read_data
from jaxlmm.cli.matrices import Kinship
from jaxlmm.cli.missing import MissingCode, codes_of
from jaxlmm.cli.options import (
    DEFAULTS,
    Dask,
    Data,
    FitArguments,
    Force,
    Id,
    Progress,
    Responses,
    RightSide,
    Workers,
    with_scan_options,
)
from jaxlmm.cli.samples import chosen, id_column, with_covariates


class Variances(enum.StrEnum):
    """The variances at which markers are tested."""

    refit = "refit"
    null = "null"
    kept = "kept"


class Test(enum.StrEnum):
    """A test of a marker."""

    wald = "wald"
    lrt = "lrt"
    score = "score"


class Coding(enum.StrEnum):
    """The coding of counts of the effect allele."""

    additive = "additive"
    dominant = "dominant"
    recessive = "recessive"


class Style(enum.StrEnum):
    """Columns of the table that is written."""

    tidy = "tidy"
    gwas_ssf = "gwas-ssf"
    regenie = "regenie"


@app.command()
@with_scan_options
def scan(
    formula: RightSide,
    data: Data,
    genotypes: Annotated[
        list[str],
        typer.Option(
            help="A .bed file (.bim, .fam beside it), .pgen (.pvar, .psam), .bgen, .vcf, .vcf.gz or .bcf, or a pattern "
            "such as 'chr*.bed'. Repeatable."
        ),
    ],
    responses: Responses = None,
    id: Id = None,
    kinship: Kinship = None,
    loco: Annotated[bool, typer.Option("--loco", help="--kinship auto without the marker's own chromosome.")] = False,
    variances: Annotated[Variances, typer.Option(help="Refitted for each marker, or those without one.")] = (
        Variances.refit
    ),
    tests: Annotated[list[Test] | None, typer.Option(help="By default wald. Repeatable.")] = None,
    interaction: Annotated[str | None, typer.Option(help="A column that markers interact with.")] = None,
    condition_on: Annotated[
        list[str] | None, typer.Option(help="A marker that is a fixed effect in every test. Repeatable.")
    ] = None,
    coding: Annotated[Coding, typer.Option(help="Of counts of the effect allele.")] = Coding.additive,
    maf: Annotated[float, typer.Option(help="Leave out markers with a rarer minor allele.")] = 0.0,
    missing: Annotated[float, typer.Option(help="Leave out markers with a larger share of missing calls.")] = 0.05,
    mac: Annotated[float, typer.Option(help="Leave out markers whose minor allele is counted less often.")] = 0.0,
    info: Annotated[
        float, typer.Option(help="Leave out markers whose dosages vary less, relative to genotypes.")
    ] = 0.0,
    hwe: Annotated[float, typer.Option(help="Leave out markers with a smaller p-value of Hardy-Weinberg.")] = 0.0,
    chromosome: Annotated[list[str] | None, typer.Option(help="Only this chromosome. Repeatable.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Only CHROMOSOME:FIRST-LAST, as 6:25000000-34000000. Repeatable.")
    ] = None,
    extract: Annotated[Path | None, typer.Option(help="A file with a marker's name in each line.")] = None,
    p_max: Annotated[float | None, typer.Option(help="Keep tests with a p-value of at most this.")] = None,
    top: Annotated[int | None, typer.Option(help="Keep this many, those with the smallest p-values.")] = None,
    best: Annotated[bool, typer.Option("--best", help="Keep the best marker of each response.")] = False,
    model: FitArguments = DEFAULTS,
    null: Annotated[
        Path | None,
        typer.Option(help="Fits without a marker: a file of FitMany.save, or an earlier scan's folder."),
    ] = None,
    covariates: Annotated[
        Path | None, typer.Option(help="A file by sample (--id, or IID); its columns become fixed effects.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="A file with a sample (or family and sample) in each line, or with a header (#IID, FID IID)."
        ),
    ] = None,
    remove: Annotated[Path | None, typer.Option(help="A file of samples to leave out.")] = None,
    missing_code: MissingCode = None,
    progress: Progress = None,
    plot: Annotated[Path | None, typer.Option(help="Save a Manhattan plot to this .png, .pdf or .svg file.")] = None,
    threshold: Annotated[float, typer.Option(help="The p-value of the line in --plot.")] = 5e-8,
    qq: Annotated[Path | None, typer.Option(help="Save a Q-Q plot of the p-values to this .png, .pdf or .svg.")] = None,
    log: Annotated[Path | None, typer.Option(help="Write what is printed to this file too.")] = None,
    style: Annotated[Style, typer.Option(help="Columns of a file --out.")] = Style.tidy,
    out: Annotated[
        Path | None, typer.Option(help="Write all tests to this folder, in parts, or to this .tsv or .tsv.gz file.")
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(help="K/N: of a scan into the folder --out that N processes do, the parts K modulo N alone."),
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted scan in --out.")] = False,
    force: Force = False,
) -> None:
    """Test every marker of a genotype file for one or many responses; --kinship auto makes the matrix from them."""
    folder = _folder(out, style, resume, force)
    own_share = None if share is None else _share(share, folder, force)
    if folder is None and not (workers is None and dask is None):
        option = "--dask" if workers is None else "--workers"
        stop(f"{option}: expected --out with a folder, in which the processes meet.", USAGE_ERROR)
    check_out(None if folder else out, (".tsv", ".gz"), force)
    check_out(plot, (".png", ".pdf", ".svg"), force or resume, "--plot")
    check_out(qq, (".png", ".pdf", ".svg"), force or resume, "--qq")
    check_out(log, None, force or resume, "--log")
    if kinship and "auto" in kinship and len(kinship) > 1:
        stop("--kinship: expected auto alone or GROUP=FILE, got both.", USAGE_ERROR)
    import jaxlmm as lmm

    interrupted = "nothing was written" if folder is None else f"finished parts are in {folder}: go on with --resume"
    with logged(log, resume) as say, exit_codes(interrupted):
        codes = codes_of(missing_code)
        frame = read_data(data, formula, kinship or [], id, model.residual, codes, model.dispersion)
        if covariates or keep or remove:
            option = "--covariates" if covariates else "--keep" if keep else "--remove"
            column = id_column(id, formula, kinship or [], frame, option)
            frame, notes = chosen(frame, column, keep, remove)
            if covariates:
                frame, formula, names = with_covariates(frame, formula, covariates, column, codes)
                notes.append(f"--covariates {covariates}: {', '.join(names)}")
            say("\n".join(notes))
        fits = None if null is None else _null(null)
        markers = lmm.genetics.genotypes(
            genotypes[0] if len(genotypes) == 1 else genotypes, coding=coding.value, maf=maf, missing=missing, mac=mac,
            info=info, hwe=hwe, chromosome=chromosome or None, region=region or None, extract=extract,
        )  # fmt: skip
        with _set_aside(folder, force), executor_of(workers, dask) as executor:
            hits = lmm.scan(
                formula,
                frame,
                genotypes=markers,
                responses=responses_of(responses or [], frame, codes, id),
                id=id,
                loco=loco,
                variances=variances.value,
                tests=[test.value for test in tests or [Test.wald]],
                interaction=interaction,
                condition_on=condition_on or [],
                p_max=p_max,
                top=top,
                best=best,
                progress=progress,
                **model.keywords(auto=True),
                null=fits,
                out=folder,
                resume=resume,
                share=own_share,
                executor=executor,
            )
        say(str(hits))
        if hits.header.nothing_tested and own_share is None:
            stop(f"{hits.header.nothing_tested}.", DATA_ERROR)
        columns = ["response", "chromosome", "position", "variant", "estimate", "std_error", "status"]
        head = hits.top(MAX_ROWS_PRINTED)
        shown = [*columns[:-1], *(str(name) for name in head if str(name).startswith("p_value")), columns[-1]]
        say(f"\nThe smallest p-values:\n{head[shown].to_string(index=False)}")
        if out is not None:
            if folder is None:
                hits.to_tsv(out, style=style.value)
            say(f"\nThe tests are in {out}.")
        if plot is not None:
            save_figure(plot, lmm.plot.manhattan(hits, hits.responses[0], threshold=threshold))
            say(f"The Manhattan plot of {hits.responses[0]} is in {plot}.")
        if qq is not None:
            save_figure(qq, lmm.plot.qq_p(hits, hits.responses[0]))
            say(f"The Q-Q plot of {hits.responses[0]} is in {qq}.")


def _folder(out: Path | None, style: Style, resume: bool, force: bool) -> Path | None:
    """Return the folder that is to be written, if it is one."""
    folder = out if out is not None and (not out.suffix or out.is_dir()) else None
    if resume and (folder is None or force):
        stop("--resume: expected --out with the folder to go on with, and no --force.", USAGE_ERROR)
    if folder is not None and style is not Style.tidy:
        stop(f"--style: expected --out with a .tsv or .tsv.gz file, got the folder {folder}.", USAGE_ERROR)
    return folder


def _share(text: str, folder: Path | None, force: bool) -> tuple[int, int]:
    """Return the numbers of K/N."""
    if folder is None or force:
        stop("--share: expected --out with the folder in which all shares meet, and no --force.", USAGE_ERROR)
    first, _, second = text.partition("/")
    try:
        return int(first), int(second)
    except ValueError:
        stop(f"--share: expected K/N, two whole numbers such as 3/500, got {text!r}.", USAGE_ERROR)


@contextlib.contextmanager
def _set_aside(folder: Path | None, force: bool) -> Iterator[None]:
    """Move an earlier scan in ``folder`` aside: back again if nothing is written, else it is deleted.

    One that an earlier process had moved aside when it was killed is deleted. A folder that holds no scan is an error.
    """
    if folder is None or not force or not folder.is_dir() or not any(folder.iterdir()):
        yield
        return
    from jaxlmm._util import writing
    from jaxlmm.scanning.checkpoint import check_folder
    from jaxlmm.scanning.output import MANIFEST, read_manifest

    check_folder(folder)
    read_manifest(folder)
    aside = folder.with_name(f".{folder.name}.old")
    with writing(folder):
        if (aside / MANIFEST).is_file():
            shutil.rmtree(aside)
        folder.rename(aside)
    try:
        yield
    except BaseException:
        if not folder.exists():
            aside.rename(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _null(path: Path) -> Any:
    """Return the fits without a marker of a file or of a scan's folder."""
    import jaxlmm as lmm

    if not path.exists():
        stop(f"--null: {path} does not exist.", DATA_ERROR)
    loaded = lmm.load(path)
    return loaded.null if isinstance(loaded, lmm.Scan) else loaded
