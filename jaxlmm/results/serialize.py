"""A fit as plain numbers and words, written as JSON."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import pandas as pd

from jaxlmm._util import write_text
from jaxlmm.formula.columns import numbers_to_plain
from jaxlmm.results.estimates import Estimates
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables import coef, ranef, ranef_sd, variance, vcov

KIND, VERSION = "jaxlmm.fit", 5
"""What the file is, and the version of its layout."""


def save(fit: Fitted, path: str | PathLike[str]) -> None:
    """Write the fit as JSON that :func:`jaxlmm.load` and other programs read; it holds no row of the data.

    Tables (``coef``, ``variance``, ``vcov``, ``ranef``) are columns by name. Numbers have all their digits; what is not
    a number is null, an infinite one ``"Infinity"``. What the file needs to predict stands under ``model`` and
    ``inference``.

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
    write_text(path, json.dumps(record(fit), indent=1, allow_nan=False) + "\n")


def record(fit: Fitted) -> dict[str, Any]:
    """Return what :func:`save` writes, as JSON types."""
    found = fit.estimates
    return {
        "kind": KIND,
        "version": VERSION,
        "formula": fit.formula,
        "response": found.labels.response,
        "method": fit.method,
        "status": fit.status,
        **{name: numbers_to_plain(getattr(fit, name)) for name in ("loglik", "deviance", "aic", "bic", "sigma")},
        "n": fit.n,
        "n_dropped": fit.n_dropped,
        "n_groups": fit.n_groups,
        "n_params": fit.n_params,
        "df_residual": fit.df_residual,
        "is_singular": fit.is_singular,
        "solver": fit.solver,
        "solver_reason": fit.solver_reason,
        "device": fit.device,
        "seconds": numbers_to_plain(fit.seconds),
        "coef": _columns(coef(fit).reset_index()),
        "vcov": _columns(vcov(fit)),
        "variance": _columns(variance(fit).reset_index()),
        "notes": list(found.notes),
        "certificate": _certificate(found),
        "ranef": _tables(ranef(fit)),
        "ranef_sd": _tables(ranef_sd(fit)),
        "model": found.labels.to_plain(),
        "inference": _inference(found),
    }


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {
        str(name): numbers_to_plain(column) if column.dtype == float else column.tolist()
        for name, column in table.items()
    }


def _tables(tables: pd.DataFrame | dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Levels × columns by group; the levels are their labels, as text."""
    assert isinstance(tables, dict)
    return {
        group: {"levels": [str(label) for label in table.index], "columns": _columns(table)}
        for group, table in tables.items()
    }


def _certificate(found: Estimates) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "status": verdict.status,
        "gradient": numbers_to_plain(verdict.gradient),
        "min_eigenvalue": numbers_to_plain(verdict.min_eigenvalue),
        "multipliers": {name: numbers_to_plain(value) for name, value in verdict.multipliers.items()},
        "ridge": {name: numbers_to_plain(value) for name, value in verdict.ridge.items()},
        "help": verdict.help,
        "null_directions": numbers_to_plain(verdict.null_directions),
        "at_boundary": verdict.at_boundary.tolist(),
        "on_ridge": verdict.on_ridge.tolist(),
    }


def _inference(found: Estimates) -> dict[str, Any]:
    """Return the arrays of :class:`Estimates` by name."""
    arrays = {name: getattr(found, name) for name in ("theta", "beta", "column_cov", "report", "components")}
    return {
        **{name: numbers_to_plain(array) for name, array in (arrays | found.uncertainty._asdict()).items()},
        "ranges": {name: numbers_to_plain(array) for name, array in found.ranges._asdict().items()},
    }
