"""``design_from_arrays``: a design without formula and data frame, also of arrays that JAX traces."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import MIN_PADDED_ROWS, Array, NumpyArray, bucket, is_traced, pad
from jaxlmm.api.arrays.read import ONE_GROUP, as_columns, by_group, check_levels, codes_of, numbers_of, root_weight_of
from jaxlmm.covariance import AbstractCovariance, Unstructured, as_field, increasing
from jaxlmm.errors import DataError, KinshipError, OptionError
from jaxlmm.formula import check_structure
from jaxlmm.model import Design, Grouping, Incidence, Term, padded_rows, relation_of, weighted_basis

MAX_LEVELS_CHECKED = 8
"""Number of levels at whose coordinates the contract of a structure is checked."""


def design_from_arrays(
    X: Any,
    groups: Any,
    *,
    z: Any = None,
    weights: Any = None,
    offset: Any = None,
    covariance: Any = None,
    kinship: Any = None,
) -> Design:
    """Build a design from arrays alone, inside ``jit``, ``vmap`` and derivatives too.

    All but the groups may be traced: X may be the output of a neural network. The groups decide what is computed, and
    stay NumPy's.

    Parameters
    ----------
    X
        (n, p), the columns of the fixed effects, the intercept among them. In numbers they are to be independent; a
        traced column that depends on those before it has the coefficient 0.
    groups
        ``{name: codes}``, for each grouping factor whole numbers (n,), one per row; or one such array. An empty mapping
        is a linear model.
    z
        ``{name: columns}``, the (n,) or (n, q) columns of the group's random effects, which covary; an intercept where
        none are given.
    weights, offset
        (n,): ``Var = sigma² / weight``; the offset is subtracted from the response.
    covariance
        ``{name: structure}``, that of the columns of a group; unstructured where none is given.
    kinship
        ``{name: K}``, a known covariance (L, L) across levels, or a structure with ``coords`` (L, d), where level l is
        that of the code l; without one codes are names.

        Beside one array ``groups`` the options z, covariance and kinship are not mappings, but the value itself.

    Raises
    ------
    DataError, KinshipError, OptionError
        If shapes do not agree, or numbers are not finite; if codes are traced.

    Examples
    --------
    The deviance as a function of where the slope of a predictor changes, and its derivative there:

    >>> import jax, jax.numpy as jnp
    >>> import jaxlmm as lmm
    >>> sleep = lmm.datasets.sleepstudy()
    >>> subject = sleep["Subject"].cat.codes.to_numpy()
    >>> with jax.enable_x64(True):
    ...     y, days = jnp.array(sleep["Reaction"].to_numpy()), jnp.array(sleep["Days"].to_numpy(), float)
    ...     def deviance(knot):
    ...         X = jnp.stack([jnp.ones(180), days, jax.nn.softplus(days - knot)], axis=1)
    ...         return lmm.estimate(lmm.design_from_arrays(X, subject), y, method="ML").deviance
    ...     print([round(float(number), 3) for number in jax.jit(jax.value_and_grad(deviance))(5.0)])
    [1793.182, 0.013]
    """
    single = not isinstance(groups, Mapping)
    codes = {ONE_GROUP: groups} if single else dict(groups)
    options = {"z": z, "covariance": covariance, "kinship": kinship}
    of_group = {name: by_group(name, value, codes, single) for name, value in options.items()}
    x = X if is_traced(X) else np.asarray(X, float)
    if x.ndim != 2 or x.shape[0] <= x.shape[1]:
        raise DataError(f"X: expected (n, p) with more rows than columns, got shape {x.shape}.")
    n, padded = x.shape[0], bucket(x.shape[0], MIN_PADDED_ROWS)
    root = root_weight_of(weights, n)
    shift = np.zeros(n) if offset is None else numbers_of("offset", offset, (n,))
    built = [
        _grouped(name, own, n, number, {option: values.get(name) for option, values in of_group.items()})
        for number, (name, own) in enumerate(codes.items())
    ]
    root = padded_rows(root, padded)
    basis, triangle, n_fixed = weighted_basis(x, root, padded)
    if not is_traced(n_fixed) and int(n_fixed) < x.shape[1]:
        raise DataError(f"X: expected {x.shape[1]} independent columns, got {int(n_fixed)}; leave out the others.")
    groupings, terms = [], []
    for grouping, term, _ in built:
        groupings.append(grouping.replace(codes=pad(grouping.codes, padded)))
        positions = None if term.positions is None else pad(term.positions, padded)
        columns = padded_rows(term.z, padded)
        terms.append(term.replace(z=_product(root[:, None], columns), positions=positions))
    arguments = {"X": X, "groups": groups, "weights": weights, "offset": offset, **options}
    design = Design(
        basis, triangle, root, padded_rows(shift, padded), np.int64(n), n_fixed, tuple(terms), tuple(groupings),
        None, None, functools.partial(_built_with, arguments, single),
    )  # fmt: skip
    places = {number: place for number, (*_, place) in enumerate(built) if place is not None}
    roots = [_root(grouping, term) for grouping, term, _ in built]
    return design.replace(incidence=Incidence.of(design, tuple(codes), places, roots))


def _built_with(arguments: Mapping[str, Any], single: bool, changes: Mapping[str, Any]) -> Design:
    """Return the design with changed arguments; entries of mappings that are not named stay."""
    changed = dict(arguments)
    for name, value in changes.items():
        if not isinstance(value, Mapping):
            changed[name] = value
        elif single:
            changed[name] = by_group(name, value, {ONE_GROUP: None}, False).get(ONE_GROUP)
        else:
            changed[name] = {**(arguments[name] or {}), **value}
    return design_from_arrays(**changed)


def _product(a: Array, b: Array) -> Array:
    return jnp.asarray(a) * jnp.asarray(b) if is_traced((a, b)) else a * b


def _grouped(
    name: str, codes: Any, n: int, number: int, options: Mapping[str, Any]
) -> tuple[Grouping, Term, Int[NumpyArray, " L"] | None]:
    """Return a grouping factor and its term on n rows, without weights, and the places of levels with coordinates."""
    own, known = codes_of(name, codes, n), options["kinship"]
    z, structure = options["z"], options["covariance"]
    width = 1 if z is None or np.ndim(z) == 1 else np.shape(z)[-1]
    columns = np.ones((n, 1)) if z is None else numbers_of(f"z of {name!r}", as_columns(z), (n, width))
    if isinstance(known, AbstractCovariance):
        if structure is not None or width != 1:
            raise KinshipError(
                f"kinship of {name!r}: a structure acts across the levels for one column, got {width} columns"
                f"{'' if structure is None else ' and a covariance of them'}."
            )
        return _across(name, own, columns, number, known)
    if known is None:
        levels, own = np.unique(own, return_inverse=True)
        count, relation = levels.size, None
    else:
        count = np.shape(known)[0]
        relation = relation_of(name, known, count)
        check_levels(name, own, count)
    structure = Unstructured() if structure is None else structure
    if not isinstance(structure, AbstractCovariance):
        raise OptionError(f"covariance of {name!r}: expected a jaxlmm.covariance object, got {structure!r}.")
    coords = np.arange(float(width))[:, None]
    if type(structure) is not Unstructured:
        check_structure(structure, coords, f"covariance of {name!r}")
    grouping = Grouping(own.astype(np.int32), np.int64(count), relation)
    return grouping, Term(structure, coords, columns, None, number), None


def _across(
    name: str, codes: Int[NumpyArray, " n"], columns: Float[Array, "n 1"], number: int, structure: AbstractCovariance
) -> tuple[Grouping, Term, Int[NumpyArray, " L"]]:
    """Return the term of a structure across levels: one block, whose positions are the levels."""
    if structure.coords is None:
        raise KinshipError(f"kinship of {name!r}: expected a structure with coords (L, d), got none.")
    coords = as_columns(structure.coords)
    coords = numbers_of(f"coords of {name!r}", coords, np.shape(coords))
    check_levels(name, codes, coords.shape[0])
    order = np.arange(coords.shape[0]) if is_traced(coords) else increasing(coords)
    places = np.argsort(order).astype(np.int32)
    bare, block = structure.without_coords(), coords[order]
    if not is_traced(block):
        check_structure(bare, block[:MAX_LEVELS_CHECKED], f"kinship of {name!r}", across=True)
    grouping = Grouping(np.zeros(codes.size, np.int32), np.int64(1), None)
    return grouping, Term(as_field(bare, block.shape[1]), block[None], columns, places[codes], number), places


def _root(grouping: Grouping, term: Term) -> Float[NumpyArray, "_ _"]:
    """Return the root of a term, without weights; that of columns of unit length where they are traced."""
    if is_traced(term.z):
        return np.eye(term.z.shape[1])
    relation = grouping.relation
    if relation is None or is_traced(relation):
        return term.root()
    return term.root(np.sqrt(relation.diagonal())[np.asarray(grouping.codes), None])
