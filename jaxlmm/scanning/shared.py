"""What processes at work on one scan share: values that the first to need them makes, and all others map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from jaxlmm._util import read_mapped, write_mapped
from jaxlmm.errors import OutputError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Shared:
    """Values in files of a ``folder``, those of some ``names``; without a folder nothing is shared.

    >>> Shared().at("group-0", lambda: 3)
    3
    """

    folder: Path | None = None
    names: frozenset[str] = frozenset()

    def at(self, name: str, make: Callable[[], T]) -> T:
        """Return a value by its name, made by this process if no other one has made it before.

        Where there is no room for its file it is made for this process alone.
        """
        if self.folder is None or name not in self.names:
            return make()
        path = self.folder / f"{name}.mapped"
        try:
            return cast("T", read_mapped(path))
        except FileNotFoundError:
            value = make()
        try:
            write_mapped(path, value)
        except OutputError:
            return value
        return cast("T", read_mapped(path))


def group_name(group: int) -> str:
    """Return the name of what is prepared for a marker group."""
    return f"group-{group}"


def rows_name(group: int, pattern: int) -> str:
    """Return the name of the rows of a pattern, with the matrix of a marker group."""
    return f"group-{group}-pattern-{pattern}"
