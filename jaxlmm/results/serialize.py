"""One fit as plain numbers and words, written as JSON and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray, write_text
from jaxlmm.formula import ModelLabels
from jaxlmm.formula.columns import numbers_from_plain, numbers_to_plain
from jaxlmm.results.estimates import Estimates, Modes
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.plain import from_plain, merge, sizes_of, to_plain
from jaxlmm.results.tables import coef, ranef, ranef_sd, variance, vcov

KIND, VERSION = "jaxlmm.fit", 7
"""The kind of file, and the version of its layout."""

SCALARS = (
    "method", "status", "loglik", "deviance", "aic", "bic", "sigma", "n", "n_dropped", "n_groups", "n_params",
    "df_residual", "is_singular", "solver", "solver_reason", "device", "seconds",
)  # fmt: skip
"""Properties of a fit that stand first in the file, for its readers; where one has an estimate's name, it is saved."""


def save(fit: Fitted, path: str | PathLike[str]) -> None:
    """Write the fit as JSON that :func:`jaxlmm.load` and other programs read; it holds no row of the data.

    Tables (``coef``, ``variance``, ``vcov``, ``ranef``) are columns by name. Numbers have all their digits; NaN is
    written as null, infinities as ``"Infinity"`` and ``"-Infinity"``. What the file needs to predict stands under
    ``model`` and ``inference``.

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
    """
    write_text(path, json.dumps(_record(fit), indent=1, allow_nan=False) + "\n")


def estimates_of(record: Mapping[str, Any]) -> Estimates:
    """Return the estimates of a fit that :func:`save` wrote."""
    labels = ModelLabels.from_plain(record["model"])
    p, s = (len(record["inference"][name]) for name in ("beta", "psi_cov"))
    sizes = {**sizes_of(labels), "s": s}  # a ridge, which is read first, may have no direction to tell s
    if p != sizes["p"]:
        raise ValueError(f"{p} numbers in beta for {sizes['p']} columns")
    return from_plain(Estimates, record, sizes, labels=labels, modes=_modes(record, labels))


def _record(fit: Fitted) -> dict[str, Any]:
    """Return tables and scalars for readers of the file, and all estimates that are not among them."""
    scalars = {name: getattr(fit, name) for name in SCALARS}
    record: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "formula": fit.formula,
        "response": fit.estimates.labels.response,
        **{name: numbers_to_plain(value) if isinstance(value, float) else value for name, value in scalars.items()},
        "coef": _columns(coef(fit).reset_index()),
        "vcov": _columns(vcov(fit)),
        "variance": _columns(variance(fit).reset_index()),
    }
    modes = {"ranef": _tables(ranef(fit)), "ranef_sd": _tables(ranef_sd(fit))}
    merge(record, to_plain(fit.estimates, modes=modes))
    return record


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {
        str(name): numbers_to_plain(column) if column.dtype == float else column.tolist()
        for name, column in table.items()
    }


def _tables(tables: pd.DataFrame | dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Return levels × columns by group; the levels are their labels, as text."""
    assert isinstance(tables, dict)
    return {
        group: {"levels": [str(label) for label in table.index], "columns": _columns(table)}
        for group, table in tables.items()
    }


def _modes(record: Mapping[str, Any], labels: ModelLabels) -> tuple[Modes, ...]:
    """Read the modes of each term from the tables of its group."""
    by_term = []
    for term in labels.terms:
        ids = labels.groups[term.group].ids
        values, sds = (_array_of(record[name][term.group]["columns"], term.columns) for name in ("ranef", "ranef_sd"))
        if len(values) != len(ids) or len(sds) != len(ids):
            raise ValueError(f"{len(values)} modes for {len(ids)} levels of {term.group}")
        by_term.append(Modes(values, sds))
    return tuple(by_term)


def _array_of(table: Mapping[str, Any], columns: tuple[str, ...]) -> Float[NumpyArray, "L q"]:
    """Return the ``columns`` of a table as an array in C order."""
    return np.array(np.stack([numbers_from_plain(table[name], (-1,)) for name in columns], axis=1), order="C")
