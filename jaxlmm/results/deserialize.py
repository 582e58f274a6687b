"""Fits from the file that they were saved to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.formula import ModelLabels
from jaxlmm.formula.columns import numbers_from_plain
from jaxlmm.inference import Uncertainty, Verdict
from jaxlmm.results.estimates import Estimates, Modes, Ranges
from jaxlmm.results.fit import Fit
from jaxlmm.results.many import FitMany
from jaxlmm.results.many import serialize as many_record
from jaxlmm.results.serialize import KIND, VERSION

VERSIONS = {KIND: VERSION, many_record.KIND: many_record.VERSION}
"""The version of the layout that can be read, by kind."""


def load_saved(path: str | PathLike[str]) -> Fit | FitMany:
    """Return what :meth:`jaxlmm.Fit.save` or :meth:`jaxlmm.FitMany.save` wrote.

    Raises
    ------
    DataError
        If it is another kind of file, incomplete, or of another version of the layout.
    OSError
        If it cannot be read.
    """
    record, version = _checked(path, Path(path).read_bytes())
    try:
        if record["kind"] == many_record.KIND:
            return FitMany(many_record.estimates_of(record), None)
        return Fit(_estimates(record), None)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        missing = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}: expected the fields of a fit (version {version}), got {missing}; the file was changed after it "
            "was saved. Save the fit again."
        ) from error


def _checked(path: str | PathLike[str], content: bytes) -> tuple[dict[str, Any], int]:
    """Return the record and its version, if it is what this version can read."""
    wanted = f"{path}: expected a fit saved by fit.save(path)"
    try:
        record = json.loads(content)
    except json.JSONDecodeError as error:
        text = error.doc.strip()
        short = text.startswith("{") and (not text.endswith("}") or error.pos >= len(error.doc.rstrip()))
        what = "JSON that ends too early (a truncated file)" if short else "no JSON"
        raise DataError(f"{wanted}, got {what}: {error}. Save the fit again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{wanted}, got a binary file; read data with pandas.") from error
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind not in VERSIONS:
        what = f"one of kind {kind!r}" if kind else f"JSON without kind {KIND!r}"
        raise DataError(f"{wanted}, got {what}.")
    version, readable = record.get("version"), VERSIONS[kind]
    if version != readable:
        newer = isinstance(version, int) and version > readable
        hint = "install a newer jaxlmm" if newer else "fit and save again with this version"
        raise DataError(f"{wanted} with layout version {readable}, got version {version!r}; {hint}.")
    return dict(record), readable


def _estimates(record: Mapping[str, Any]) -> Estimates:
    labels, arrays = ModelLabels.from_plain(record["model"]), record["inference"]
    k, p, s = len(arrays["theta"]), len(arrays["beta"]), len(arrays["psi_cov"])
    parameters, terms = len(labels.parameters), len(labels.terms)
    shapes = {
        "theta": (k,), "beta": (p,), "column_cov": (p, p), "report": (parameters,), "components": (terms + 1,),
        "psi_cov": (s, s), "report_cov": (parameters, parameters), "component_cov": (terms + 1, terms + 1),
        "vcov": (p, p), "vcov_derivative": (p, p, s),
    }  # fmt: skip
    if p != len(labels.fixed_names):
        raise ValueError(f"{p} numbers in beta for {len(labels.fixed_names)} columns")
    numbers = {name: numbers_from_plain(arrays[name], shape) for name, shape in shapes.items()}
    ranges = arrays["ranges"]
    return Estimates(
        labels=labels,
        method=record["method"],
        n=record["n"],
        n_dropped=record["n_dropped"],
        n_groups=dict(record["n_groups"]),
        solver=record["solver"],
        solver_reason=record["solver_reason"],
        device=record["device"],
        seconds=_number(record["seconds"]),
        deviance=_number(record["deviance"]),
        sigma=_number(record["sigma"]),
        is_singular=record["is_singular"],
        theta=numbers["theta"],
        beta=numbers["beta"],
        column_cov=numbers["column_cov"],
        report=numbers["report"],
        fixed=np.array(record["variance"]["fixed"], bool).reshape(parameters),
        components=numbers["components"],
        uncertainty=Uncertainty(**{name: numbers[name] for name in Uncertainty._fields}),
        verdict=_verdict(record["certificate"], s, parameters),
        modes=_modes(record, labels),
        ranges=Ranges(*(numbers_from_plain(ranges[name], (-1,)) for name in Ranges._fields)),
        notes=tuple(record["notes"]),
    )


def _number(value: Any) -> float:
    return float(numbers_from_plain(value, ()))


def _verdict(record: Mapping[str, Any], s: int, parameters: int) -> Verdict:
    flags = {name: np.array(record[name], bool).reshape(parameters) for name in ("at_boundary", "on_ridge")}
    return Verdict(
        status=record["status"],
        gradient=_number(record["gradient"]),
        min_eigenvalue=_number(record["min_eigenvalue"]),
        multipliers={name: _number(value) for name, value in record["multipliers"].items()},
        ridge={name: _number(value) for name, value in record["ridge"].items()},
        help=record["help"],
        null_directions=numbers_from_plain(record["null_directions"], (-1, s)),
        **flags,
    )


def _modes(record: Mapping[str, Any], labels: ModelLabels) -> tuple[Modes, ...]:
    found = []
    for term in labels.terms:
        ids = labels.groups[term.group].ids
        values, sds = (_taken(record[name][term.group]["columns"], term.columns) for name in ("ranef", "ranef_sd"))
        if len(values) != len(ids) or len(sds) != len(ids):
            raise ValueError(f"{len(values)} modes for {len(ids)} levels of {term.group}")
        found.append(Modes(values, sds))
    return tuple(found)


def _taken(table: Mapping[str, Any], columns: tuple[str, ...]) -> NumpyArray:
    """Return the ``columns`` of a table as an array (G, q) in C order."""
    return np.array(np.stack([numbers_from_plain(table[name], (-1,)) for name in columns], axis=1), order="C")
