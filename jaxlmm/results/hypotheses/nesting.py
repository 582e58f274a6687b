"""Which structures are special cases of others, on the same positions."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import (
    AR1,
    ARMA,
    AbstractCovariance,
    AnteDependence,
    ByLevel,
    CompoundSymmetry,
    Diagonal,
    Exponential,
    Matern,
    Parameter,
    Toeplitz,
    Unstructured,
)
from jaxlmm.families import ZERO_PART, NegativeBinomial, Poisson, RowDistribution, ZeroInflated
from jaxlmm.formula import ModelLabels

SAME_SPACE = 1e-9
"""Singular values of the columns of two zero parts, relative to the largest, below which they are rounding."""

GENERALIZATIONS: dict[type[AbstractCovariance], tuple[type[AbstractCovariance], ...]] = {
    Diagonal: (Diagonal, CompoundSymmetry, AR1, AnteDependence, Toeplitz),
    CompoundSymmetry: (CompoundSymmetry, Toeplitz),
    AR1: (AR1, AnteDependence, Toeplitz, ARMA),
    AnteDependence: (AnteDependence,),
    Toeplitz: (Toeplitz,),
    Exponential: (Exponential, Matern),
}
"""By structure, those of which it is a special case, if their standard deviations are as free as its own."""


def is_special_case(smaller: AbstractCovariance | None, larger: AbstractCovariance | None) -> bool:
    """Whether a structure is a special case of another on the same positions; None are independent residuals.

    >>> is_special_case(CompoundSymmetry(), Toeplitz()), is_special_case(Toeplitz(), AR1(hom=False))
    (True, False)
    """
    one = Diagonal(hom=True) if smaller is None else smaller
    if larger is None:
        return False
    if isinstance(larger, ByLevel):
        if isinstance(one, ByLevel):
            return one.levels == larger.levels and is_special_case(one.structure, larger.structure)
        return is_special_case(one, larger.structure)
    if isinstance(one, ByLevel):
        return False
    if isinstance(larger, Unstructured):
        return True
    if type(larger) not in GENERALIZATIONS.get(type(one), ()):
        return False
    if isinstance(larger, ARMA) and larger.p == 0:
        return False
    # A share of its own, or standard deviations that differ, are special cases of nothing without them.
    flags = (("nugget", False), ("hom", True))
    return all(getattr(one, name, plain) == plain or getattr(larger, name, plain) != plain for name, plain in flags)


def beyond_the_formula(labels: ModelLabels) -> str:
    """Return what a formula does not say of a model: the structure of its residuals, or its family and zero part."""
    if labels.family is not None:
        zeros = labels.family.zeros
        return labels.family.text if zeros is None else f"{labels.family.text} {zeros.text}"
    return f"residual: {labels.residual.text}" if labels.residual else ""


def family_is_special_case(one: RowDistribution | None, other: RowDistribution | None) -> bool:
    """Whether a distribution of the rows is the other one, or Poisson's where that is negative binomial, with the same
    link; or has no zero part where that has one whose probability can be zero in all rows; and random effects are
    integrated alike.
    """
    if one is None or other is None:
        return one is other
    family, larger = one.family, other.family
    if isinstance(family, ZeroInflated) and isinstance(larger, ZeroInflated):
        space = _zero_columns(other)
        both = np.column_stack([space, _zero_columns(one)])
        nested = np.linalg.matrix_rank(both, rtol=SAME_SPACE) == np.linalg.matrix_rank(space, rtol=SAME_SPACE)
        family, larger = family.family, larger.family
    elif isinstance(larger, ZeroInflated):
        nested, larger = not larger.columns or larger.constant is not None, larger.family
    else:
        nested = True
    poisson = isinstance(family, Poisson) and isinstance(larger, NegativeBinomial)
    same = type(family) is type(larger)
    names = ["link", "truncated"] if poisson else [field.name for field in dataclasses.fields(family)] if same else []
    alike = all(np.array_equal(getattr(family, name), getattr(larger, name)) for name in names)
    return one.n_nodes == other.n_nodes and nested and (poisson or same) and alike


def has_zero_columns(rows: RowDistribution | None) -> bool:
    """Whether a model has a zero part with columns."""
    return rows is not None and isinstance(rows.family, ZeroInflated) and bool(rows.family.columns)


def _zero_columns(rows: RowDistribution) -> Float[NumpyArray, "N k"]:
    """Return the columns of a zero part, of one probability for all rows the intercept."""
    weight = np.asarray(rows.weight) > 0.0
    return np.asarray(np.ones((weight.size, 1)) if rows.row_data is None else rows.row_data)[weight]


def can_be_zero(parameter: Parameter) -> bool:
    """Whether it is a parameter of a family that can be zero, as an overdispersion or the probability of a zero."""
    return parameter.group in ("", ZERO_PART) and parameter.lower == 0.0 and parameter.attained[0]
