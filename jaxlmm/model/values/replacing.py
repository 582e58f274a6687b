"""The values of a design: what :meth:`Design.replace` changes, in numbers or in arrays that JAX traces."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, is_traced, pad
from jaxlmm.covariance import AbstractCovariance, as_field
from jaxlmm.errors import DataError, KinshipError, OptionError, nearest
from jaxlmm.linalg import orthonormal_basis
from jaxlmm.model.basis import independent_basis
from jaxlmm.model.relation import Relation
from jaxlmm.model.values.settled import settled

Design: TypeAlias = Any
"""The class of this name, which stands upon this file."""

MAX_ASYMMETRY = 1e-8
"""Difference of two entries of a known matrix, relative to the largest, up to which it is taken to be symmetric."""


def replaced(design: Design, changes: Mapping[str, Any]) -> Design:
    """Return the design with the ``changes`` of :meth:`Design.replace`.

    Numbers with labels are matched and checked as when the design was built; arrays in the order of its rows or levels,
    and what is traced, take the place of those that it has.
    """
    anew, arrays = _split(design, changes)
    result = design
    if anew:
        if design.built_with is None:
            raise OptionError(
                f"replace: expected a design as lmm.design builds it, to change {', '.join(anew)}; got one that was "
                "cut to some rows, unpadded, or rebuilt by a JAX transformation."
            )
        result = design.built_with(anew)
        before, after = (_shapes(one) for one in (design, result))
        if before != after:
            raise OptionError(
                f"replace: expected terms of the same shapes, got {after} in place of {before} (terms, columns and "
                "levels); build a model of another shape with lmm.design."
            )
        same = result.incidence is not None and design.incidence is not None
        if same and result.incidence.structure == design.incidence.structure:
            result = dataclasses.replace(result, incidence=design.incidence)
    for name, value in arrays.items():
        result = SETTERS[name](result, value)
    if not arrays or result.built_with is None:
        return result
    return dataclasses.replace(result, built_with=functools.partial(_then, result.built_with, arrays))


def _then(
    built_with: Callable[[Mapping[str, Any]], Design], arrays: Mapping[str, Any], changes: Mapping[str, Any]
) -> Design:
    """Build a design with ``changes``, and set the ``arrays`` that were set before and are not changed."""
    kept = {name: value for name, value in arrays.items() if name not in changes or name == "kinship"}
    if "kinship" in kept:
        kept["kinship"] = {name: one for name, one in kept["kinship"].items() if name not in changes.get("kinship", {})}
    return replaced(built_with(changes), kept) if any(kept.values()) else built_with(changes)


def _split(design: Design, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the changes for which the design is built anew, and those of its arrays."""
    anew: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "kinship" and isinstance(value, Mapping):
            own = {group: one for group, one in value.items() if _is_array(one)}
            rest = {group: one for group, one in value.items() if group not in own}
            arrays.update({name: own} if own else {})
            anew.update({name: rest} if rest else {})
        elif name == "offset" and is_traced(value):  # the formula's own offset stays
            anew[name], arrays[name] = np.zeros(_count(design)), value
        elif name == "X" or (name == "weights" and is_traced(value)):
            arrays[name] = value
        else:
            anew[name] = value
    return anew, dict(sorted(arrays.items(), reverse=True))  # weights before X: columns are multiplied by their roots


def _is_array(value: Any) -> bool:
    """Whether a known matrix is an array, or a structure's coordinates are one, in the order of the levels."""
    if isinstance(value, list | tuple | Mapping):
        several = value.values() if isinstance(value, Mapping) else value
        return len(value) > 0 and all(_is_array(one) for one in several)
    own = value.coords if isinstance(value, AbstractCovariance) else value
    return isinstance(own, np.ndarray | jax.Array)


def _count(design: Design) -> int:
    return int(design.n) if design.incidence is None else design.incidence.n


def _shapes(design: Design) -> tuple[tuple[int, ...], ...]:
    design = settled(design)
    return tuple((*np.shape(term.coords), int(design.groupings[term.grouping].n_levels)) for term in design.terms)


def padded_rows(values: Array, n_padded: int) -> Array:
    """Pad rows with zeros, in NumPy or JAX."""
    if isinstance(values, np.ndarray):
        return pad(values, n_padded)
    return jnp.pad(values, [(0, n_padded - values.shape[0]), *[(0, 0)] * (values.ndim - 1)])


def _rows(design: Design, name: str, value: Any) -> Float[jax.Array, " N"]:
    """Return one number for each row, padded, in the precision of the caller."""
    n, value = _count(design), jnp.asarray(value)
    if value.shape != (n,):
        raise DataError(f"{name}: expected one number for each of {n} rows, got shape {value.shape}.")
    return padded_rows(value.astype(jnp.asarray(design.basis).dtype), design.n_padded)


def _with_weights(design: Design, value: Any) -> Design:
    if design.distribution is not None:
        weight = _rows(design, "weights", value)
        return dataclasses.replace(design, distribution=design.distribution.replace(weight=weight))
    weights, old = _rows(design, "weights", value), jnp.asarray(design.root_weight)
    real = old > 0
    root = jnp.where(real, jnp.sqrt(jnp.where(real, weights, 1.0)), 0.0)
    ratio = root / jnp.where(real, old, 1.0)
    basis, triangle, _ = orthonormal_basis(ratio[:, None] * jnp.asarray(design.basis))
    terms = tuple(term.replace(z=ratio[:, None] * jnp.asarray(term.z)) for term in design.terms)
    plain, before = (design.terms, 1.0) if design.rescaled is None else design.rescaled
    rescaled = None if is_traced([term.z for term in plain]) else (plain, before * ratio)
    triangle = triangle @ jnp.asarray(design.triangle)
    return dataclasses.replace(design, root_weight=root, basis=basis, triangle=triangle, terms=terms, rescaled=rescaled)


def _with_columns(design: Design, value: Any) -> Design:
    n, p = _count(design), design.basis.shape[1]
    if np.shape(value) != (n, p):
        raise DataError(f"X: expected a column for each of {p} fixed effects, ({n}, {p}), got {np.shape(value)}.")
    basis, triangle, n_fixed = weighted_basis(value, design.root_weight, design.n_padded)
    if not is_traced(n_fixed) and int(n_fixed) < p:
        raise DataError(f"X: expected {p} independent columns, got {int(n_fixed)}; leave out those that depend.")
    return dataclasses.replace(design, basis=basis, triangle=triangle, n_fixed=n_fixed)


def weighted_basis(
    x: Float[Array, "n p"], root_weight: Float[Array, " N"], n_padded: int
) -> tuple[Float[Array, "N _"], Float[Array, "_ _"], Any]:
    """Return the basis and triangle of a design with the columns ``x``, and how many are independent.

    Traced columns that depend on others stay, as padding: their coefficients are 0.
    """
    if not is_traced((x, root_weight)):
        x = np.asarray(x, float)
        if not np.isfinite(x).all():
            raise DataError("X: expected finite numbers, got NaN or infinity.")
        kept, basis, triangle = independent_basis(x * np.asarray(root_weight)[: len(x), None])
        return pad(basis, n_padded), triangle, np.int64(kept.sum())
    root = jnp.asarray(root_weight)
    wide = padded_rows(jnp.asarray(x).astype(root.dtype), n_padded)
    traced_basis, traced_triangle, independent = orthonormal_basis(root[:, None] * wide)
    return traced_basis, traced_triangle, jnp.sum(independent)


def _with_offset(design: Design, value: Any) -> Design:
    return dataclasses.replace(design, offset=jnp.asarray(design.offset) + _rows(design, "offset", value))


def _with_kinship(design: Design, value: Mapping[str, Any]) -> Design:
    for group, one in value.items():
        several = isinstance(one, list | tuple | Mapping)
        named = one.items() if isinstance(one, Mapping) else enumerate(one, 1) if several else ()
        for name, matrix in ((f"{group}[{key}]", part) for key, part in named) if several else ((group, one),):
            design = _across(design, name, matrix)
    return design


def _across(design: Design, name: str, value: Any) -> Design:
    """Return the design with another matrix across the levels of one group, or a structure at other coordinates."""
    names = () if design.incidence is None else design.incidence.names
    if design.incidence is None or name not in names:
        raise KinshipError(f"kinship: no random term is grouped by {name!r}; {nearest(name, names)}.")
    number = names.index(name)
    places = design.incidence.places[number]
    if isinstance(value, AbstractCovariance):
        return _along(design, name, number, places, value)
    if places is not None:
        raise OptionError(f"replace: expected a structure across the levels of {name!r}, as there is, got a matrix.")
    groupings, count = list(design.groupings), design.incidence.n_levels[number]
    groupings[number] = groupings[number].replace(relation=relation_of(name, value, count))
    return dataclasses.replace(design, groupings=tuple(groupings))


def _along(design: Design, name: str, number: int, places: NumpyArray | None, structure: AbstractCovariance) -> Design:
    coords = jnp.asarray(structure.coords) if is_traced(structure.coords) else np.asarray(structure.coords)
    coords = coords[:, None] if coords.ndim == 1 else coords
    own = [t for t, term in enumerate(design.terms) if term.grouping == number and term.over_positions]
    if places is None or not own:
        raise OptionError(f"replace: expected a matrix across the levels of {name!r}, as there is, got a structure.")
    terms = list(design.terms)
    for t in own:
        shape = np.shape(terms[t].coords)
        if coords.shape != shape[1:]:
            raise DataError(f"kinship of {name!r}: expected coords of shape {shape[1:]}, got {coords.shape}.")
        block = coords[np.argsort(places)][None]
        terms[t] = terms[t].replace(structure=as_field(structure.without_coords(), shape[-1]), coords=block)
    return dataclasses.replace(design, terms=tuple(terms))


def relation_of(name: str, value: Any, count: int) -> Relation:
    """Return a known matrix across ``count`` levels, in their order; its symmetric part where it is traced.

    Raises
    ------
    KinshipError
        If it has another shape, or is in numbers that are not finite and symmetric.
    """
    if np.shape(value) != (count, count):
        raise KinshipError(
            f"kinship of {name!r}: expected an array of shape ({count}, {count}), in the order of the levels, got "
            f"{np.shape(value)}; a data frame is matched by labels."
        )
    if is_traced(value):
        return Relation(None, None, 0.5 * (value + value.T))
    matrix = np.asarray(value, float)
    if not np.abs(matrix - matrix.T).max(initial=0.0) <= MAX_ASYMMETRY * np.abs(matrix).max(initial=0.0):
        raise KinshipError(f"kinship of {name!r}: expected a symmetric matrix of finite numbers.")
    return Relation.of(0.5 * (matrix + matrix.T))


SETTERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "weights": _with_weights, "X": _with_columns, "offset": _with_offset, "kinship": _with_kinship,
}  # fmt: skip
"""Functions that set one kind of values."""
