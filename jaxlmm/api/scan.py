"""``scan``: responses × markers."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxlmm._precision import in_double_precision
from jaxlmm._typing import NumpyArray
from jaxlmm.api.call import Call
from jaxlmm.api.many import run_many
from jaxlmm.api.names import named_options
from jaxlmm.api.progress import progress_bar
from jaxlmm.api.scan_data import ScanData, lay_out
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.engine import Keeper, Pairs, Scanner, ScanRows, Traits, block_size, has_one_ratio
from jaxlmm.errors import OptionError, choose
from jaxlmm.formula import ModelOptions
from jaxlmm.genetics.blocks import STATUSES, Block
from jaxlmm.results import FitMany, Scan, ScanHeader, words_of
from jaxlmm.results.many_rows import patterns_of

WORDS = words_of(tuple(STATUSES)[1:])
"""The words of a scan's status codes."""

TABLE_BYTES = 2**31
"""A table that would take more memory than this is not made."""

PAIR_BYTES = 160
"""What a row of the table takes."""

TOGETHER = 64
"""Responses whose variance ratios are refitted in one pass over the markers."""

PERFECT = 1e-12
"""A response of which the fixed effects leave no larger share has nothing to explain."""


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
        A path (``.bed``, ``.pgen``), a frame (ids × variants), an array with the rows of the data, or what
        :func:`jaxlmm.genetics.genotypes` returns: coding, filters and a choice of markers are asked for there.
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
        then have a relative error of about 1e-6 standard errors times the square root of the samples.
    progress
        Whether a bar is shown; by default on a terminal or in a notebook.
    method, weights, offset, covariance, residual
        As in :func:`jaxlmm.fit`.

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
    optimum of its variance ratio is found on sums that take a few per cent more.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> mice = lmm.datasets.genotypes()
    >>> people = pd.DataFrame({"id": mice.index, "y": mice["rs0007"].to_numpy() + np.arange(100) % 7})
    >>> hits = lmm.scan("y ~ (1 | id)", people, genotypes=mice, kinship="auto")
    >>> hits.top(1)[["variant", "n", "estimate", "status"]].round(2)
      variant    n  estimate    status
    0  rs0007  100      1.05  interior
    """
    auto = isinstance(kinship, str)
    if auto:
        choose("kinship", kinship, ("auto",))
    known: Any = None if auto else kinship
    options = ModelOptions(weights=weights, offset=offset, kinship=known, covariance=covariance, residual=residual)
    wanted = Wanted(variances, tuple(tests) if not isinstance(tests, str) else (tests,), p_max, top, best, precision)
    call = Call(formula, data, options, method=method)
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
        for test in self.tests:
            choose("tests", test, ("wald", "lrt", "score"))
        if not self.tests:
            raise OptionError("tests: expected at least one of 'wald', 'lrt', 'score', got none.")
        if self.p_max is not None and not 0.0 < self.p_max <= 1.0:
            raise OptionError(f"p_max: expected a probability above 0 and up to 1, got {self.p_max!r}.")
        if self.top is not None and (self.top != int(self.top) or self.top < 1):
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
    patterns, untested = _patterns(laid)
    markers: Counter[str] = Counter()
    with progress_bar(count * len(patterns), progress, "markers") as done:
        for rows, places in patterns:
            _pattern(laid, rows, places, wanted, keeper, markers, untested, done)
    pairs = keeper.finish()
    columns = 1 if interaction is None else 2
    none = np.zeros(0, int)
    if pairs is None:
        pairs = Pairs.untested(none, none, none, none.astype(float), columns)
    elif wanted.variances == "kept":
        pairs = _refit_kept(laid, patterns, wanted, pairs)
    sizes = np.isfinite(laid.y).sum(axis=0)
    device = jax.devices()[0]
    header = ScanHeader(
        call.formula, call.method, wanted.variances, wanted.tests, interaction, wanted.precision, str(laid.matched),
        laid.kinship, _engine(laid), len(patterns), dict(markers.most_common()),
        {laid.read.names[place]: reason for place, reason in untested.items()}, keeper.n_pairs, wanted.kept,
        time.perf_counter() - started, f"{device} ({device.device_kind})",
    )  # fmt: skip

    def null_fits() -> FitMany:
        frame = pd.DataFrame(laid.read.values[laid.matched.kept], columns=list(laid.read.names))
        plain = dataclasses.replace(laid.call, data=_unlabelled(laid.call.data))
        return run_many(plain, frame, None, False)

    return Scan(header, laid.read.names, laid.genotypes.variants, WORDS, pairs, sizes, keeper.everything, null_fits)


def _unlabelled(data: Any) -> Any:
    return data.reset_index(drop=True) if isinstance(data, pd.DataFrame) else data


def _engine(laid: ScanData) -> str:
    return "one variance ratio, diagonalised once" if laid.frame.design.terms else "linear model"


def _check_size(markers: int, responses: int, keeper: Keeper, wanted: Wanted) -> None:
    size = markers * responses * PAIR_BYTES
    if keeper.everything and size > TABLE_BYTES:
        raise OptionError(
            f"scan: a table of {markers:,} markers × {responses:,} responses would take {size / 2**30:.1f} GB; say "
            "what is kept by p_max=, top= or best=True."
        )


def _patterns(laid: ScanData) -> tuple[list[tuple[NumpyArray, NumpyArray]], dict[int, str]]:
    """Return the rows of each pattern of missing values with its responses, and which responses cannot be tested."""
    y = laid.y
    infinite, missing = np.isinf(y).any(axis=0), np.isnan(y).all(axis=0)
    untested = {int(place): "infinite" for place in np.flatnonzero(infinite)}
    untested |= {int(place): "all_missing" for place in np.flatnonzero(missing)}
    return patterns_of(y, np.flatnonzero(~(infinite | missing))), untested


def _traits(
    laid: ScanData, rows: NumpyArray, places: NumpyArray, wanted: Wanted, untested: dict[int, str]
) -> tuple[Traits, NumpyArray, NumpyArray] | None:
    """Return the responses of a pattern in their basis, their numbers, and the samples of the pattern."""
    every = laid.frame.design
    design = every.exact() if rows.size == int(every.n) else every.at_rows(rows)[0]
    samples, persons = np.unique(laid.persons[rows], return_inverse=True)
    moderator = None if laid.moderator is None else laid.moderator[rows]
    if rows.size - design.n_fixed <= 1 + (moderator is not None):
        untested |= {int(place): "too_few_rows" for place in places}
        return None
    panel = ScanRows.of(design, persons, samples.size, moderator, dtype=wanted.precision)
    y = laid.y[np.ix_(rows, places)]
    left = np.sum(panel.rotated(y) ** 2, axis=0) / np.sum((panel.root_weight[:, None] * y) ** 2, axis=0)
    varying = left > PERFECT**2
    for place, own in zip(places[~varying], y[:, ~varying].T, strict=True):
        untested[int(place)] = "constant" if np.ptp(own) == 0 else "perfect_fit"
    if not varying.any():
        return None
    return Traits.of(panel, y[:, varying], reml=laid.call.method == "REML"), places[varying], samples


def _pattern(
    laid: ScanData,
    rows: NumpyArray,
    places: NumpyArray,
    wanted: Wanted,
    keeper: Keeper,
    markers: Counter[str],
    untested: dict[int, str],
    done: Any,
) -> None:
    """Scan all markers for the responses of one pattern."""
    count = len(laid.genotypes.variants)
    prepared = _traits(laid, rows, places, wanted, untested)
    if prepared is None:
        done(count)
        return
    traits, places, samples = prepared
    refit = wanted.variances == "refit" and bool(laid.frame.design.terms)
    step = TOGETHER if refit else places.size
    for first in range(0, places.size, step):
        chosen = np.arange(first, min(first + step, places.size))
        scanner = _scanner(laid, traits.only(chosen), places[chosen], wanted, refit)
        for block in laid.genotypes.blocks(laid.sample_ids[samples], size=_block(count, samples.size)):
            _scan_block(scanner, block, places[chosen], keeper)
            if first == 0:
                markers.update(status or "tested" for status in block.status)
                done(block.markers.size)


def _scanner(laid: ScanData, traits: Traits, places: NumpyArray, wanted: Wanted, refit: bool) -> Scanner:
    size = block_size(len(laid.genotypes.variants))
    return Scanner(traits, places, refit=refit, reml=laid.call.method == "REML", tests=wanted.tests, size=size)


def _block(markers: int, samples: int) -> int:
    """Return how many markers are read at once: a multiple of those worked on, about 64 MB."""
    size = block_size(markers)
    return size * max(1, 2**23 // (size * max(samples, 1)))


def _scan_block(scanner: Scanner, block: Block, places: NumpyArray, keeper: Keeper) -> None:
    usable = block.keep
    if usable.all():
        scanner.scan(block.values, block.markers, block.frequency, keeper)
        return
    scanner.scan(block.values[:, usable], block.markers[usable], block.frequency[usable], keeper)
    if keeper.everything:
        codes = np.array([WORDS.index(word) for word in block.status[~usable]])
        for place in places:
            markers = block.markers[~usable]
            response = np.full(markers.size, place)
            keeper.add(Pairs.untested(response, markers, codes, block.frequency[~usable], scanner.columns))


def _refit_kept(laid: ScanData, patterns: list[tuple[NumpyArray, NumpyArray]], wanted: Wanted, pairs: Pairs) -> Pairs:
    """Return the same pairs with variance ratios refitted for each."""
    refitted = Keeper(wanted.tests[0], None, None, False)
    for rows, everyone in patterns:
        places = np.intersect1d(everyone, pairs.response)
        if not places.size:
            continue
        prepared = _traits(laid, rows, places, wanted, {})
        assert prepared is not None
        traits, _, samples = prepared
        for t, place in enumerate(places):
            markers = np.sort(pairs.marker[pairs.response == place])
            chosen = np.zeros(len(laid.genotypes.variants), bool)
            chosen[markers] = True
            scanner = _scanner(
                laid, traits.only(np.array([t])), np.array([place]), wanted, bool(laid.frame.design.terms)
            )
            for block in laid.genotypes.select(chosen).blocks(laid.sample_ids[samples]):
                scanner.scan(block.values, markers[block.markers], block.frequency, refitted)
    found = refitted.finish()
    assert found is not None
    return found
