"""The errors that jaxlmm raises. Each message says what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class JaxlmmError(ValueError):
    """Base of all errors of this package; also a ``ValueError``."""


class FormulaError(JaxlmmError):
    """The formula cannot be read, or names something that is not there."""


class DataError(JaxlmmError):
    """The data cannot support the model: missing, infinite, constant or too few values."""


class KinshipError(JaxlmmError):
    """A pedigree or a known covariance matrix is invalid, or does not fit its grouping factor."""


class GenotypeError(JaxlmmError):
    """Genotypes cannot be read, or do not fit the data: a damaged file, ids that repeat or do not match."""


class OptionError(JaxlmmError):
    """An option has a value that is not one of those listed."""


class ResumeError(JaxlmmError):
    """A scan cannot be resumed from a folder: it holds another scan, or another process writes to it."""


class OutputError(JaxlmmError, OSError):
    """A file or a folder cannot be written: no space, no permission, no such folder; also an ``OSError``.

    ``errno`` is the error number of the operating system, or None.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def __reduce__(self) -> tuple[type[OutputError], tuple[object, ...]]:
        return type(self), (*self.args, self.errno)


class WorkerError(JaxlmmError):
    """Workers of an executor died, or failed twice at the same task."""


class PrecisionError(JaxlmmError):
    """An array is not in double precision where a fit needs it."""


def spelled_like(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Return up to ``most`` names of similar spelling, ignoring case.

    >>> spelled_like("DAYZ", ["Days", "Subject"])
    ['Days']
    """
    spellings: dict[str, list[str]] = {}
    for other in names:
        spellings.setdefault(other.casefold(), []).append(other)
    close = difflib.get_close_matches(name.casefold(), spellings, n=most, cutoff=0.6)
    return [other for spelling in close for other in spellings[spelling]][:most]


def nearest(name: str, choices: Iterable[object]) -> str:
    """Return a hint that lists the choices, the nearest spellings first.

    >>> nearest("Day", ["Days", "Subject"])
    'did you mean Days? There are: Days, Subject'
    """
    names = [str(choice) for choice in choices]
    if not names:
        return "there are none"
    close = spelled_like(name, names)
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"did you mean {' or '.join(close)}? There are: {listed}" if close else f"there are: {listed}"


def choose(option: str, value: object, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``; raise :class:`OptionError` that lists them if not."""
    choices = tuple(choices)
    if value in choices:
        return str(value)
    listed = ", ".join(repr(choice) for choice in choices)
    raise OptionError(f"{option}: expected one of {listed}, got {value!r}.")
