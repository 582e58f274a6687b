"""Natural parameters that are held at given values: equations in theta, which the minimizer keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance import AbstractCovariance, Parameter, ScaledRows

Form = Literal["value", "entry", "row", "correlation", "parallel", "length"]

GENERIC_ENTRY = 0.3
"""A value of an entry of theta at which nothing is special, in place of a start of zero."""


MAX_PARAMETERS_AS_DATA = 21
"""Natural parameters of a term, those of six columns, up to which each has an equation whether it is held or not."""


class Equation(NamedTuple):
    """One equation: its ``form``, its ``target``, and the indices of what it is ``about``.

    ``value``: a natural parameter, by its number among those of the term. Where it is zero, or a correlation of two
    columns, another form takes its place, because at the end of its range its derivatives vanish or are not defined:
    an ``entry`` of theta; ``row``, a row of the factor is zero; ``correlation`` of two rows of the factor;
    ``parallel`` rows, for a correlation of 1 or −1. ``length``: of a row of the factor of
    :class:`~jaxlmm.covariance.ScaledRows`, without its standard deviation.
    """

    form: Form
    about: tuple[int, ...]


class Held(Struct):
    """The parameters of one term that are held: ``equations`` with their ``targets`` (h,), in units of the response.

    ``numbers`` says of which parameter each equation is, by its number, −1 for one that is of none alone.

    An equation whose target is NaN is that of a parameter that is free: so which parameters are held compiles nothing,
    where a term has few. ``unit`` is that in which the layout's factors are written, in units of the response.
    """

    targets: Float[Array, "*b h"]
    unit: Float[Array, "*b"] | float
    equations: tuple[Equation, ...] = static(default=())
    numbers: tuple[int, ...] = static(default=())

    @classmethod
    def of(
        cls,
        structure: AbstractCovariance,
        coords: Float[NumpyArray, "*L q d"],
        root: Float[NumpyArray, "_ _"],
        parameters: Sequence[Parameter],
        values: Float[NumpyArray, " r"],
    ) -> Self:
        """Return how the ``values`` (r,) that are not NaN are held; ``root`` as in :meth:`AbstractCovariance.basis`."""
        if not np.isfinite(values).any():
            return cls(np.zeros(0), np.float64(1.0))
        parameters = parameters[: values.size]
        sds = np.array([parameter.is_sd for parameter in parameters])
        if sds.any() and np.all(values[sds] == 0.0):
            entries = _without_covariance(structure, coords)
            if entries is not None:
                about = tuple(Equation("entry", (k,)) for k in range(entries.size))
                return cls(entries, np.float64(1.0), about, (-1,) * entries.size)
        equations, targets, numbers = [], [], []
        rows, pairs = _rows_of(structure, coords, parameters)
        few = values.size <= MAX_PARAMETERS_AS_DATA
        for number in range(values.size) if few else np.flatnonzero(np.isfinite(values)).tolist():
            equation = _equation(structure, coords, values, number, rows, pairs)
            if equation is not None:
                equations.append(equation)
                targets.append(float(values[number]))
                numbers.append(number)
        if isinstance(structure, ScaledRows):
            lengths = np.linalg.norm(structure.basis(root), axis=1)
            equations += [Equation("length", (row,)) for row in range(len(lengths))]
            targets += lengths.tolist()
            numbers += [-1] * len(lengths)
        return cls(np.array(targets, float), np.float64(1.0), tuple(equations), tuple(numbers))

    def beside(self, other: Self) -> Self:
        """Return both sets of equations, in the unit of the ``other``."""
        targets = np.concatenate([self.targets, other.targets])
        equations, numbers = self.equations + other.equations, self.numbers + other.numbers
        return self.replace(targets=targets, unit=other.unit, equations=equations, numbers=numbers)

    def errors(
        self,
        structure: AbstractCovariance,
        theta: Float[jax.Array, " k"],
        factor: Float[jax.Array, "q r"],
        sigma: Float[Array, ""] | float = 1.0,
    ) -> list[Float[jax.Array, " _"]]:
        """Return what is zero where the equations hold, relative to the targets; equations of one form at once.

        ``sigma`` is what the factor is relative to, in the layout's unit.
        """
        report, errors = structure.report(theta, factor, jnp.asarray(sigma * self.unit)), []
        is_free = jnp.isnan(jnp.asarray(self.targets))
        targets = jnp.where(is_free, 1.0, jnp.asarray(self.targets))
        for form in dict.fromkeys(equation.form for equation in self.equations):
            alike = np.array([number for number, equation in enumerate(self.equations) if equation.form == form])
            about, target = np.array([self.equations[number].about for number in alike]).T, targets[alike]
            if form == "value":
                found = report[about[0]]
                undefined = jnp.isnan(found) & ~jnp.any(factor != 0.0)  # as a correlation beside zero
                size = jnp.where(target == 0.0, 1.0, jnp.abs(target))
                error = jnp.where(undefined, 0.0, (found - target) / size)[:, None]
            elif form == "entry":
                error = (theta[about[0]] - target)[:, None]
            elif form == "row":
                error = factor[about[0]]
            elif form == "length":
                error = _length_errors(factor[about[0]], theta[about[0]], target)[:, None]
            else:
                error = _correlation_errors(factor[about[0]], factor[about[1]], target, form)
            errors.append(jnp.where(is_free[alike][:, None], 0.0, error).reshape(-1))
        return errors


def _length_errors(
    rows: Float[jax.Array, "h r"], root_sds: Float[jax.Array, " h"], lengths: Float[jax.Array, " h"]
) -> Float[jax.Array, " h"]:
    """Return the errors of the lengths of rows without their standard deviations; of no row, 0."""
    exist = root_sds != 0.0
    squares = jnp.sum(rows**2, axis=1) / jnp.where(exist, root_sds, 1.0) ** 4
    return jnp.where(exist, squares / lengths**2 - 1.0, 0.0)


def _correlation_errors(
    one: Float[jax.Array, "h r"], other: Float[jax.Array, "h r"], correlations: Float[jax.Array, " h"], form: Form
) -> Float[jax.Array, "h _"]:
    """Return the errors of the correlations of pairs of rows; of a row of zeros, 0."""
    squares = jnp.stack([jnp.sum(one**2, axis=1), jnp.sum(other**2, axis=1)])
    exist = jnp.all(squares > 0.0, axis=0)
    first, second = jnp.sqrt(jnp.where(exist, squares, 1.0))
    if form == "parallel":
        apart = one / first[:, None] - jnp.sign(correlations)[:, None] * other / second[:, None]
        return jnp.where(exist[:, None], apart, 0.0)
    return jnp.where(exist, jnp.sum(one * other, axis=1) / (first * second) - correlations, 0.0)[:, None]


def _rows_of(
    structure: AbstractCovariance, coords: Float[NumpyArray, "*L q d"], parameters: Sequence[Parameter]
) -> tuple[dict[str, int], dict[int, tuple[int, int]]]:
    """Return the rows of the factor of which standard deviations are the lengths, by column, and those of which
    correlations are the cosines, by number: not every structure's are, as one sees at a theta without symmetries.
    """
    block, generic = _generic(structure, coords)
    factor = np.asarray(structure.leading_factor(generic, block))
    reported = np.asarray(structure.report(generic, jnp.asarray(factor), jnp.ones(())))
    lengths = np.linalg.norm(factor, axis=1)
    rows = {
        p.columns[0]: row
        for row, (p, told) in enumerate(zip(parameters[: lengths.size], reported, strict=False))
        if p.is_sd and len(p.columns) == 1 and np.isclose(told, lengths[row])
    }
    pairs = {}
    for number, p in enumerate(parameters):
        if p.is_correlation_of_columns and all(column in rows for column in p.columns):
            one, other = (rows[column] for column in p.columns)
            if np.isclose(reported[number], factor[one] @ factor[other] / (lengths[one] * lengths[other])):
                pairs[number] = (one, other)
    return rows, pairs


def _equation(
    structure: AbstractCovariance,
    coords: Float[NumpyArray, "*L q d"],
    values: Float[NumpyArray, " r"],
    number: int,
    rows: dict[str, int],
    pairs: dict[int, tuple[int, int]],
) -> Equation | None:
    """Return how one parameter is held; None where the others leave it undefined."""
    value = values[number]
    if value == 0.0 and number in rows.values():
        return Equation("row", (number,))
    if number in pairs:
        one, other = pairs[number]
        if values[one] == 0.0 or values[other] == 0.0:
            return None
        return Equation("parallel" if abs(value) == 1.0 else "correlation", (one, other))
    entry = _vanishing_entry(structure, coords, number) if value == 0.0 else None
    return Equation("value", (number,)) if entry is None else Equation("entry", (entry,))


def _generic(
    structure: AbstractCovariance, coords: Float[NumpyArray, "*L q d"]
) -> tuple[Float[jax.Array, "q d"], Float[jax.Array, " k"]]:
    """Return the coordinates of one block, and a theta at which nothing is special."""
    start = jnp.asarray(structure.start(np.asarray(coords)))
    block = jnp.asarray(coords[0] if coords.ndim == 3 else coords)
    return block, jnp.where(start == 0.0, GENERIC_ENTRY, start)


def _vanishing_entry(structure: AbstractCovariance, coords: Float[NumpyArray, "*L q d"], number: int) -> int | None:
    """Return the entry of theta that makes a natural parameter zero by being zero, or None."""
    block, generic = _generic(structure, coords)
    for k in range(generic.size):
        theta = generic.at[k].set(0.0)
        if structure.report(theta, structure.leading_factor(theta, block), jnp.ones(()))[number] == 0.0:
            return k
    return None


def _without_covariance(
    structure: AbstractCovariance, coords: Float[NumpyArray, "*L q d"]
) -> Float[NumpyArray, " k"] | None:
    """Return a theta, most of it zero, at which the covariance is zero, or None."""
    block, generic = _generic(structure, coords)
    for point in (jnp.zeros_like(generic), *(generic.at[k].set(0.0) for k in range(generic.size))):
        if not jnp.any(structure.leading_factor(point, block)):
            return np.asarray(point)
    return None
