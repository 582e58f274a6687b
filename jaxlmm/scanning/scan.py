"""``scan``: responses × markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from jaxlmm._util import check_executor
from jaxlmm.api import Call, FitOptions, named_options
from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.errors import OptionError, choose
from jaxlmm.results import FitMany
from jaxlmm.scanning.checkpoint import Share
from jaxlmm.scanning.loco import GivenKinship
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.scanning.output import Scan
from jaxlmm.scanning.request import ScanRequest, run_scan
from jaxlmm.solvers import AbstractSolver


@named_options
def scan(
    formula: str,
    data: Any,
    *,
    genotypes: Any,
    responses: Any = None,
    id: str | None = None,
    kinship: Mapping[str, Any] | str | None = None,
    loco: bool = False,
    variances: str = "refit",
    tests: Sequence[str] = ("wald",),
    interaction: str | None = None,
    condition_on: Sequence[str] = (),
    p_max: float | None = None,
    top: int | None = None,
    best: bool = False,
    null: FitMany | Mapping[str, FitMany] | None = None,
    precision: str = "float64",
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    share: tuple[int, int] | None = None,
    executor: Any = None,
    progress: bool | None = None,
    method: str = "REML",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | Along | None = None,
    dispersion: str | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    solver: str | type[AbstractSolver] = "auto",
    optimizer: Any = "newton",
) -> Scan:
    """Test every marker for every response, each marker as one more fixed effect of a mixed model.

    Parameters
    ----------
    formula
        As in :func:`jaxlmm.fit`, the model without a marker; with nothing left of ``~`` beside ``responses``.
    data
        A data frame (pandas, polars, pyarrow). Rows without genotypes or with a missing predictor are dropped, and
        counted; a missing response leaves the row out for that response alone.
    genotypes
        A path (``.bed``, ``.pgen``), a frame (ids × variants), an array with the rows of the data in their order, or
        what :func:`jaxlmm.genetics.genotypes` returns: coding, filters and a choice of markers are asked for there.
        Missing calls are filled by the marker's mean in the analyzed samples.
    responses
        Many responses, as in :func:`jaxlmm.fit_many`.
    id
        The column of the data with the samples' ids (and those of the rows of a frame ``responses``). Without it, the
        group of the known matrix; without one, the index of the data.
    kinship
        As in :func:`jaxlmm.fit`, or ``"auto"``: the centered relationship matrix of all markers of the genotypes'
        source with a minor allele frequency of at least 0.01 and at most 5 % missing calls among all genotyped samples,
        for the group whose levels are the samples' ids: what :func:`jaxlmm.genetics.grm` returns of the source,
        whatever responses there are and whichever markers are selected to be tested.
    loco
        Test the markers of each chromosome with the matrix of those on the others ("leave one chromosome out": Yang et
        al. 2014, doi:10.1038/ng.2876), so that a marker does not compete with itself and its neighbors. With
        ``kinship="auto"``, or ``kinship={"id": lmm.genetics.grm(files, loco=True)}``, or a dict with your own matrix
        for each chromosome; what a chromosome adds to the matrix is subtracted, and variances without a marker are
        estimated for each chromosome.
    variances
        ``"refit"``: for every marker, exactly; ``"null"``: those of each response without a marker, the usual
        approximation, which takes thousands of responses; ``"kept"``: null, then refitted for what is kept.
    tests
        Of ``"wald"`` (F with n − p − 1 degrees of freedom), ``"lrt"`` (by ML, χ²), ``"score"`` (at the variances of
        the ML fit without a marker, in the F form of GEMMA: Zhou and Stephens 2012, doi:10.1038/ng.2310).
    interaction
        A numeric column x of the fixed effects: markers enter as g and g·x, each is tested alone and both together,
        and ``"lrt"`` and ``"score"`` are tests of both.
    condition_on
        Names of markers of the source that are fixed effects in every test, as the strongest one of a locus, to see
        what is left beside it. A marker that they determine has the status ``collinear``.
    p_max, top, best
        Which pairs are kept: those with a p-value of at most ``p_max`` (by the first of ``tests``, the joint one with
        an interaction), the ``top`` smallest of all, the ``best`` marker of each response. By default everything.
    null
        Fits without a marker, which then are not made again: what :func:`jaxlmm.fit_many` returned for the same
        formula, criterion, responses and rows, or :attr:`Scan.null` of an earlier scan.
    precision
        ``"float64"``, or ``"float32"`` for the product that rotates markers, the greater part of the work: estimates
        and standard errors then change by about 1e-6 standard errors (measured on 1,410 mice: 6e-7 at most).
    out, resume
        A folder that the table is written to, part by part, and read from when it is asked for; needed where everything
        is kept and the table would take more than 2 GB. An interrupted scan goes on from its finished parts, each a
        minute or so of work, by the same call with ``resume=True``; files that are damaged or lost since are made
        again. One process at a time may be at work there, or one for each ``share``. The folder holds
        ``part-*.parquet``, the columns of :meth:`Scan.tidy`, for pandas, polars or anything else; ``null.parquet``, the
        fits without a marker; and ``manifest.json``. ``lmm.load(out)`` is the scan again. What is there is never
        overwritten.
    share
        ``(k, N)``: do the parts whose number is k modulo N alone, of a scan that N processes do into one folder
        ``out``, as the jobs of an array on a cluster; k is counted from 0 or from 1. Each prepares the scan for itself,
        and goes on where an earlier one was stopped. Whoever finds all parts done finishes the folder; the others
        return the scan of their own parts.
    executor
        Anything with the ``submit`` of :mod:`concurrent.futures`, in whose workers parts are scanned into the folder
        ``out``, which all of them see: a ``ProcessPoolExecutor`` whose processes are spawned, a
        ``dask.distributed.Client``, ``mpi4py.futures``, ``submitit``. Rows, decompositions and fits without a marker
        are prepared once, in the folder. A task whose worker died is tried once more.
    progress
        Whether a bar is shown; by default on a terminal or in a notebook.
    method, weights, offset, covariance, residual, dispersion, start, fixed, solver, optimizer
        As in :func:`jaxlmm.fit`. With something ``fixed``, or an optimizer or a solver that is asked for and does not
        diagonalize (as ``"spectral"`` does), the model's own solver tests the markers, more slowly where there is one
        variance ratio. Fits without a marker begin at ``start``. A model of
        ``dispersion`` is refused: give its optimum as ``weights``.

    Returns
    -------
    Scan
        A marker that cannot be tested has a status, never an exception.

    Raises
    ------
    FormulaError, DataError, KinshipError, GenotypeError, OptionError
        Before any computing.
    ResumeError
        If the folder holds another scan than the one that is to go on: another formula, option, response, predictor,
        matrix, or other genotypes (of which the variants and the calls of some markers are compared); or if another
        process is at work there.
    OutputError
        If the folder cannot be written.
    WorkerError
        If workers of the ``executor`` died or failed twice; ``resume=True`` goes on from the finished parts.

    Notes
    -----
    With one variance ratio (one random term of one column) fixed effects and kinship are diagonalized once, and a
    marker costs the product that rotates it (Kang et al. 2008; Zhou and Stephens 2012), whatever the covariates; the
    optimum of its variance ratio is found on sums that take a few per cent more. Any other structure is fitted by
    its own solver: markers are tested at the variances without a marker by products with the inverse of the covariance,
    or, refitted, by one fit each as in :func:`jaxlmm.fit_many`, which takes thousands of times as long; the print says
    which. ``h2`` and ``variance_ratio`` are those of the one random term, and NaN where there are several parameters.

    Examples
    --------
    >>> import jaxlmm as lmm, numpy as np, pandas as pd
    >>> mice = lmm.datasets.genotypes()
    >>> people = pd.DataFrame({"id": mice.index, "y": 3.0 * mice["rs0007"].to_numpy() + np.arange(100) % 7})
    >>> hits = lmm.scan("y ~ (1 | id)", people, genotypes=mice, kinship="auto")
    >>> hits.top(1)[["variant", "n", "estimate", "status"]].round(2)
      variant    n  estimate    status
    0  rs0007  100      3.03  boundary
    """
    auto = isinstance(kinship, str)
    if auto:
        choose("kinship", kinship, ("auto",))
    scan_options = ScanOptions.of(
        tests, variances=variances, interaction=interaction, p_max=p_max, top=top, best=best, precision=precision,
        loco=loco, condition_on=(condition_on,) if isinstance(condition_on, str) else tuple(condition_on),
    )  # fmt: skip
    known: Any = None if auto else kinship
    if loco and not auto and (not isinstance(known, Mapping) or GivenKinship.of(known) is None):
        raise OptionError(
            "loco=True: expected kinship='auto', or the matrices that each leave one chromosome out, as {'id': "
            "lmm.genetics.grm(files, loco=True)}, got "
            f"{'none' if kinship is None else 'a matrix, of which it is not known what each chromosome adds'}."
        )
    options = FitOptions(
        method=method, weights=weights, offset=offset, kinship=known, covariance=covariance, residual=residual,
        dispersion=dispersion, start=start, fixed=fixed, solver=solver, optimizer=optimizer,
    )  # fmt: skip
    if dispersion is not None:
        raise OptionError(
            "scan: expected one residual standard deviation, or known weights=, got dispersion=, whose rows would be "
            "weighted anew for every marker. Fit the model without a marker by lmm.fit, and give the inverse of its "
            "variances, exp(-2 * (x @ coefficients)), as weights=; or test few markers as fixed effects of lmm.fit."
        )
    if not isinstance(resume, bool) or (resume and out is None):
        raise OptionError(f"resume: expected True beside out=, the folder to go on from, or False, got {resume!r}.")
    if out is None and (share is not None or executor is not None):
        option = "executor" if share is None else "share"
        raise OptionError(f"{option}: expected it beside out=, the folder in which several processes meet.")
    if executor is not None:
        check_executor(executor)
    own_share = None if share is None else Share.of(share)
    call = Call(formula, data, options)
    return run_scan(
        ScanRequest(
            call, scan_options, genotypes, responses, id, auto, null, progress, out, resume, own_share, executor
        )
    )
