"""A share of a scan: the parts that one of several processes does, each started by itself, as a job of a cluster."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from jaxlmm.errors import OptionError


@dataclasses.dataclass(frozen=True)
class Share:
    """The parts whose number is ``index`` modulo ``count``.

    >>> Share.of((7, 3)).numbers(8)
    Traceback (most recent call last):
    jaxlmm.errors.OptionError: share: expected (k, N) with k from 0 to N, as (3, 500), got (7, 3).
    >>> Share.of((1, 3)).numbers(8)
    [1, 4, 7]
    """

    index: int
    count: int

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return the share that ``(k, N)`` stands for; k may be counted from 0 or from 1, N is then the same as 0.

        Raises
        ------
        OptionError
            If it is something else.
        """
        pair = tuple(given) if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str) else ()
        whole = len(pair) == 2 and all(isinstance(one, numbers.Integral) and not isinstance(one, bool) for one in pair)
        if not whole or not (pair[1] >= 1 and 0 <= pair[0] <= pair[1]):
            raise OptionError(f"share: expected (k, N) with k from 0 to N, as (3, 500), got {given!r}.")
        return cls(int(pair[0]) % int(pair[1]), int(pair[1]))

    def numbers(self, n_parts: int) -> list[int]:
        """Return the numbers of the parts of this share."""
        return list(range(self.index, n_parts, self.count))

    def __str__(self) -> str:
        return f"share {self.index} of {self.count}"
