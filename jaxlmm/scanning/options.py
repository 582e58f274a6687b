"""The options of a scan other than those of its model."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable
from typing import Any, Self

from jaxlmm.errors import OptionError, choose
from jaxlmm.scanning.kernels import PairFilter


@dataclasses.dataclass(frozen=True)
class ScanOptions:
    """Options of :func:`jaxlmm.scan` alone, checked when the record is made.

    Options of the model are in :class:`jaxlmm.api.FitOptions`.
    """

    variances: str
    tests: tuple[str, ...]
    interaction: str | None
    p_max: float | None
    top: int | None
    best: bool
    precision: str
    loco: bool
    condition_on: tuple[str, ...] = ()

    @classmethod
    def of(cls, tests: Any, **options: Any) -> Self:
        """Return the record of options by name; ``tests`` may be the name of one."""
        if not isinstance(tests, Iterable):
            raise OptionError(f"tests: expected some of 'wald', 'lrt', 'score', got {tests!r}.")
        return cls(tests=(tests,) if isinstance(tests, str) else tuple(tests), **options)

    def __post_init__(self) -> None:
        choose("variances", self.variances, ("refit", "null", "kept"))
        choose("precision", self.precision, ("float64", "float32"))
        for name in ("best", "loco"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name}: expected True or False, got {getattr(self, name)!r}.")
        if self.interaction is not None and not isinstance(self.interaction, str):
            raise OptionError(f"interaction: expected the name of one column, got {self.interaction!r}.")
        if not all(isinstance(name, str) for name in self.condition_on):
            raise OptionError(f"condition_on: expected names of variants, got {self.condition_on!r}.")
        for test in self.tests:
            choose("tests", test, ("wald", "lrt", "score"))
        if not self.tests:
            raise OptionError("tests: expected at least one of 'wald', 'lrt', 'score', got none.")
        if self.p_max is not None and not (isinstance(self.p_max, numbers.Real) and 0.0 < self.p_max <= 1.0):
            raise OptionError(f"p_max: expected a probability above 0 and up to 1, got {self.p_max!r}.")
        if self.top is not None and not (isinstance(self.top, numbers.Integral) and self.top >= 1):
            raise OptionError(f"top: expected a whole number of at least 1, got {self.top!r}.")
        if self.variances == "kept" and self.pair_filter().everything:
            raise OptionError("variances='kept': expected p_max=, top= or best=True to say what is kept, got none.")

    def pair_filter(self) -> PairFilter:
        """Return a new filter that keeps the pairs that the options ask for."""
        return PairFilter(self.tests[0], self.p_max, self.top, self.best)

    @property
    def by_likelihood(self) -> bool:
        """Whether a test (likelihood-ratio or score) needs the ML optimum without a marker."""
        return bool({"lrt", "score"} & set(self.tests))

    @property
    def kept(self) -> str:
        """The rule by which pairs are kept, in words."""
        parts = [] if self.p_max is None else [f"p ≤ {self.p_max:g}"]
        parts += [] if self.top is None else [f"the top {self.top}"]
        parts += ["the best of each response"] if self.best else []
        return f"{', '.join(parts)} by {self.tests[0]}" if parts else "all"
