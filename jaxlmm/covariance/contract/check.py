"""Whether a structure keeps its contract: what is tried out before its first fit, and what its author is told."""

from __future__ import annotations

import dataclasses
import operator
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.covariance.contract.explain import OWN, BrokenContractError, explained
from jaxlmm.covariance.contract.verdict import Tried, judge
from jaxlmm.covariance.field import as_field
from jaxlmm.errors import OptionError

SPREAD = (0.5, 1.0, 1.5, 2.0)
"""Standard deviations of the random theta at which a structure is tried, besides its start and zeros."""

MOST_ZEROED = 12
"""Up to this many parameters are set to zero one by one; of more, all at once."""

STEP = 1e-5
"""Length of the step of the central differences with which derivatives are compared."""


def check_contract(structure: AbstractCovariance, coords: NumpyArray, what: str, *, across: bool = False) -> None:
    """Raise unless a structure is what it says it is at ``coords`` (q, d): among columns, or ``across`` levels.

    It is traced and compiled once for each class (or function), value of its static fields, q and d; then it is tried
    at its start, at random theta, and with parameters at exactly zero. ``what`` begins the message.

    Raises
    ------
    OptionError
        With the property that fails: a whole number of parameters and a start of as many; a result of shape (q, q) in
        double precision, the same whenever it is asked for, from values that JAX can trace; finite at the start; a
        lower triangular factor, or a symmetric, positive semidefinite covariance; finite derivatives that are those
        of the values; a name for each natural parameter.
    """
    try:
        k = _count(structure, len(coords))
        start = _start(structure, coords, k)
        _check_fields(structure)
        reported = as_field(structure) if across else structure
        thetas = _trials(start)
        try:
            found = _tried(structure, reported, thetas, coords)
        except (BrokenContractError, OptionError):
            raise
        except Exception as error:
            raise BrokenContractError(explained(structure, start, coords, error)) from error
        judge(thetas, jax.tree.map(np.asarray, found))
    except BrokenContractError as broken:
        raise OptionError(f"{what}: {broken.about(structure)}") from broken.__cause__


def _count(structure: AbstractCovariance, q: int) -> int:
    found: Any = structure.n_params(q)
    try:
        count = operator.index(found)
    except TypeError:
        count = -1
    if count < 0 or isinstance(found, bool):
        raise BrokenContractError(
            f"says that {q} columns or positions have {found!r} parameters ({type(found).__name__}): expected a whole "
            "number of at least 0 from n_params, as of q * (q + 1) // 2."
        )
    return count


def _start(structure: AbstractCovariance, coords: NumpyArray, k: int) -> NumpyArray:
    found = np.asarray(structure.start(coords))
    if found.shape != (k,) or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise BrokenContractError(
            f"declares {k} parameters: expected as many finite numbers from start, got {found.tolist()} of shape "
            f"{found.shape}; n_params and start speak of the same theta."
        )
    return found.astype(float)


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
                f"has {leaf!r} in the field {name}: expected numbers, or a part of the program, which is declared as "
                f"'{name}: {type(leaf).__name__} = lmm.covariance.static()'."
            )


def _trials(start: NumpyArray) -> NumpyArray:
    """Return theta (t, k): the start first; the last rows have zeros."""
    k, rng = start.size, np.random.default_rng(0)
    near = start * np.array([1.0, -1.0])[:, None]
    far = rng.normal(size=(len(SPREAD), k)) * np.array(SPREAD)[:, None]
    zeroed = np.tile(start, (k if k <= MOST_ZEROED else 0, 1))
    zeroed[np.arange(len(zeroed)), np.arange(len(zeroed))] = 0.0
    return np.concatenate([near, far, zeroed, np.zeros((1, k))])


@program(once=True)
def _tried(structure: AbstractCovariance, reported: AbstractCovariance, thetas: Array, coords: Array) -> Tried:
    """Try a structure at ``thetas`` (t, k). What is said in words here is said while JAX traces, hence once."""
    thetas, coords = jnp.asarray(thetas), jnp.asarray(coords)
    (_, k), (q, _) = thetas.shape, coords.shape
    _count(structure, q)
    _check_reads(structure, k, thetas[0], coords)
    own = structure.stated(thetas[0], coords)
    _result(structure.cholesky(thetas[0], coords) if own is None else own, q)
    stated = jnp.asarray(own is not None)
    _check_again(structure, thetas[0], coords)
    rng = np.random.default_rng(1)
    along, weight = jnp.asarray(rng.normal(size=k) * STEP), jnp.asarray(rng.normal(size=(q, q)))

    def both(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = structure.stated(theta, coords)
        own = None if own is None else _result(own, q)
        factor = _result(structure.cholesky(theta, coords), q)
        return (factor @ factor.T if own is None else own), factor

    def weighed(theta: jax.Array) -> jax.Array:
        _, factor = both(theta)
        return jnp.sum(weight * (factor @ factor.T))

    def one(theta: jax.Array) -> Tried:
        (value, above, below), factors = jax.vmap(both)(jnp.stack([theta, theta + along, theta - along]))
        slope = jnp.moveaxis(jax.jacfwd(lambda theta: both(theta)[0])(theta), -1, 0)
        derivative = jnp.sum(slope * along[:, None, None], axis=0)
        differences = jnp.stack([derivative, 0.5 * (above - below)]) / STEP
        second = jax.jacfwd(jax.grad(weighed))(theta)
        return Tried(value, factors[0], slope, differences, second, stated)

    found = jax.vmap(one)(thetas)
    _check_names(reported, thetas[0], found.factor[0])
    return found


def _result(found: Any, q: int) -> jax.Array:
    """Return what an author's function returned, if it is a matrix in double precision."""
    if not isinstance(found, jax.Array | np.ndarray):
        what = f"a {type(found).__name__}" + (f" of {len(found)}" if isinstance(found, tuple | list) else "")
        raise BrokenContractError(
            f"returns {'nothing' if found is None else what}: expected one array of shape {(q, q)} from JAX."
        )
    if found.shape != (q, q):
        raise BrokenContractError(
            f"expected a finite factor of shape {(q, q)}, or a covariance, from {OWN}, got shape {found.shape}; "
            f"coords.shape[0] is {q}, the number of columns or positions."
        )
    if found.dtype != jnp.float64:
        raise BrokenContractError(
            f"returns {found.dtype}: expected float64, in which theta and coords come; leave out astype and arrays of "
            "another kind, as with jnp.zeros((q, q), theta.dtype)."
        )
    return jnp.asarray(found)


def _check_reads(structure: AbstractCovariance, k: int, theta: jax.Array, coords: jax.Array) -> None:
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
        except Exception:  # what works in JAX alone is told elsewhere
            continue


def _check_again(structure: AbstractCovariance, theta: jax.Array, coords: jax.Array) -> None:
    """Raise if a second look traces another program."""

    def traced() -> tuple[str, list[Any]]:
        found = jax.make_jaxpr(lambda theta, coords: structure.cholesky(theta, coords))(theta, coords)
        return re.sub("0x[0-9a-f]+", "", str(found)), found.consts

    (words, constants), (again, others) = traced(), traced()
    pairs = [
        (one, other)
        for one, other in zip(constants, others, strict=False)
        if not isinstance(one, jax.core.Tracer) and not isinstance(other, jax.core.Tracer)
    ]
    if words != again or not all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
        raise BrokenContractError(
            "returns something else when it is asked again: expected a function of theta and coords alone, without "
            "random numbers and counters."
        )


def _check_names(structure: AbstractCovariance, theta: jax.Array, factor: jax.Array) -> None:
    columns = tuple(f"column{number}" for number in range(factor.shape[0]))
    names = tuple(structure.param_names(columns))
    report = jnp.asarray(structure.report(theta, factor, jnp.ones(())))
    if report.shape != (len(names),) or not all(isinstance(name, str) for name in names):
        raise BrokenContractError(
            f"has {len(names)} names from param_names, {list(names)[:6]}, and report of shape {report.shape}: expected "
            "a text for each natural parameter; write both methods, or neither."
        )
    if len(set(names)) < len(names):
        raise BrokenContractError(f"gives a name twice in param_names, {list(names)[:6]}: expected different ones.")
    from_basis = jnp.asarray(structure.from_basis(theta, jnp.eye(factor.shape[0])))
    if from_basis.shape != theta.shape:
        raise BrokenContractError(
            f"returns shape {from_basis.shape} from from_basis: expected that of theta, {theta.shape}."
        )
