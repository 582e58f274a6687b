"""The one loop of every minimizer. Safe under ``vmap``: a finished problem keeps its state while others go on."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxlmm._util import Array, Struct
from jaxlmm.optimize.constraint import Constraint, Tangent, along_surface, feasible

Value = TypeVar("Value")
Auxiliary = TypeVar("Auxiliary")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A traced ``function`` of the parameters, minimized where a ``constraint`` holds, if there is one."""

    function: Callable[[Float[jax.Array, " k"]], Float[jax.Array, ""]]
    constraint: Constraint | None = None

    def __call__(self, x: Float[jax.Array, " k"]) -> Float[jax.Array, ""]:
        return self.function(x)

    def feasible(
        self, x: Float[jax.Array, " k"], metric: Float[jax.Array, " k"]
    ) -> tuple[Float[jax.Array, " k"], Bool[jax.Array, ""]]:
        """Return the point near ``x`` at which the constraint holds, and whether it does."""
        return (x, jnp.ones((), bool)) if self.constraint is None else feasible(self.constraint, x, metric)

    def nearest(self, x: Float[jax.Array, " k"]) -> Float[jax.Array, ""]:
        """Return the value at the point near ``x`` at which the constraint holds, infinite where there is none."""
        if self.constraint is None:
            return self.function(x)
        point, holds = self.feasible(x, jnp.ones_like(x))
        return jnp.where(holds, self.function(point), jnp.inf)

    def movable(self, x: Float[jax.Array, " k"]) -> Bool[jax.Array, " k"] | None:
        """Return which parameters can change at ``x`` while the constraint holds; None where there is none."""
        if self.constraint is None:
            return None
        nothing, one = jnp.zeros((x.size, x.size), x.dtype), jnp.ones_like(x)
        projection = along_surface(self.constraint, x, jnp.zeros_like(x), nothing, one).projection
        assert projection is not None
        return jnp.diagonal(projection) > 0.0

    def along(
        self,
        x: Float[jax.Array, " k"],
        gradient: Float[jax.Array, " k"],
        hessian: Float[jax.Array, "k k"],
        metric: Float[jax.Array, " k"],
    ) -> Tangent:
        """Return gradient and Hessian at ``x`` along the surface on which the constraint holds."""
        if self.constraint is None:
            return Tangent(gradient, hessian, None)
        return along_surface(self.constraint, x, gradient, hessian, metric)


class Minimum(NamedTuple):
    """The point ``x`` at which a minimizer stopped, with ``value``, ``gradient`` and ``hessian`` there.

    Under a constraint the derivatives are those along its surface, as in :class:`~jaxlmm.optimize.constraint.Tangent`.
    """

    x: Float[Array, "*b k"]
    value: Float[Array, "*b"]
    gradient: Float[Array, "*b k"]
    hessian: Float[Array, "*b k k"]
    converged: Bool[Array, "*b"]
    n_steps: Int[Array, "*b"]


class AbstractMinimizer(Struct, abc.ABC):
    """A method of minimization. Its state is any pytree; only ``step`` evaluates the objective in the loop."""

    @abc.abstractmethod
    def init(self, objective: Objective, x: Float[jax.Array, " k"]) -> Any:
        """Return the state before the first evaluation, at ``x``."""

    @abc.abstractmethod
    def step(self, objective: Objective, state: Any) -> Any:
        """Evaluate once and return the next state."""

    @abc.abstractmethod
    def done(self, state: Any) -> Bool[jax.Array, ""]:
        """Return whether the state is final."""

    @abc.abstractmethod
    def result(self, objective: Objective, state: Any, n_steps: Int[jax.Array, ""]) -> Minimum:
        """Return the minimum that the state stands for."""


def minimize(
    method: AbstractMinimizer, objective: Objective, x: Float[jax.Array, " k"], max_steps: Int[Array, ""]
) -> Minimum:
    """Minimize ``objective`` from ``x`` in at most ``max_steps`` evaluations."""

    def unfinished(carry: tuple[Int[jax.Array, ""], Any]) -> Bool[jax.Array, ""]:
        count, state = carry
        return (count < max_steps) & ~method.done(state)

    def advance(carry: tuple[Int[jax.Array, ""], Any]) -> tuple[Int[jax.Array, ""], Any]:
        count, state = carry
        return count + 1, method.step(objective, state)

    count, state = jax.lax.while_loop(unfinished, advance, (jnp.zeros((), jnp.int32), method.init(objective, x)))
    return method.result(objective, state, count)


def second_order(
    objective: Objective, x: Float[jax.Array, " k"], *, sequential: bool = False
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " k"], Float[jax.Array, "k k"]]:
    """Return value, gradient and Hessian of ``objective`` at ``x``, by forward over reverse differentiation."""

    def first_order(x: Float[jax.Array, " k"]) -> tuple[Float[jax.Array, " k"], Float[jax.Array, ""]]:
        value, gradient = jax.value_and_grad(objective)(x)
        return gradient, value

    gradient, value, hessian = with_directions(first_order, x, sequential=sequential)
    return value, gradient, 0.5 * (hessian + hessian.T)


def with_directions(
    f: Callable[[Float[jax.Array, " k"]], tuple[Value, Auxiliary]],
    x: Float[jax.Array, " k"],
    *,
    sequential: bool,
    anew: bool = False,
) -> tuple[Value, Auxiliary, Value]:
    """Return the value of ``f`` at ``x``, what else it returns, and the value's derivatives in every direction of x.

    These have a first axis over the directions. ``sequential`` saves the memory of all directions but one; together
    they are faster where matrices are small. ``anew``, the value is evaluated with each direction, which saves the
    memory of what they share.
    """
    directions = jnp.eye(x.shape[0], dtype=x.dtype)
    if anew:
        value, auxiliary = f(x)
        along = jax.lax.map(lambda direction: jax.jvp(f, (x,), (direction,), has_aux=True)[1], directions)
        return value, auxiliary, along
    value, push, auxiliary = jax.linearize(f, x, has_aux=True)
    return value, auxiliary, jax.lax.map(push, directions) if sequential else jax.vmap(push)(directions)
