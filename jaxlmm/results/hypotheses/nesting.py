"""Which structures are special cases of others, on the same positions."""

from __future__ import annotations

import dataclasses

import numpy as np

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
from jaxlmm.families import NegativeBinomial, Poisson, RowDistribution

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


def family_is_special_case(one: RowDistribution | None, other: RowDistribution | None) -> bool:
    """Whether a distribution of the rows is the other one, or Poisson's where that is negative binomial, with the same
    link; and random effects are integrated alike.
    """
    if one is None or other is None:
        return one is other
    poisson = isinstance(one.family, Poisson) and isinstance(other.family, NegativeBinomial)
    same = type(one.family) is type(other.family)
    names = ["link"] if poisson else [field.name for field in dataclasses.fields(one.family)] if same else []
    alike = all(np.array_equal(getattr(one.family, name), getattr(other.family, name)) for name in names)
    return one.n_nodes == other.n_nodes and (poisson or same) and alike


def can_be_zero(parameter: Parameter) -> bool:
    """Whether it is a parameter of a family that can be zero, as an overdispersion."""
    return not parameter.group and parameter.lower == 0.0 and parameter.attained[0]
