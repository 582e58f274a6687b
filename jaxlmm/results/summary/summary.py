"""The printable summary of a fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxlmm.errors import OptionError
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.summary.content import SummaryContent, summary_content
from jaxlmm.results.summary.html import as_html
from jaxlmm.results.summary.text import as_text


@dataclasses.dataclass(frozen=True, repr=False)
class Summary:
    """The summary of a fit: ``print`` it, take its ``text``, or let a notebook show it."""

    content: SummaryContent

    @property
    def text(self) -> str:
        """The summary as plain text."""
        return as_text(self.content)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return as_html(self.content)


def summary(
    fit: Fitted,
    df: str = "satterthwaite",
    *,
    vcov: str = "model",
    cluster: Any = None,
    correlation: bool | None = None,
) -> Summary:
    """Return the printed summary of the fit; ``print`` it.

    Parameters
    ----------
    df, vcov, cluster
        As in :meth:`coef`, of the table of fixed effects.
    correlation
        Whether to show the correlations of the fixed effects' estimates; None shows those of up to 12.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> print(fit.summary().text.splitlines()[0])
    Linear mixed model fit by REML
    """
    if correlation is not None and not isinstance(correlation, bool | np.bool_):
        raise OptionError(f"correlation: expected None, True or False, got {correlation!r}.")
    return Summary(summary_content(fit, df, vcov, cluster, correlation))
