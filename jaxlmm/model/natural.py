"""Values given to natural parameters, in units of the response: what is fixed, or where to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxlmm._typing import NumpyArray
from jaxlmm.model.design import Design


def kind_of(name: str) -> str:
    """Return what a natural parameter is, by its name: ``sd``, ``corr``, ``rho``, …

    >>> kind_of("Subject: corr(Intercept, Days)"), kind_of("site: theta[2]")
    ('corr', 'theta')
    """
    return name.split(": ")[-1].split("(")[0].split("[")[0]


class Natural(NamedTuple):
    """Values of the natural parameters, term by term and last those of the residual; NaN where none is given.

    ``names`` and ``values`` (r,) per block.
    """

    names: tuple[tuple[str, ...], ...]
    values: tuple[NumpyArray, ...]

    @classmethod
    def of(cls, design: Design, names: Sequence[Sequence[str]], given: Mapping[str, float]) -> Natural:
        """Order values ``given`` by name; ``names`` are those of each block of a design."""
        values = [np.array([given.get(name, np.nan) for name in block], float) for block in names]
        structures = [term.structure for term in design.terms]
        completed = [structure.completed(block) for structure, block in zip(structures, values, strict=False)]
        return cls(tuple(tuple(block) for block in names), (*completed, values[-1]))

    @classmethod
    def split(cls, names: Sequence[Sequence[str]], flat: NumpyArray) -> Natural:
        """Return the values ``flat`` (r,) of all parameters by block."""
        ends = np.cumsum([len(block) for block in names])
        return cls(tuple(tuple(block) for block in names), tuple(np.split(flat, ends[:-1])))

    @property
    def flat(self) -> NumpyArray:
        """The values of all parameters, (r,)."""
        return np.concatenate(self.values)

    @property
    def absolute(self) -> bool:
        """Whether a standard deviation other than 0 is given: then they are not relative to the residual's."""
        kinds = [kind_of(name) for block in self.names for name in block]
        relative = np.array([kind in ("rho", "corr", "theta") for kind in kinds])
        return bool(np.any(np.isfinite(self.flat) & (self.flat != 0.0) & ~relative))
