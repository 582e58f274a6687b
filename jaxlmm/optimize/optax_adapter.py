"""Any optax gradient transformation as a minimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from jaxlmm._util import static
from jaxlmm.optimize.loop import AbstractMinimizer, Minimum, Objective, second_order


class OptaxState(NamedTuple):
    """``x`` and the transformation's own state; ``gradient`` at the last point evaluated, the one before ``x``."""

    x: Float[jax.Array, " k"]
    inner: Any
    gradient: Float[jax.Array, " k"]


class Optax(AbstractMinimizer):
    """Run ``transformation`` until every entry of the gradient is below ``tolerance``.

    The exact Hessian is taken once, at the end.
    """

    transformation: Any = static()
    tolerance: float = static(default=1e-5)

    def init(self, objective: Objective, x: Float[jax.Array, " k"]) -> OptaxState:
        return OptaxState(x, self.transformation.init(x), jnp.full_like(x, jnp.inf))

    def step(self, objective: Objective, state: OptaxState) -> OptaxState:
        import optax

        x, _ = objective.feasible(state.x, jnp.ones_like(state.x))
        value, gradient = jax.value_and_grad(objective)(x)
        gradient = objective.along(x, gradient, jnp.zeros((x.size, x.size), x.dtype), jnp.ones_like(x)).gradient
        transformation = optax.with_extra_args_support(self.transformation)
        # optax counts its steps in 32 bits and relies on promotion, which the caller may have forbidden.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, inner = transformation.update(
                gradient, state.inner, x, value=value, grad=gradient, value_fn=objective
            )
        converged = jnp.all(jnp.abs(gradient) < self.tolerance)
        x = jnp.where(converged, x, optax.apply_updates(x, updates))
        return OptaxState(x, inner, gradient)

    def done(self, state: OptaxState) -> Bool[jax.Array, ""]:
        return jnp.all(jnp.abs(state.gradient) < self.tolerance) | ~jnp.all(jnp.isfinite(state.x))

    def result(self, objective: Objective, state: OptaxState, n_steps: Int[jax.Array, ""]) -> Minimum:
        x, _ = objective.feasible(state.x, jnp.ones_like(state.x))
        value, gradient, hessian = second_order(objective, x)
        gradient, hessian, _ = objective.along(x, gradient, hessian, jnp.ones_like(x))
        converged = jnp.all(jnp.abs(state.gradient) < self.tolerance)
        return Minimum(x, value, gradient, hessian, converged, n_steps)
