"""``load``: whatever was saved, by the ending of its file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from jaxlmm import results
from jaxlmm.genetics import read_npz


def load(path: str | PathLike[str]) -> Any:
    """Return what was saved to ``path``."""
    if Path(path).suffix == ".npz":
        return read_npz(path)
    return results.load(path)
