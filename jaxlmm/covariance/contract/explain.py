"""JAX's errors about a structure that it cannot trace or differentiate, in words for its author."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.base import AbstractCovariance
from jaxlmm.covariance.parameters import declared

DECLARE_STATIC = "declare it in the class as 'name: int = lmm.covariance.static()'"
"""Advice on a field that sets a shape, a branch or a function."""

CLASS_NAME = "<structure>"
"""Stands for the name of a structure's class where a text does not begin with it."""


class BrokenContractError(Exception):
    """A property of a structure's contract does not hold."""

    def about(self, structure: AbstractCovariance) -> str:
        """Return the text with the name of the structure's class in its place, at the beginning if there is none."""
        name, text = type(structure).__name__, str(self)
        return text.replace(CLASS_NAME, name) if CLASS_NAME in text else f"{name} {text}"


def explained(
    structure: AbstractCovariance, theta: Float[NumpyArray, " k"], coords: Float[NumpyArray, "q d"], error: Exception
) -> str:
    """Return why a structure could not be traced, with theta, coords, fields or derivatives as the cause."""
    for words_for, attempt in _stages(structure, theta, coords):
        try:
            attempt()
        except Exception as own_error:
            return words_for(own_error)
    return f"cannot be used: {_said(error)}"


def _stages(
    structure: AbstractCovariance, theta: Float[NumpyArray, " k"], coords: Float[NumpyArray, "q d"]
) -> Iterator[tuple[Callable[[Exception], str], Callable[[], Any]]]:
    def both(own: AbstractCovariance, theta: Float[jax.Array, " k"], coords: Float[Array, "q d"]) -> Any:
        own.covariance_as_written(theta, coords)
        return own.cholesky(theta, coords)

    def rebuilt(own: AbstractCovariance, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Any:
        own.n_params(coords.shape[0])
        factor = both(own, theta, coords)
        declared(own, tuple(f"column{number}" for number in range(coords.shape[0])))
        own.from_basis(theta, jnp.eye(coords.shape[0]))
        return own.report(theta, factor, jnp.ones(()))

    def total(theta: Float[jax.Array, " k"]) -> Float[jax.Array, ""]:
        return jnp.sum(structure.cholesky(theta, jnp.asarray(coords)) ** 2)

    yield _of_value, lambda: jax.make_jaxpr(lambda theta: both(structure, theta, coords))(theta)
    yield _of_coords, lambda: jax.make_jaxpr(lambda theta, coords: both(structure, theta, coords))(theta, coords)
    yield (
        lambda error: _of_field(structure, error),
        lambda: jax.make_jaxpr(lambda own, theta, coords: rebuilt(own, theta, coords))(structure, theta, coords),
    )
    yield _of_derivative, lambda: jax.make_jaxpr(jax.jacfwd(total))(theta)
    yield _of_derivative, lambda: jax.make_jaxpr(jax.jacfwd(jax.grad(total)))(theta)


def _of_value(error: Exception) -> str:
    words = _conversion(error, "theta")
    return words if words else f"cannot be evaluated: {_said(error)}"


def _of_coords(error: Exception) -> str:
    words = _conversion(error, "coords")
    return f"{words} coords.shape may be used anywhere." if words else f"cannot be evaluated: {_said(error)}"


def _of_field(structure: AbstractCovariance, error: Exception) -> str:
    name = getattr(error, "name", None)
    if isinstance(error, AttributeError) and name and name in vars(structure):
        return (
            f"reads self.{name}, which is no declared field, so that it is lost when JAX rebuilds the object: declare "
            f"'{name}: float' (numbers and arrays) or '{name}: int = lmm.covariance.static()' (what sets shapes, "
            "branches and functions) in the class."
        )
    if _conversion(error, "a field") or isinstance(error, TypeError):
        leaves = jax.tree_util.tree_leaves_with_path(structure)
        names = ", ".join(jax.tree_util.keystr(path).lstrip(".") for path, _ in leaves)
        return (
            f"uses a field that is not static ({names}) for a shape, an index, a branch or a number of Python: "
            f"{DECLARE_STATIC} ({_said(error)})."
        )
    return f"cannot be evaluated: {_said(error)}"


def _of_derivative(error: Exception) -> str:
    return (
        f"cannot be differentiated: {_said(error)}. Forward and reverse derivatives in theta are needed: write it with "
        "jax.numpy, jax.lax.scan in place of while_loop, jax.custom_jvp in place of custom_vjp, no callback."
    )


def _conversion(error: Exception, what: str) -> str | None:
    """Return the words for the conversion of a traced value, None for another error."""
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return f"hands {what} to NumPy: expected functions of jax.numpy (jnp.exp in place of np.exp or math.exp)."
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return (
            f"branches in Python on a value of {what} (if, and, max, abs of a comparison): expected jnp.where, "
            "jnp.maximum and their like."
        )
    if isinstance(error, jax.errors.TracerIntegerConversionError | jax.errors.ConcretizationTypeError):
        return (
            f"makes a number of Python of {what} (float, int, math, .item(), an index or a length): expected functions "
            "of jax.numpy on arrays."
        )
    return None


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
