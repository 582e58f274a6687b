"""``scan``: responses × markers."""

from __future__ import annotations

import dataclasses
import numbers
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxlmm._precision import in_double_precision
from jaxlmm.api.call import Call
from jaxlmm.api.names import named_options
from jaxlmm.api.progress import progress_bar
from jaxlmm.api.scan_data import lay_out
from jaxlmm.api.scan_task import WORDS, NullFits, Task
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.engine import Keeper, Pairs
from jaxlmm.errors import OptionError, choose
from jaxlmm.formula import ModelOptions
from jaxlmm.results import Scan, ScanHeader

TABLE_BYTES = 2**31
"""A table that would take more memory than this is not made."""

PAIR_BYTES = 160
"""What a row of the table takes."""


@named_options
def scan(
    formula: str,
    data: Any,
    *,
    genotypes: Any,
    responses: Any = None,
    id: str | None = None,
    kinship: Mapping[str, Any] | str | None = None,
    variances: str = "refit",
    tests: Sequence[str] = ("wald",),
    interaction: str | None = None,
    p_max: float | None = None,
    top: int | None = None,
    best: bool = False,
    precision: str = "float64",
    progress: bool | None = None,
    method: str = "REML",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
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
        Missing calls are filled by the marker's mean in the analysed samples.
    responses
        Many responses, as in :func:`jaxlmm.fit_many`.
    id
        The column of the data with the samples' ids (and those of the rows of a frame ``responses``). Without it, the
        group of the known matrix; without one, the index of the data.
    kinship
        As in :func:`jaxlmm.fit`, or ``"auto"``: the centered relationship matrix of the genotypes' markers with a minor
        allele frequency of at least 0.01 and at most 5 % missing calls in the analysed samples, for the group whose
        levels are the samples' ids.
    variances
        ``"refit"``: for every marker, exactly; ``"null"``: those of each response without a marker, the usual
        approximation, which takes thousands of responses; ``"kept"``: null, then refitted for what is kept.
    tests
        Of ``"wald"`` (F with n − p − 1 degrees of freedom), ``"lrt"`` (by ML, χ²), ``"score"`` (at the variances of
        the ML fit without a marker, in the F form of GEMMA: Zhou and Stephens 2012, doi:10.1038/ng.2310).
    interaction
        A numeric column x of the fixed effects: markers enter as g and g·x, each is tested alone and both together,
        and ``"lrt"`` and ``"score"`` are tests of both.
    p_max, top, best
        Which pairs are kept: those with a p-value of at most ``p_max`` (by the first of ``tests``, the joint one with
        an interaction), the ``top`` smallest of all, the ``best`` marker of each response. By default everything.
    precision
        ``"float64"``, or ``"float32"`` for the product that rotates markers, the greater part of the work: estimates
        and standard errors then change by about 1e-6 standard errors (measured on 1,410 mice: 6e-7 at most).
    progress
        Whether a bar is shown; by default on a terminal or in a notebook.
    method, weights, offset, covariance, residual, start, fixed
        As in :func:`jaxlmm.fit`. With something ``fixed`` the model's own solver tests the markers; fits without a
        marker begin at ``start``.

    Returns
    -------
    Scan
        A marker that cannot be tested has a status, never an exception.

    Raises
    ------
    FormulaError, DataError, KinshipError, GenotypeError, OptionError
        Before any computing.

    Notes
    -----
    With one variance ratio (one random term of one column) fixed effects and kinship are diagonalised once, and a
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
    known: Any = None if auto else kinship
    options = ModelOptions(weights=weights, offset=offset, kinship=known, covariance=covariance, residual=residual)
    if not isinstance(tests, Iterable):
        raise OptionError(f"tests: expected some of 'wald', 'lrt', 'score', got {tests!r}.")
    if interaction is not None and not isinstance(interaction, str):
        raise OptionError(f"interaction: expected the name of one column, got {interaction!r}.")
    wanted = Wanted(variances, tuple(tests) if not isinstance(tests, str) else (tests,), p_max, top, best, precision)
    call = Call(formula, data, options, method=method, start=start, fixed=fixed)
    return run_scan(call, genotypes, responses, id, auto, interaction, wanted, progress)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked of a scan, checked when it is made."""

    variances: str
    tests: tuple[str, ...]
    p_max: float | None
    top: int | None
    best: bool
    precision: str

    def __post_init__(self) -> None:
        choose("variances", self.variances, ("refit", "null", "kept"))
        choose("precision", self.precision, ("float64", "float32"))
        if not isinstance(self.best, bool):
            raise OptionError(f"best: expected True or False, got {self.best!r}.")
        for test in self.tests:
            choose("tests", test, ("wald", "lrt", "score"))
        if not self.tests:
            raise OptionError("tests: expected at least one of 'wald', 'lrt', 'score', got none.")
        if self.p_max is not None and not (isinstance(self.p_max, numbers.Real) and 0.0 < self.p_max <= 1.0):
            raise OptionError(f"p_max: expected a probability above 0 and up to 1, got {self.p_max!r}.")
        if self.top is not None and not (isinstance(self.top, numbers.Integral) and self.top >= 1):
            raise OptionError(f"top: expected a whole number of at least 1, got {self.top!r}.")
        if self.variances == "kept" and self.keeper().everything:
            raise OptionError("variances='kept': expected p_max=, top= or best=True to say what is kept, got none.")

    def keeper(self) -> Keeper:
        """Return what keeps the pairs that are asked for."""
        return Keeper(self.tests[0], self.p_max, self.top, self.best)

    @property
    def kept(self) -> str:
        """Say which pairs are kept."""
        parts = [] if self.p_max is None else [f"p ≤ {self.p_max:g}"]
        parts += [] if self.top is None else [f"the top {self.top}"]
        parts += ["the best of each response"] if self.best else []
        return f"kept: {', '.join(parts)} by {self.tests[0]}" if parts else "all"


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in a status, not in a warning
def run_scan(
    call: Call,
    genotypes: Any,
    responses: Any,
    id: str | None,
    auto: bool,
    interaction: str | None,
    wanted: Wanted,
    progress: bool | None,
) -> Scan:
    """Scan as :func:`scan` says."""
    started = time.perf_counter()
    laid = lay_out(call, genotypes, responses, id, auto, interaction)
    count, keeper = len(laid.genotypes.variants), wanted.keeper()
    _check_size(count, laid.y.shape[1], keeper, wanted)
    nulls = NullFits.of(laid, wanted.variances, wanted.tests)
    task = Task(laid, nulls, wanted.tests, wanted.precision)
    markers: Counter[str] = Counter()
    refit = wanted.variances == "refit"
    with progress_bar(count * len(task.patterns), progress, "markers") as done:
        for rows, places in task.patterns:
            markers.update(task.scan(rows, places, keeper, refit, done))
    pairs = keeper.finish()
    none = np.zeros(0, int)
    if pairs is None:
        pairs = Pairs.untested(none, none, none, none.astype(float), 1 if interaction is None else 2)
    elif wanted.variances == "kept":
        pairs = task.refitted(pairs)
    sizes = np.isfinite(laid.y).sum(axis=0)
    device = jax.devices()[0]
    header = ScanHeader(
        call.formula, call.method, wanted.variances, wanted.tests, interaction, wanted.precision, str(laid.matched),
        laid.kinship, task.engine, len(task.patterns), dict(markers.most_common()),
        {laid.read.names[place]: reason for place, reason in task.untested.items()}, keeper.n_pairs, wanted.kept,
        time.perf_counter() - started, f"{device} ({device.device_kind})",
    )  # fmt: skip

    return Scan(header, laid.read.names, laid.genotypes.variants, WORDS, pairs, sizes, keeper.everything, nulls.wanted)


def _check_size(markers: int, responses: int, keeper: Keeper, wanted: Wanted) -> None:
    size = markers * responses * PAIR_BYTES
    if keeper.everything and size > TABLE_BYTES:
        raise OptionError(
            f"scan: a table of {markers:,} markers × {responses:,} responses would take {size / 2**30:.1f} GB; say "
            "what is kept by p_max=, top= or best=True."
        )
