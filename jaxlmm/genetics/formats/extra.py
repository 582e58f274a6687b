"""Import of the readers that the extra ``genetics`` installs, when a file is read."""

from __future__ import annotations

import importlib
from types import ModuleType

from jaxlmm.errors import GenotypeError


def extra(module: str, what: str) -> ModuleType:
    """Import a reader, or raise an error with the command that installs it.

    >>> extra("no_such_reader", ".xyz files")
    Traceback (most recent call last):
    jaxlmm.errors.GenotypeError: .xyz files are read by no_such_reader, which is not installed:
    pip install "jaxlmm[genetics]".
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise GenotypeError(
            f'{what} are read by {module}, which is not installed: pip install "jaxlmm[genetics]".'
        ) from error
