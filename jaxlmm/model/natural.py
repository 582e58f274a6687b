"""Values of natural parameters, in units of the response, for ``fixed=`` and ``start=``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.model.design import Design, Term


class Natural(NamedTuple):
    """Values of the natural parameters, by term and last those of the residual; NaN where none is given."""

    parameters: tuple[tuple[Parameter, ...], ...]
    values: tuple[Float[NumpyArray, " _"], ...]

    @classmethod
    def of(cls, design: Design, blocks: Sequence[Sequence[Parameter]], by_name: Mapping[str, float]) -> Natural:
        """Return the values ``by_name`` in order; ``blocks`` are the parameters of each term of the design.

        What a standard deviation of 0 leaves undefined, as its correlations, has some value.
        """
        values = [np.array([by_name.get(parameter.name, np.nan) for parameter in block], float) for block in blocks]
        for term, block, own in zip(design.terms, blocks, values, strict=False):
            _complete(term, block, own)
        return cls(tuple(tuple(block) for block in blocks), tuple(values))

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
        has_unit = np.array([parameter.has_unit for block in self.parameters for parameter in block])
        return bool(np.any(np.isfinite(self.flat) & (self.flat != 0.0) & has_unit))

    def put_into(self, report: Float[NumpyArray, "*b r"]) -> Float[NumpyArray, "*b r"]:
        """Return reported parameters with those that are given at exactly these values, where they are defined."""
        return np.where(np.isfinite(self.flat) & np.isfinite(report), self.flat, report)

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
            report = structure.report(start, structure.cholesky(start, jnp.asarray(block)), jnp.ones(()))
            values[index] = float(report[index])
