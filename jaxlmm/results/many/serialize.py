"""Many fits as plain numbers and words, written as JSON and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from jaxlmm._util import NumpyArray, write_text
from jaxlmm.formula import ModelLabels
from jaxlmm.formula.columns import numbers_from_plain, numbers_to_plain
from jaxlmm.inference import STATUS, Uncertainty
from jaxlmm.results.many.record import FittedMany
from jaxlmm.results.many_estimates import ManyEstimates

KIND, VERSION = "jaxlmm.fit_many", 3
"""What the file is, and the version of its layout."""

WORDS = ("method", "matched", "unmatched", "n_rows", "n_dropped", "n_groups", "solver", "solver_reason", "device")
"""What is text or a count as it stands."""


def save(many: FittedMany, path: str | PathLike[str]) -> None:
    """Write all fits as one JSON file that :func:`jaxlmm.load` and other programs read; it holds no row of the data.

    Numbers have all their digits; what is not a number is null, an infinite one ``"Infinity"``. Tables can be made of
    the file; what needs rows (``fitted``, ``residuals``, ``ranef``, ``many["y"]``) cannot.

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
    found = many.estimates
    record = {
        "kind": KIND,
        "version": VERSION,
        "formula": found.labels.formula,
        **{name: getattr(found, name) for name in WORDS},
        "seconds": found.seconds,
        "responses": list(found.names),
        "n": found.n.tolist(),
        "status": found.words.tolist(),
        "reason": found.reason.tolist(),
        "notes": list(found.notes),
        "is_singular": found.is_singular.tolist(),
        "at_boundary": found.at_boundary.tolist(),
        "model": found.labels.to_plain(),
        "bases": [numbers_to_plain(basis) for basis in found.bases],
        "numbers": {name: numbers_to_plain(getattr(found, name)) for name in _shapes(found.labels, 0, 0)},
        "uncertainty": {name: numbers_to_plain(array) for name, array in found.uncertainty._asdict().items()},
    }
    return json.dumps(record, allow_nan=False)


def estimates_of(record: Mapping[str, Any]) -> ManyEstimates:
    """Return what :func:`save` wrote."""
    labels = ModelLabels.from_plain(record["model"])
    m, p, r, t = len(record["responses"]), len(labels.fixed_names), len(labels.parameters), len(labels.terms) + 1
    k, s = (len(numbers[0]) if m else 0 for numbers in (record["numbers"]["theta"], record["uncertainty"]["psi_cov"]))
    numbers: dict[str, Any] = {
        name: numbers_from_plain(record["numbers"][name], shape) for name, shape in _shapes(labels, m, k).items()
    }
    squares = {"psi_cov": s, "report_cov": r, "component_cov": t, "vcov": p}
    shapes = {name: (m, size, size) for name, size in squares.items()} | {"vcov_derivative": (m, p, p, s)}
    uncertainty = {name: numbers_from_plain(record["uncertainty"][name], shape) for name, shape in shapes.items()}
    return ManyEstimates(
        labels=labels,
        names=tuple(record["responses"]),
        n=_integers(record["n"], m),
        status=_integers([STATUS.index(word) for word in record["status"]], m).astype(np.int8),
        reason=np.array(record["reason"], object).reshape(m),
        is_singular=np.array(record["is_singular"], bool).reshape(m),
        at_boundary=np.array(record["at_boundary"], bool).reshape(m, r),
        bases=tuple(np.array(basis, float) for basis in record["bases"]),
        uncertainty=Uncertainty(**uncertainty),
        seconds=float(record["seconds"]),
        notes=tuple(record["notes"]),
        **{name: record[name] for name in WORDS},
        **numbers,
    )


def _shapes(labels: ModelLabels, m: int, k: int) -> dict[str, tuple[int, ...]]:
    p, terms = len(labels.fixed_names), len(labels.terms)
    return {
        "deviance": (m,), "sigma": (m,), "theta": (m, k), "beta": (m, p), "column_cov": (m, p, p),
        "report": (m, len(labels.parameters)), "components": (m, terms + 1), "given": (len(labels.parameters),),
    }  # fmt: skip


def _integers(values: list[int], m: int) -> NumpyArray:
    return np.array(values, np.int64).reshape(m)
