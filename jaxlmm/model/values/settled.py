"""Designs and layouts of which values are traced, with all else in numbers."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import jax
import numpy as np

from jaxlmm._util import is_traced
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.errors import DataError
from jaxlmm.model.relation import Relation
from jaxlmm.model.values.incidence import Incidence

Design: TypeAlias = Any
Layout: TypeAlias = Any
"""The classes of these names, which stand upon this file."""


def settled(design: Design) -> Design:
    """Return a design of which values may be traced, with its rows, levels and positions in numbers.

    Raises
    ------
    DataError
        If a design without its incidence is traced.
    """
    if not is_traced(design):
        return design
    incidence = design.incidence
    if incidence is None:
        raise DataError(
            "design: expected one as lmm.design or lmm.design_from_arrays builds it, got a traced one that was cut to "
            "some rows or unpadded, whose groups are not known. Close over the design, and replace its values."
        )
    groupings = tuple(
        grouping.replace(codes=codes, n_levels=np.int64(count), relation=_settled_relation(grouping.relation, entries))
        for grouping, codes, count, entries in zip(
            design.groupings, incidence.codes, incidence.n_levels, incidence.entries, strict=True
        )
    )
    terms = tuple(
        term.replace(positions=positions) for term, positions in zip(design.terms, incidence.positions, strict=False)
    )
    residual = None if design.residual is None else design.residual.replace(positions=incidence.positions[-1])
    roots = tuple(np.asarray(root) for root in incidence.roots)
    return dataclasses.replace(
        design, n=np.int64(incidence.n), groupings=groupings, terms=terms, residual=residual, whole_roots=roots
    )


def _settled_relation(relation: Relation | None, entries: Any) -> Relation | None:
    if relation is None or relation.starts is None:
        return relation
    return relation.replace(starts=entries[0], columns=entries[1])


def at_rest(layout: Layout, incidence: Incidence) -> Layout:
    """Return a layout in numbers alone, at which a search begins: hyper-parameters that are traced are 1.

    Coordinates that are traced are those that the design was built with.
    """

    def numbers(structure: AbstractCovariance) -> AbstractCovariance:
        rest: AbstractCovariance = jax.tree.map(
            lambda leaf: np.ones(leaf.shape, leaf.dtype) if is_traced(leaf) else leaf, structure
        )
        return rest

    coords = [*layout.coords, *([] if layout.residual_coords is None else [layout.residual_coords])]
    built = [own if is_traced(here) else here for here, own in zip(coords, incidence.coords, strict=True)]
    count = len(layout.coords)
    return layout.replace(
        structures=tuple(numbers(structure) for structure in layout.structures),
        coords=tuple(built[:count]),
        residual=None if layout.residual is None else numbers(layout.residual),
        residual_coords=built[count] if len(built) > count else None,
    )
