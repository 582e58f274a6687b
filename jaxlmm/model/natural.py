"""Values of natural parameters, in units of the response, for ``fixed=`` and ``start=``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.model.design import Design

KINDS_WITHOUT_UNIT = ("corr", "rho", "theta", "coef")
"""Kinds of parameters that stay the same in other units of the response."""


class Natural(NamedTuple):
    """Values of the natural parameters, by term and last those of the residual; NaN where none is given."""

    parameters: tuple[tuple[Parameter, ...], ...]
    values: tuple[Float[NumpyArray, " _"], ...]

    @classmethod
    def of(cls, design: Design, blocks: Sequence[Sequence[Parameter]], by_name: Mapping[str, float]) -> Natural:
        """Return the values ``by_name`` in order; ``blocks`` are the parameters of each term of the design."""
        values = [np.array([by_name.get(parameter.name, np.nan) for parameter in block], float) for block in blocks]
        structures = [term.structure for term in design.terms]
        completed = [structure.completed(block) for structure, block in zip(structures, values, strict=False)]
        return cls(tuple(tuple(block) for block in blocks), (*completed, values[-1]))

    @classmethod
    def split(cls, blocks: Sequence[Sequence[Parameter]], flat: Float[NumpyArray, " r"]) -> Natural:
        """Split the values ``flat`` of all parameters into those of each block."""
        ends = np.cumsum([len(block) for block in blocks])
        return cls(tuple(tuple(block) for block in blocks), tuple(np.split(flat, ends[:-1])))

    @property
    def flat(self) -> Float[NumpyArray, " r"]:
        """The values of all parameters."""
        return np.concatenate(self.values)

    @property
    def absolute(self) -> bool:
        """Whether a parameter with a unit is given, other than at 0: theta then is not relative to sigma."""
        relative = np.array([parameter.kind in KINDS_WITHOUT_UNIT for block in self.parameters for parameter in block])
        return bool(np.any(np.isfinite(self.flat) & (self.flat != 0.0) & ~relative))
