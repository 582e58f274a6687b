"""Fits, one or many, from the file that they were saved to."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from jaxlmm.errors import DataError
from jaxlmm.results import many, serialize
from jaxlmm.results.fit import Fit
from jaxlmm.results.many import FitMany

VERSIONS = {serialize.KIND: serialize.VERSION, many.serialize.KIND: many.serialize.VERSION}
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
        if record["kind"] == many.serialize.KIND:
            return FitMany(many.serialize.estimates_of(record), None)
        return Fit(serialize.estimates_of(record), None)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        missing = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}: expected the fields of a fit (version {version}), got {missing}; the file was changed after it "
            "was saved. Save the fit again."
        ) from error


def _checked(path: str | PathLike[str], content: bytes) -> tuple[dict[str, Any], int]:
    """Return the record and its version, if it is what this version can read."""
    expected = f"{path}: expected a fit saved by fit.save(path)"
    try:
        record = json.loads(content)
    except json.JSONDecodeError as error:
        text = error.doc.strip()
        truncated = text.startswith("{") and (not text.endswith("}") or error.pos >= len(error.doc.rstrip()))
        what = "JSON that ends too early (a truncated file)" if truncated else "no JSON"
        raise DataError(f"{expected}, got {what}: {error}. Save the fit again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{expected}, got a binary file; read data with pandas.") from error
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind not in VERSIONS:
        what = f"one of kind {kind!r}" if kind else f"JSON without kind {serialize.KIND!r}"
        raise DataError(f"{expected}, got {what}.")
    version, readable = record.get("version"), VERSIONS[kind]
    if version != readable:
        newer = isinstance(version, int) and version > readable
        hint = "install a newer jaxlmm" if newer else "fit and save again with this version"
        raise DataError(f"{expected} with layout version {readable}, got version {version!r}; {hint}.")
    return dict(record), readable
