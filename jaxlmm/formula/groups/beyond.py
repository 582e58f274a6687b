"""Labels of what stands beyond the random terms: a model of dispersion, the distribution of the rows, its zero part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import RESIDUAL_SD, Parameter
from jaxlmm.errors import DataError
from jaxlmm.families import AbstractFamily, family_from_plain, family_to_plain, named
from jaxlmm.formula.columns import Encoding, plain


def parameter_to_plain(parameter: Parameter) -> dict[str, Any]:
    """Return all that a parameter declares; the group is that of its term."""
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(parameter).items()}
    bounds = {key: plain.numbers_to_plain(np.array(fields[key])) for key in ("lower", "upper")}
    return {key: value for key, value in (fields | bounds).items() if key != "group"}


def parameter_from_plain(record: Mapping[str, Any], group: str) -> Parameter:
    """Return the parameter that :func:`parameter_to_plain` wrote, of a group."""
    bounds = {key: float(plain.numbers_from_plain(record[key], ())) for key in ("lower", "upper")}
    return Parameter(**{**record, **bounds, "group": group})


class DispersionLabels(NamedTuple):
    """Labels of a model of dispersion: its formula as ``text``, its columns but the intercept, which ``encoding``
    computes on new data after that.
    """

    text: str
    columns: tuple[str, ...]
    encoding: Encoding

    @property
    def natural(self) -> tuple[Parameter, ...]:
        """Its coefficients, as natural parameters of the residual."""
        return tuple(Parameter(f"log sd({column})", group=RESIDUAL_SD.group) for column in self.columns)

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types."""
        return {"text": self.text, "columns": list(self.columns), "encoding": self.encoding.to_plain()}

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> DispersionLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        return cls(record["text"], tuple(record["columns"]), Encoding.from_plain(record["encoding"]))


class ZeroLabels(NamedTuple):
    """Labels of a zero part: its formula as ``text``; ``encoding`` computes its columns on new data, None without any,
    where the probability of a zero is one for all rows.
    """

    text: str
    encoding: Encoding | None

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types."""
        return {"text": self.text, "encoding": None if self.encoding is None else self.encoding.to_plain()}

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> ZeroLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        return cls(record["text"], None if record["encoding"] is None else Encoding.from_plain(record["encoding"]))


class FamilyLabels(NamedTuple):
    """Labels of the distribution of the rows: ``text`` names the ``family``, which is None where a file of a fit had a
    class of one's own; ``natural`` are its parameters, ``n_nodes`` those of quadrature, 1 for Laplace's approximation;
    ``zeros`` are those of its zero part, None without one.
    """

    family: AbstractFamily | None
    text: str
    natural: tuple[Parameter, ...]
    n_nodes: int
    zeros: ZeroLabels | None = None

    @classmethod
    def of(cls, family: AbstractFamily, n_nodes: int, zeros: ZeroLabels | None = None) -> FamilyLabels:
        """Return the labels of a family."""
        return cls(family, named(family), family.parameters, n_nodes, zeros)

    def row_data(self, data: Any) -> Float[NumpyArray, "n k"] | None:
        """Return the columns of the zero part on new data, NaN where a variable is missing; None without any."""
        return None if self.zeros is None or self.zeros.encoding is None else self.zeros.encoding.columns(data)

    @property
    def approximation(self) -> str:
        """How the random effects are integrated, in words."""
        return "Laplace approximation" if self.n_nodes == 1 else f"adaptive quadrature, {self.n_nodes} nodes"

    def known(self) -> AbstractFamily:
        """Return the family; raise where the class is not known."""
        if self.family is None:
            raise DataError(f"this needs the family {self.text}, a class that the file of the fit does not have.")
        return self.family

    def to_plain(self) -> dict[str, Any]:
        """Return the labels as JSON types."""
        parameters = [{**parameter_to_plain(one), "group": one.group} for one in self.natural]
        family = None if self.family is None else family_to_plain(self.family)
        zeros = None if self.zeros is None else self.zeros.to_plain()
        return {"family": family, "text": self.text, "parameters": parameters, "nodes": self.n_nodes, "zeros": zeros}

    @classmethod
    def from_plain(cls, record: Mapping[str, Any]) -> FamilyLabels:
        """Return the labels that :meth:`to_plain` wrote."""
        natural = tuple(parameter_from_plain(one, one["group"]) for one in record["parameters"])
        family = None if record["family"] is None else family_from_plain(record["family"])
        zeros = None if record["zeros"] is None else ZeroLabels.from_plain(record["zeros"])
        return cls(family, record["text"], natural, record["nodes"], zeros)
