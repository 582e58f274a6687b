"""Values of natural parameters, in units of the response, for ``fixed=`` and ``start=``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.model.design import Design, Term


class Natural(NamedTuple):
    """Values of the natural parameters, by term and last those of the residual; NaN where there is none.

    Some are ``completed``: nobody gave them, and others that are zero leave them undefined. None of them where it is
    empty.
    """

    parameters: tuple[tuple[Parameter, ...], ...]
    values: tuple[Float[NumpyArray, " _"], ...]
    completed: tuple[Bool[NumpyArray, " _"], ...] = ()

    @classmethod
    def of(cls, design: Design, blocks: Sequence[Sequence[Parameter]], by_name: Mapping[str, float]) -> Natural:
        """Return the values ``by_name`` in order; ``blocks`` are the parameters of each term of the design.

        What a standard deviation of 0 leaves undefined, as its correlations, has some value.
        """
        values = [np.array([by_name.get(parameter.name, np.nan) for parameter in block], float) for block in blocks]
        free = [np.isnan(own) for own in values]
        for term, block, own in zip(design.terms, blocks, values, strict=False):
            _complete(term, block, own)
        completed = [was_free & np.isfinite(own) for was_free, own in zip(free, values, strict=True)]
        return cls(tuple(tuple(block) for block in blocks), tuple(values), tuple(completed))

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
    def given(self) -> Float[NumpyArray, " r"]:
        """The values of all parameters that were given, without what was completed."""
        return np.where(np.concatenate(self.completed), np.nan, self.flat) if self.completed else self.flat

    @property
    def absolute(self) -> bool:
        """Whether a parameter with a unit is given, other than at 0: theta then is not relative to sigma."""
        has_unit = np.array([parameter.has_unit for block in self.parameters for parameter in block])
        return bool(np.any(np.isfinite(self.flat) & (self.flat != 0.0) & has_unit))

    @property
    def size(self) -> float:
        """The largest value with a unit that is not zero, 1 where there is none."""
        has_unit = np.array([parameter.has_unit for block in self.parameters for parameter in block])
        sizes = np.abs(self.flat[has_unit & np.isfinite(self.flat) & (self.flat != 0.0)])
        return float(sizes.max()) if sizes.size else 1.0

    def put_into(self, report: Float[NumpyArray, "*b r"]) -> Float[NumpyArray, "*b r"]:
        """Return reported parameters with those that are given at exactly these values; NaN where not defined."""
        known = np.where(np.isfinite(self.flat), self.given, report)
        return np.where(np.isfinite(report), known, report)

    def named(self, block: int) -> dict[str, float]:
        """Return the values of one block that are given, by the parameters' names."""
        pairs = zip(self.parameters[block], self.values[block], strict=True)
        return {parameter.name: float(value) for parameter, value in pairs if np.isfinite(value)}


def _complete(term: Term, parameters: Sequence[Parameter], values: Float[NumpyArray, " r"]) -> None:
    """Give a value to what standard deviations of 0 leave undefined, in place."""
    zero = {parameter.columns for parameter, value in zip(parameters, values, strict=True) if value == 0.0}
    sds = np.array([parameter.is_sd for parameter in parameters])
    nothing = sds.any() and bool(np.all(values[sds] == 0.0))
    structure, coords = term.structure, np.asarray(term.coords)
    block = coords[0] if coords.ndim == 3 else coords
    for index, parameter in enumerate(parameters):
        if not np.isnan(values[index]):
            continue
        if len(parameter.columns) == 2:
            if any((column,) in zero for column in parameter.columns):
                values[index] = 0.0
        elif nothing:
            start = jnp.asarray(structure.start(coords))
            report = structure.report(start, structure.leading_factor(start, jnp.asarray(block)), jnp.ones(()))
            values[index] = float(report[index])
