"""Layouts with natural parameters held at given values, and the points of theta that have them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.covariance import NEARLY_ZERO, AbstractCovariance, Field, Parameter, ScaledRows, Unstructured
from jaxlmm.errors import OptionError
from jaxlmm.model.chain import MarkovChain
from jaxlmm.model.design import Design, Term
from jaxlmm.model.dispersion import Scaling
from jaxlmm.model.held import Held
from jaxlmm.model.layout import Layout
from jaxlmm.model.matrices import first_covariance
from jaxlmm.model.natural import Natural
from jaxlmm.optimize import feasible

STARTS = np.array([1.0, 0.1, 10.0, 1e-2, 1e2, 1e-3, 1e3])
"""Multiples of the usual start from which theta with given natural parameters is looked for."""

USUAL_SD = 0.5
"""A standard deviation of a column, relative to the residual's, where a start is needed and none is given."""

LARGEST_STARTING_CORRELATION = 0.999
"""Correlations begin no nearer to 1 and −1 than this."""

MAX_ERROR = 1e-6
"""Relative error of natural parameters below which theta has them."""

DEPENDENT_SHARE = 1e-7
"""Share of the largest singular value of the equations' Jacobian below which one is rounding."""


ROUNDING_OF_ROWS = 1e-10
"""The size of a row of a Jacobian, relative to the largest, below which it is rounding."""


def held_layout(design: Design, fixed: Natural | None, chains: tuple[MarkovChain | None, ...] = ()) -> Layout:
    """Return the layout of a design in which some natural parameters are ``fixed``; ``chains`` are those of a solver.

    Raises
    ------
    OptionError
        If a structure cannot have these values.
    """
    layout = Layout.of(design, chains)
    if fixed is None:
        return layout
    terms = [*design.terms, *([design.residual] if design.residual is not None else [])]
    blocks = zip(design.terms, fixed.parameters, fixed.values, strict=False)  # the last ones are the residual's
    structures = [_with_scales(*block) for block in blocks]
    own = [*structures, *([layout.residual] if layout.residual is not None else [])]
    values, dispersion = [np.array(part) for part in fixed.values], None
    if design.dispersion is not None:
        values[-1], coefficients = np.split(values[-1], [-len(design.dispersion.center)])
        dispersion = Scaling.of(design.dispersion, coefficients)
    if layout.family is not None:
        layout = layout.replace(family=layout.family.holding(values[-1]))
        sigma, absolute = np.float64(1.0), True
    else:
        sigma, values[-1][0], absolute = values[-1][0], np.nan, fixed.absolute
    coords = [np.asarray(term.coords) for term in terms]
    held = tuple(
        Held.of(structure, where, root, parameters, some)
        for structure, where, root, parameters, some in zip(
            own, coords, [*layout.roots, np.eye(1)], fixed.parameters, values, strict=False
        )
    )
    if fixed.absolute and any(isinstance(structure, Field) and not structure.scale for structure in structures):
        raise OptionError(
            "fixed: a standard deviation cannot be fixed beside a structure across levels that has no parameter for "
            "its scale alone; let theta[0] multiply its factor, or write a class with parameters and report."
        )
    layout = layout.replace(
        dispersion=dispersion,
        structures=tuple(structures),
        held=held,
        sigma=sigma if np.isfinite(sigma) else None,
        absolute=absolute,
    )
    if not layout.is_held:
        return layout
    in_unit = layout.in_unit(np.float64(1.0 if layout.family is not None else fixed.size))
    theta, error = point_at(in_unit, layout.start())
    if not error < MAX_ERROR:
        raise OptionError(_unreachable(fixed, own))
    parts = _jacobians(in_unit, theta, layout.bases())
    equations, covariances = (np.asarray(part) for part in parts)
    _, size, directions = np.linalg.svd(_scaled(equations))
    surface = directions[np.sum(size > DEPENDENT_SHARE * size.max(initial=0.0)) :]
    moves = np.linalg.svd(_scaled(covariances) @ surface.T, compute_uv=False)
    n_moved = int(np.sum(moves > DEPENDENT_SHARE * moves.max(initial=0.0)))
    return layout.replace(n_held=np.int32(layout.n_theta - n_moved))


def beginning_at(layout: Layout, given: Natural, unit: float) -> Layout:
    """Return the layout in which the natural parameters ``given`` are held beside those that are fixed.

    ``unit`` is that of the layout's factors. Derivatives vanish at the end of a range whatever the data, so the values
    are a little inside: a standard deviation of 0, a correlation of 1 or −1.
    """
    structures = [*layout.structures, *([layout.residual] if layout.residual is not None else [])]
    coords = [*layout.coords, *([layout.residual_coords] if layout.residual is not None else [])]
    values = [_inside(*parts, float(unit)) for parts in zip(given.parameters, given.values, strict=True)]
    if layout.dispersion is not None:
        values[-1] = values[-1][: -layout.dispersion.count]
    if layout.family is None:
        values[-1][0] = np.nan
    held = tuple(
        Held.of(structure, np.asarray(where), np.asarray(root), parameters, some).replace(unit=np.float64(unit))
        for structure, where, root, parameters, some in zip(
            structures, coords, [*layout.roots, np.eye(1)], given.parameters, values, strict=False
        )
    )
    if layout.held:
        held = tuple(map(Held.beside, layout.held, held))
    return layout.replace(held=held)


def point_at(layout: Layout, start: Float[NumpyArray, " k"]) -> tuple[Float[NumpyArray, " k"], float]:
    """Return theta near ``start`` at which the held parameters have their values, and the largest relative error."""
    theta, found = _nearest(layout, STARTS[:, None] * start, layout.bases())
    errors = np.where(np.isfinite(found), found, np.inf)
    best = int(np.argmin(errors)) if errors[0] > MAX_ERROR else 0
    return np.array(theta[best]), float(errors[best])


def near(layout: Layout, given: Natural, unit: float, start: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
    """Return theta near the standard deviations and correlations of columns that are ``given``, in units of ``unit``.

    Correlations that are not given are taken to be 0, standard deviations ``USUAL_SD``. Where a structure has no
    ``guess`` theta is that of ``start``.
    """
    covariances = []
    for parameters, values, coords in zip(given.parameters, given.values, layout.coords, strict=False):
        columns = list(dict.fromkeys(column for parameter in parameters for column in parameter.columns))
        sds, correlations = np.full(coords.shape[-2], USUAL_SD), np.eye(coords.shape[-2])
        for parameter, value in zip(parameters, values, strict=True):
            if not np.isfinite(value) or len(columns) != sds.size:
                continue
            where = [columns.index(column) for column in parameter.columns]
            if parameter.is_sd and len(where) == 1:
                sds[where[0]] = max(value / unit, NEARLY_ZERO)
            elif parameter.is_correlation_of_columns:
                bounded = np.clip(value, -LARGEST_STARTING_CORRELATION, LARGEST_STARTING_CORRELATION)
                correlations[tuple(where)] = correlations[tuple(where[::-1])] = bounded
        covariances.append(sds[:, None] * correlations * sds)
    inverse_bases = tuple(np.linalg.inv(basis) for basis in layout.bases())
    return np.array(_guessed(layout, tuple(covariances), start, inverse_bases))


@program(once=True)
def _guessed(
    layout: Layout,
    covariances: Sequence[Float[Array, "_ _"]],
    start: Float[Array, " k"],
    inverse_bases: Sequence[Float[Array, "_ _"]],
) -> Float[jax.Array, " k"]:
    """Return theta near a covariance of each term's columns, in the bases."""
    theta, blocks = jnp.asarray(start), layout.slices()
    for structure, where, inverse, covariance in zip(
        layout.structures, blocks, inverse_bases, covariances, strict=False
    ):
        if inverse.shape == covariance.shape:
            rough = jnp.asarray(inverse) @ covariance @ jnp.asarray(inverse).T
            theta = theta.at[where].set(structure.start_near(rough, theta[where]))
    return theta


def relative_to(sigma: float, term: Term, theta: Float[NumpyArray, " k"]) -> Float[NumpyArray, " k"]:
    """Return the theta at which the covariance factor of a term is that of ``theta`` divided by ``sigma``.

    Most structures have an entry that is a standard deviation, or its logarithm, or nothing but standard deviations.
    """
    coords, each = np.asarray(term.coords), np.eye(theta.size)
    scaled, shifted = theta * (1.0 - each + each / sigma), theta - each * np.log(sigma)
    points = np.concatenate([theta[None], theta[None] / sigma, scaled, shifted])
    block = coords[0] if coords.ndim == 3 else coords
    factors = np.asarray(_factors_at(term.structure, points, block))
    wanted = factors[0] / sigma
    for point, factor in zip(points[1:], factors[1:], strict=True):
        if np.allclose(factor, wanted, rtol=1e-9, atol=0.0):
            return np.asarray(point)
    return np.asarray(_with_factor(term.structure, theta, block, wanted))


@program(once=True)
def _factors_at(
    structure: AbstractCovariance, points: Float[Array, "points k"], coords: Float[Array, "q d"]
) -> Float[jax.Array, "points q q"]:
    """Return the covariance factor at each of the points of theta."""
    return jax.vmap(structure.leading_factor, in_axes=(0, None))(jnp.asarray(points), jnp.asarray(coords))


@program(once=True)
def _with_factor(
    structure: AbstractCovariance,
    theta: Float[Array, " k"],
    coords: Float[Array, "q d"],
    wanted: Float[Array, "q q"],
) -> Float[jax.Array, " k"]:
    """Return the point near ``theta`` at which the covariance factor is the one ``wanted``."""
    size = jnp.max(jnp.abs(jnp.asarray(wanted)))

    def errors(theta: Float[jax.Array, " k"]) -> Float[jax.Array, " m"]:
        return ((structure.leading_factor(theta, jnp.asarray(coords)) - wanted) / size).reshape(-1)

    return feasible(errors, jnp.asarray(theta), jnp.ones(theta.size))[0]


@program(once=True)
def _nearest(
    layout: Layout, starts: Float[Array, "starts k"], bases: Sequence[Float[Array, "_ _"]]
) -> tuple[Float[jax.Array, "starts k"], Float[jax.Array, " starts"]]:
    """Return the points near each of ``starts`` at which the held parameters have their values, and their errors."""

    def one(start: Float[jax.Array, " k"]) -> tuple[Float[jax.Array, " k"], Float[jax.Array, ""]]:
        theta, _ = feasible(lambda theta: layout.errors(theta, bases), start, jnp.ones_like(start))
        return theta, jnp.max(jnp.abs(layout.errors(theta, bases)))

    return jax.vmap(one)(jnp.asarray(starts))


@program(once=True)
def _jacobians(
    layout: Layout, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]]
) -> tuple[Float[jax.Array, "m k"], Float[jax.Array, "c k"]]:
    """Return the derivatives in theta of the errors, and of all covariances and what stands beyond them in theta."""

    def covariances(theta: Float[jax.Array, " k"]) -> Float[jax.Array, " c"]:
        factors = layout.factors(theta, bases)
        parts = [*factors.terms, *([] if factors.residual is None else [factors.residual])]
        return jnp.concatenate([*(first_covariance(part).reshape(-1) for part in parts), theta[sum(layout.counts) :]])

    theta = jnp.asarray(theta)
    return jax.jacfwd(lambda theta: layout.errors(theta, bases))(theta), jax.jacfwd(covariances)(theta)


def _scaled(jacobian: Float[NumpyArray, "m k"]) -> Float[NumpyArray, "m k"]:
    """Return rows of the same size, zero where they are rounding."""
    size = np.abs(jacobian).max(axis=1, keepdims=True, initial=0.0)
    counts = size > ROUNDING_OF_ROWS * size.max(initial=0.0)
    return np.where(counts, jacobian / np.where(counts, size, 1.0), 0.0)


def _inside(parameters: Sequence[Parameter], values: Float[NumpyArray, " r"], unit: float) -> Float[NumpyArray, " r"]:
    """Return values that are not at the end of their range."""
    inside = np.array(values)
    for index, (parameter, value) in enumerate(zip(parameters, values, strict=True)):
        if parameter.is_sd and value == 0.0:
            inside[index] = NEARLY_ZERO * unit
        elif parameter.is_correlation_of_columns:
            inside[index] = np.clip(value, -LARGEST_STARTING_CORRELATION, LARGEST_STARTING_CORRELATION)
    return inside


def _with_scales(term: Term, parameters: Sequence[Parameter], values: Float[NumpyArray, " r"]) -> AbstractCovariance:
    """Return the structure of a term, in parameters in which a standard deviation may vanish beside its correlation.

    Raises
    ------
    OptionError
        If a column is left out by a standard deviation of 0 beside such a correlation.
    """
    if type(term.structure) is not Unstructured or term.over_positions:
        return term.structure
    sds = {p.columns[0]: value for p, value in zip(parameters, values, strict=True) if len(p.columns) == 1}
    pairs = [
        p.columns
        for p, value in zip(parameters, values, strict=True)
        if len(p.columns) == 2 and np.isfinite(value) and value != 0.0
    ]
    if not any(np.isnan(sds[column]) for columns in pairs for column in columns):
        return term.structure
    vanished = [column for column, value in sds.items() if value == 0.0]
    if vanished:
        raise OptionError(
            f"fixed: a standard deviation of 0 of {vanished[0]!r} cannot stand beside correlations of the same term "
            "that are fixed; leave the column out of the term."
        )
    return ScaledRows()


def _unreachable(fixed: Natural, structures: Sequence[AbstractCovariance]) -> str:
    """Return the text of the error for values that a structure cannot have."""
    blocks = [block for block in range(len(fixed.values)) if fixed.named(block)]
    named = ", ".join(
        f"{type(structures[block]).__name__ if block < len(structures) else 'the residual'} at {fixed.named(block)}"
        for block in blocks
    )
    return f"fixed: expected values that a covariance of these structures can have, got {named}: none was found."
