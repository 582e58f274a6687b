"""Many fits as plain numbers and words, written as JSON and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

from jaxlmm._util import write_text
from jaxlmm.formula import ModelLabels
from jaxlmm.results.many.fitted import FittedMany
from jaxlmm.results.many_estimates import ManyEstimates
from jaxlmm.results.plain import from_plain, sizes_of, to_plain

KIND, VERSION = "jaxlmm.fit_many", 5
"""The kind of file, and the version of its layout."""


def save(many: FittedMany, path: str | PathLike[str]) -> None:
    """Write all fits as one JSON file that :func:`jaxlmm.load` and other programs read; it holds no row of the data.

    Numbers have all their digits; NaN is written as null, infinities as ``"Infinity"`` and ``"-Infinity"``. Tables can
    be made of the file; what needs rows (``fitted``, ``residuals``, ``ranef``, ``many["y"]``) cannot.

    Parameters
    ----------
    path
        The file; an existing one is replaced.

    Raises
    ------
    FormulaError
        If a level of a factor is of a type that JSON cannot say.
    OutputError
        If the file cannot be written; what was there is kept.

    Examples
    --------
    >>> import tempfile, jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> many = lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=["Reaction"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     many.save(f"{folder}/many.json")
    ...     again = lmm.load(f"{folder}/many.json")
    >>> again.tidy().equals(many.tidy())
    True
    """
    write_text(path, text_of(many) + "\n")


def text_of(many: FittedMany) -> str:
    """Return the JSON that :func:`save` writes."""
    head = {"kind": KIND, "version": VERSION, "formula": many.estimates.labels.formula}
    return json.dumps(head | to_plain(many.estimates), allow_nan=False)


def estimates_of(record: Mapping[str, Any]) -> ManyEstimates:
    """Return the estimates that :func:`save` wrote."""
    labels = ModelLabels.from_plain(record["model"])
    sizes = {"m": len(record["responses"]), **sizes_of(labels)}
    return from_plain(ManyEstimates, record, sizes, labels=labels)
