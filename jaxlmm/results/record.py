"""A fit as plain numbers and words, for JSON."""

from __future__ import annotations

import json
import math
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from jaxlmm.results.fit import Fit

VERSION = 1
"""The version of the record's layout."""


def save(fit: Fit, path: str | PathLike[str]) -> None:
    """Write the fit's tables and scalars as JSON; what is not a finite number becomes null."""
    Path(path).write_text(json.dumps(record(fit), indent=1, allow_nan=False) + "\n")


def record(fit: Fit) -> dict[str, Any]:
    """Return the fit's tables and scalars; what is not a finite number is None."""
    certificate = fit.certificate
    scalars = fit.glance().drop(columns="reason").iloc[0].to_dict()
    modes, sds = fit.ranef(), fit.ranef_sd()
    assert isinstance(modes, dict)
    assert isinstance(sds, dict)
    return _plain(
        {
            "kind": "jaxlmm.fit",
            "version": VERSION,
            "formula": fit.formula,
            "response": fit.estimates.labels.response,
            **scalars,
            "n_dropped": fit.n_dropped,
            "n_groups": fit.n_groups,
            "solver_reason": fit.solver_reason,
            "device": fit.device,
            "is_singular": fit.is_singular,
            "theta": fit.theta.tolist(),
            "coef": fit.coef().to_dict(orient="index"),
            "vcov": fit.vcov().to_numpy().tolist(),
            "variance": fit.variance().to_dict(orient="index"),
            "certificate": {
                "status": certificate.status,
                "gradient": certificate.gradient,
                "min_eigenvalue": certificate.min_eigenvalue,
                "multipliers": certificate.multipliers.to_dict(),
                "ridge": certificate.ridge.to_dict(),
                "help": certificate.help,
            },
            "ranef": {group: _table(table) for group, table in modes.items()},
            "ranef_sd": {group: _table(table) for group, table in sds.items()},
        }
    )


def _table(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "levels": [str(label) for label in table.index],
        "columns": list(table.columns),
        "values": table.to_numpy().tolist(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
