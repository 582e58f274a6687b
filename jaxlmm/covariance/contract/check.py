"""The check of a structure's contract before its first fit, and the errors for its author."""

from __future__ import annotations

import dataclasses
import operator
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.covariance.contract.explain import CLASS_NAME, BrokenContractError, explained
from jaxlmm.covariance.contract.verdict import Trials, judge, judge_reports
from jaxlmm.covariance.field import as_field
from jaxlmm.covariance.parameters import declared
from jaxlmm.errors import OptionError

THETA_SDS = (0.5, 1.0, 1.5, 2.0)
"""Standard deviations of the random theta at which a structure is tried, besides its start and zeros."""

MAX_ZEROED_SINGLY = 12
"""Up to this many parameters are set to zero one by one; more of them all at once."""

DIFFERENCE_STEP = 1e-5
"""Length of the step of the central differences with which derivatives are compared."""


def check_contract(
    structure: AbstractCovariance, coords: Float[NumpyArray, "q d"], what: str, *, across: bool = False
) -> None:
    """Raise unless a structure keeps its contract at ``coords``.

    ``across`` says that the structure acts across the levels of a group (``kinship=``), not among columns or positions.
    It is traced and compiled once for each class (or function), value of its static fields, q and d; then it is tried
    at its start, at random theta, and with parameters at exactly zero. ``what`` begins the message.

    Raises
    ------
    OptionError
        With the property that fails: a whole number of parameters and a start of as many; a result of shape (q, q) in
        double precision, the same whenever it is asked for, from values that JAX can trace; finite at the start; a
        lower triangular factor, or a symmetric, positive semidefinite covariance; finite derivatives that are those
        of the values; a name for each natural parameter, and values of the kind that is declared.
    """
    try:
        k = _count(structure, len(coords))
        start = _start(structure, coords, k)
        _check_fields(structure)
        # Across levels names and report are those of a random field: their number must not grow with the levels.
        with_report = as_field(structure, coords.shape[1]) if across else structure
        thetas = _thetas(start)
        try:
            trials = _trials(structure, with_report, thetas, coords)
        except (BrokenContractError, OptionError):
            raise
        except Exception as error:
            raise BrokenContractError(explained(structure, start, coords, error)) from error
        trials = jax.tree.map(np.asarray, trials)
        judge(thetas, trials)
        judge_reports(declared(with_report, _columns(len(coords))), thetas, trials)
    except BrokenContractError as broken:
        raise OptionError(f"{what}: {broken.about(structure)}") from broken.__cause__


def _count(structure: AbstractCovariance, q: int) -> int:
    value: Any = structure.n_params(q)
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if count < 0 or isinstance(value, bool):
        raise BrokenContractError(
            f"says that {q} columns or positions have {value!r} parameters ({type(value).__name__}): expected a whole "
            "number of at least 0 from n_params, as of q * (q + 1) // 2."
        )
    return count


def _start(structure: AbstractCovariance, coords: Float[NumpyArray, "q d"], k: int) -> Float[NumpyArray, " k"]:
    start = np.asarray(structure.start(coords))
    if start.shape != (k,) or start.dtype.kind not in "iuf" or not np.isfinite(start).all():
        raise BrokenContractError(
            f"declares {k} parameters: expected as many finite numbers from start, got {start.tolist()} of shape "
            f"{start.shape}; n_params and start speak of the same theta."
        )
    return start.astype(float)


def _check_fields(structure: AbstractCovariance) -> None:
    """Raise unless static fields can be compared and all others are numbers."""
    for field in dataclasses.fields(structure):
        try:
            hash(getattr(structure, field.name) if field.metadata.get("static") else None)
        except TypeError as error:
            raise BrokenContractError(
                f"has a static field {field.name} that cannot be hashed ({error}): make it a tuple, or an array an "
                "ordinary field without static."
            ) from error
    for path, leaf in jax.tree_util.tree_leaves_with_path(structure):
        if np.asarray(leaf).dtype.kind not in "biuf":
            name = jax.tree_util.keystr(path).lstrip(".")
            raise BrokenContractError(
                f"has {leaf!r} in the field {name}: expected numbers; a value that sets a shape, a branch or a "
                f"function is declared as '{name}: {type(leaf).__name__} = lmm.covariance.static()'."
            )


def _thetas(start: Float[NumpyArray, " k"]) -> Float[NumpyArray, "t k"]:
    """Return the points at which a structure is tried: the start first, those with zeros last."""
    k, rng = start.size, np.random.default_rng(0)
    near = start * np.array([1.0, -1.0])[:, None]
    far = rng.normal(size=(len(THETA_SDS), k)) * np.array(THETA_SDS)[:, None]
    zeroed = np.tile(start, (k if k <= MAX_ZEROED_SINGLY else 0, 1))
    zeroed[np.arange(len(zeroed)), np.arange(len(zeroed))] = 0.0
    return np.concatenate([near, far, zeroed, np.zeros((1, k))])


@program(once=True)
def _trials(
    structure: AbstractCovariance,
    with_report: AbstractCovariance,
    thetas: Float[Array, "t k"],
    coords: Float[Array, "q d"],
) -> Trials:
    """Evaluate a structure at ``thetas``; the names and the report that are checked are those of ``with_report``.

    Errors are raised while JAX traces, hence once per compiled function.
    """
    thetas, coords = jnp.asarray(thetas), jnp.asarray(coords)
    (_, k), (q, _) = thetas.shape, coords.shape
    _count(structure, q)
    _check_reads(structure, k, thetas[0], coords)
    matrix = structure.covariance_as_written(thetas[0], coords)
    _result(structure.cholesky(thetas[0], coords) if matrix is None else matrix, q)
    is_covariance = jnp.asarray(matrix is not None)
    _check_pure(structure, thetas[0], coords)
    rng = np.random.default_rng(1)
    along, weight = jnp.asarray(rng.normal(size=k) * DIFFERENCE_STEP), jnp.asarray(rng.normal(size=(q, q)))

    def both(theta: Float[jax.Array, " k"]) -> tuple[Float[jax.Array, "q q"], Float[jax.Array, "q q"]]:
        matrix = structure.covariance_as_written(theta, coords)
        matrix = None if matrix is None else _result(matrix, q)
        factor = _result(structure.cholesky(theta, coords), q)
        return (factor @ factor.T if matrix is None else matrix), factor

    def weighted_sum(theta: Float[jax.Array, " k"]) -> Float[jax.Array, ""]:
        _, factor = both(theta)
        return jnp.sum(weight * (factor @ factor.T))

    def one(theta: Float[jax.Array, " k"]) -> Trials:
        (value, above, below), factors = jax.vmap(both)(jnp.stack([theta, theta + along, theta - along]))
        slope = jnp.moveaxis(jax.jacfwd(lambda theta: both(theta)[0])(theta), -1, 0)
        derivative = jnp.sum(slope * along[:, None, None], axis=0)
        differences = jnp.stack([derivative, 0.5 * (above - below)]) / DIFFERENCE_STEP
        second = jax.jacfwd(jax.grad(weighted_sum))(theta)
        return Trials(value, factors[0], slope, differences, second, is_covariance)

    trials = jax.vmap(one)(thetas)
    _check_names(with_report, thetas[0], trials.factor[0])

    def reports(theta: Float[jax.Array, " k"], factor: Float[jax.Array, "q q"]) -> Float[jax.Array, "2 r"]:
        return jnp.stack([with_report.report(theta, factor, jnp.asarray(sigma)) for sigma in (1.0, 2.0)])

    return trials._replace(reports=jax.vmap(reports)(thetas, trials.factor))


def _result(matrix: Any, q: int) -> Float[jax.Array, "q q"]:
    """Return the result of an author's function as a matrix, or raise unless it is one in double precision."""
    if not isinstance(matrix, jax.Array | np.ndarray):
        what = f"a {type(matrix).__name__}" + (f" of {len(matrix)}" if isinstance(matrix, tuple | list) else "")
        raise BrokenContractError(
            f"returns {'nothing' if matrix is None else what}: expected one array of shape {(q, q)} from JAX."
        )
    if matrix.shape != (q, q):
        raise BrokenContractError(
            f"expected a finite factor of shape {(q, q)}, or a covariance, from {CLASS_NAME}, got shape "
            f"{matrix.shape}; coords.shape[0] is {q}, the number of columns or positions."
        )
    if matrix.dtype != jnp.float64:
        raise BrokenContractError(
            f"returns {matrix.dtype}: expected float64, in which theta and coords come; leave out astype and arrays of "
            "another kind, as with jnp.zeros((q, q), theta.dtype)."
        )
    return jnp.asarray(matrix)


def _check_reads(
    structure: AbstractCovariance, k: int, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]
) -> None:
    """Raise if parameters or coordinates are read that do not exist.

    JAX would read past the end without a word; NumPy does not.
    """
    attempts = {
        f"declares {k} parameters and reads more": (np.full(k, 0.5), coords),
        f"reads coordinates that do not exist, coords have shape {coords.shape}": (theta, np.zeros(coords.shape)),
    }
    for words, arguments in attempts.items():
        try:
            structure.cholesky(*arguments)  # type: ignore[arg-type]
        except IndexError as error:
            raise BrokenContractError(f"{words} ({error}).") from error
        except Exception:  # what works in JAX alone is no fault
            continue


def _check_pure(structure: AbstractCovariance, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> None:
    """Raise if a second call traces to another jaxpr, or to other constants."""

    def traced() -> tuple[str, list[Any]]:
        jaxpr = jax.make_jaxpr(lambda theta, coords: structure.cholesky(theta, coords))(theta, coords)
        return re.sub("0x[0-9a-f]+", "", str(jaxpr)), jaxpr.consts

    (first, first_constants), (second, second_constants) = traced(), traced()
    pairs = [
        (one, other)
        for one, other in zip(first_constants, second_constants, strict=False)
        if not isinstance(one, jax.core.Tracer) and not isinstance(other, jax.core.Tracer)
    ]
    if first != second or not all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
        raise BrokenContractError(
            "returns something else when it is asked again: expected a function of theta and coords alone, without "
            "random numbers and counters."
        )


def _columns(q: int) -> tuple[str, ...]:
    """Return names of q columns."""
    return tuple(f"column{number}" for number in range(q))


def _check_names(structure: AbstractCovariance, theta: Float[jax.Array, " k"], factor: Float[jax.Array, "q q"]) -> None:
    names = [parameter.label for parameter in declared(structure, _columns(factor.shape[0]))]
    report = jnp.asarray(structure.report(theta, factor, jnp.ones(())))
    if report.shape != (len(names),):
        raise BrokenContractError(
            f"has {len(names)} parameters, {names[:6]}, and a report of shape {report.shape}: expected a parameter for "
            "each number; write both methods, parameters and report, or neither."
        )
    if len(set(names)) < len(names):
        raise BrokenContractError(f"gives a name twice in parameters, {names[:6]}: expected different ones.")
    from_basis = jnp.asarray(structure.from_basis(theta, jnp.eye(factor.shape[0])))
    if from_basis.shape != theta.shape:
        raise BrokenContractError(
            f"returns shape {from_basis.shape} from from_basis: expected that of theta, {theta.shape}."
        )
