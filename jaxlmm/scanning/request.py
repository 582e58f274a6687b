"""A scan as it is asked for: its arguments, and the way into memory or into a folder."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from jaxlmm._util import in_double_precision
from jaxlmm.api import Call, progress_bar
from jaxlmm.errors import OptionError
from jaxlmm.scanning.checkpoint import Share, claimed
from jaxlmm.scanning.data import prepare_data
from jaxlmm.scanning.into_folder import FolderScan
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.scanning.output import HeldTable, Scan
from jaxlmm.scanning.run import ScanRun

MAX_TABLE_BYTES = 2**31
"""The most memory that a table of all pairs may take."""

TABLE_BYTES_PER_PAIR = 160
"""The memory that a row of the table takes."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScanRequest:
    """The arguments of :func:`jaxlmm.scan`, once its options are checked; ``auto`` says ``kinship="auto"``."""

    call: Call
    options: ScanOptions
    genotypes: Any
    responses: Any
    id: str | None
    auto: bool
    null: Any
    progress: bool | None
    out: Any
    resume: bool
    share: Share | None
    executor: Any


@in_double_precision
@np.errstate(all="ignore")  # numbers that are not finite end in a status, not in a warning
def run_scan(request: ScanRequest) -> Scan:
    """Scan as :func:`jaxlmm.scan` says."""
    started, options, out = time.perf_counter(), request.options, request.out

    def planned_run() -> ScanRun:
        data = prepare_data(request.call, request.genotypes, request.responses, request.id, request.auto, options)
        if out is None:
            _check_table_size(len(data.genotypes.variants), data.y.shape[1], options)
        return ScanRun(data, options, request.null, request.call.formula)

    if out is None:
        return _scan_into_memory(planned_run(), request.progress, started)
    with claimed(out, request.resume, request.share) as folder:
        run = planned_run()
        return FolderScan(folder, run, run.parts(), request.share, request.executor, request.progress, started).scan()


def _scan_into_memory(run: ScanRun, progress: bool | None, started: float) -> Scan:
    options, pair_filter, chunks = run.options, run.options.pair_filter(), run.chunks()
    with progress_bar(sum(chunk.n_pairs for chunk in chunks), progress, "tests") as advance:
        for chunk in chunks:
            run.scan(chunk, pair_filter, advance)
        pairs = run.kept_pairs(pair_filter)
    header = run.header(pair_filter.counts, time.perf_counter() - started)
    return Scan(header, HeldTable(pairs, run.names, options.tests, options.interaction), run.null)


def _check_table_size(markers: int, responses: int, options: ScanOptions) -> None:
    """Raise if a table of all pairs would not fit into memory."""
    size = markers * responses * TABLE_BYTES_PER_PAIR
    if options.pair_filter().everything and size > MAX_TABLE_BYTES:
        raise OptionError(
            f"scan: a table of {markers:,} markers × {responses:,} responses would take {size / 2**30:.1f} GB; say "
            "what is kept by p_max=, top= or best=True, or give a folder that it is written to by out=."
        )
