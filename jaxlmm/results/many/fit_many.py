"""The result of many fits: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlmm._util import write_whole
from jaxlmm.errors import DataError, OptionError, nearest
from jaxlmm.formula import ModelLabels, impossible_in_words
from jaxlmm.results.fit import Fit
from jaxlmm.results.foreign import FIT_MANY, answering
from jaxlmm.results.many.compare import compare
from jaxlmm.results.many.emmeans import emmeans, emtrends
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many.intervals import bootstrap, confint
from jaxlmm.results.many.moderate import moderate
from jaxlmm.results.many.rows import fitted, ranef, residuals
from jaxlmm.results.many.serialize import save
from jaxlmm.results.many.tables import anova, failed, glance, pve, ratio, test, tidy, variance
from jaxlmm.results.many_estimates import FAILED, joined
from jaxlmm.results.tables import noted, status_counts


def _kind(labels: ModelLabels) -> str:
    """Return what the models are, in words."""
    kind = "linear mixed" if labels.terms else "linear"
    return kind if labels.family is None else f"{labels.family.text} generalized {kind}"


@answering("many", FIT_MANY)  # names of other packages, as many.results, say what to write instead
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FitMany(FittedMany):
    """The same mixed model fitted to many responses. Made by :func:`jaxlmm.fit_many` or
    :func:`jaxlmm.load`; nothing in it changes.

    Tables have a row for each response and term, with ``status`` and ``reason``; ``many["name"]`` is the whole
    :class:`jaxlmm.Fit` of one response, fitted anew on its own rows (where ``poly`` and ``scale`` may differ).
    ``print(many)`` counts the statuses.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> sleep["constant"] = 1.0
    >>> many = lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=["Reaction", "constant"])
    >>> many.failed()[["response", "status", "reason"]]
       response  status    reason
    0  constant  failed  constant
    >>> many["Reaction"].status
    'interior'
    """

    def __repr__(self) -> str:
        estimates = self.estimates
        counts = f"{len(self)} responses ({status_counts(estimates.words)}){noted(estimates.notes, 'print it')}"
        return f"<jaxlmm FitMany: {estimates.labels.formula} by {estimates.method}, {counts}>"

    def __str__(self) -> str:
        estimates = self.estimates
        groups = "; ".join(f"{name}, {count}" for name, count in estimates.n_groups.items()) or "none"
        dropped = f" ({estimates.n_dropped} dropped: missing values)" if estimates.n_dropped else ""
        not_in_data = f"; {estimates.unmatched} rows of theirs are not in the data" if estimates.unmatched else ""
        lines = [
            f"{len(self)} {_kind(estimates.labels)} models by {estimates.method}",
            f"Formula: {estimates.labels.formula}",
            f"Rows: {estimates.n_rows}{dropped}   Groups: {groups}",
            f"Responses: {len(self)}, matched {estimates.matched}{not_in_data}",
            *([] if estimates.labels.family is None else [f"Integrals: {estimates.labels.family.approximation}"]),
            f"Solver: {estimates.solver} ({estimates.solver_reason})",
            f"Status: {status_counts(estimates.words)}",
            *estimates.notes,
            f"Time: {estimates.seconds:.2f} s on {estimates.device}",
        ]
        return "\n".join(lines)

    def __getitem__(self, response: str) -> Fit:
        if response not in self.estimates.names:
            raise OptionError(f"{response!r} is no response; {nearest(str(response), self.estimates.names)}.")
        index = self.estimates.names.index(response)
        if self.estimates.status[index] == FAILED:
            raise DataError(f"response {response!r} has no fit: {self.estimates.reason[index]}{self._why(index)}.")
        made_from = self._made_from
        return made_from.call.single(response, made_from.y[:, index])

    def _why(self, index: int) -> str:
        """Return which value the family cannot have, where that is why a response has no fit; else an empty text."""
        if self.estimates.reason[index] != "not_of_family" or self.origin is None:
            return ""
        frame, y = self.origin.frame, self.origin.y[self.origin.frame.used, index]
        assert frame.design.distribution is not None
        seen, row_data = ~np.isnan(y), frame.row_data
        own = None if row_data is None else row_data[seen]
        return f", {impossible_in_words(frame.design.distribution.family, y[seen], own, frame.index[seen])}"

    @classmethod
    def joined(cls, parts: Sequence[FitMany]) -> FitMany:
        """Return fits of one model as one, each response once: that of the first part which has it; without rows."""
        return cls(joined([part.estimates for part in parts]), None)

    def to_parquet(self, path: str | Path) -> None:
        """Write :meth:`tidy` to a parquet file; an ``OutputError`` says why if that is not possible."""
        table = self.tidy()
        write_whole(path, lambda aside: aside.write_bytes(table.to_parquet(index=False)))

    def to_csv(self, path: str | Path) -> None:
        """Write :meth:`tidy` to a CSV file, or to one with tabs if ``path`` ends in ``.tsv``, as :meth:`to_parquet`."""
        table, sep = self.tidy(), "\t" if str(path).endswith(".tsv") else ","
        write_whole(path, lambda aside: table.to_csv(aside, index=False, sep=sep))

    # ---- tables and rows: functions of many fits -----------------------------------------------------------------

    tidy = tidy
    variance = variance
    glance = glance
    anova = anova
    test = test
    ratio = ratio
    pve = pve
    failed = failed
    moderate = moderate
    emmeans = emmeans
    emtrends = emtrends
    compare = compare

    confint = confint
    bootstrap = bootstrap

    fitted = fitted
    residuals = residuals
    ranef = ranef

    save = save
