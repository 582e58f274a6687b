"""The one loop of every minimizer. Safe under ``vmap``: a finished problem keeps its state while others go on."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxlmm._util import Array, Struct

Objective = Callable[[jax.Array], jax.Array]
Tangents = TypeVar("Tangents")


class Minimum(NamedTuple):
    """Where a minimizer stopped.

    ``x`` (k,), ``value`` (), ``gradient`` (k,) and ``hessian`` (k, k) there; ``converged`` and ``n_steps`` ().
    """

    x: Array
    value: Array
    gradient: Array
    hessian: Array
    converged: Array
    n_steps: Array


class AbstractMinimizer(Struct, abc.ABC):
    """A method: its state is any pytree; ``step`` evaluates the objective at one place in the traced program."""

    @abc.abstractmethod
    def init(self, objective: Objective, x: jax.Array) -> Any:
        """Return the state before the first evaluation, at ``x`` (k,)."""

    @abc.abstractmethod
    def step(self, objective: Objective, state: Any) -> Any:
        """Evaluate once and return the next state."""

    @abc.abstractmethod
    def done(self, state: Any) -> jax.Array:
        """Return whether the state is final, ()."""

    @abc.abstractmethod
    def result(self, objective: Objective, state: Any, n_steps: jax.Array) -> Minimum:
        """Return the minimum that the state stands for."""


def minimize(method: AbstractMinimizer, objective: Objective, x: jax.Array, max_steps: jax.Array) -> Minimum:
    """Minimize ``objective`` from ``x`` (k,) in at most ``max_steps`` evaluations."""

    def unfinished(carry: tuple[jax.Array, Any]) -> jax.Array:
        count, state = carry
        return (count < max_steps) & ~method.done(state)

    def advance(carry: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
        count, state = carry
        return count + 1, method.step(objective, state)

    count, state = jax.lax.while_loop(unfinished, advance, (jnp.zeros((), jnp.int32), method.init(objective, x)))
    return method.result(objective, state, count)


def second_order(
    objective: Objective, x: jax.Array, *, sequential: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return value, gradient and Hessian of ``objective`` at ``x``, by forward over reverse differentiation."""

    def first_order(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, gradient = jax.value_and_grad(objective)(x)
        return gradient, value

    gradient, push, value = jax.linearize(first_order, x, has_aux=True)
    hessian = each_direction(push, x, sequential=sequential)
    return value, gradient, 0.5 * (hessian + hessian.T)


def each_direction(push: Callable[[jax.Array], Tangents], x: jax.Array, *, sequential: bool) -> Tangents:
    """Return what ``push`` makes of every unit direction at ``x`` (k,), along a new first axis.

    ``sequential`` saves the memory of all directions but one; together they are faster where matrices are small.
    """
    directions = jnp.eye(x.shape[0], dtype=x.dtype)
    return jax.lax.map(push, directions) if sequential else jax.vmap(push)(directions)
