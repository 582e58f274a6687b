"""Derivatives of the rows' log-densities, each evaluated once for all directions in which it is taken on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array, is_zero, materialized
from jaxlmm.errors import OptionError
from jaxlmm.families.base import AbstractFamily


class Derivatives(NamedTuple):
    """The kernel of the log-density of each observation, its ``score``, the derivative in eta, and the ``curvature``,
    that of the score, with its sign changed: the weight of an observation where it is positive.
    """

    value: Float[jax.Array, "*b"]
    score: Float[jax.Array, "*b"]
    curvature: Float[jax.Array, "*b"]


def row_derivatives(
    family: AbstractFamily,
    y: Float[Array, "*y"],
    eta: Float[Array, "*b"],
    dispersion: Float[Array, " d"],
    near: Float[Array, "*b"] | None = None,
) -> Derivatives:
    """Return the kernel of the log-density and its first two derivatives in eta, exact and differentiable.

    The density is differentiated in eta and in the dispersion as often as is asked for: k directions of theta cost
    products with what is found, where automatic differentiation would repeat the density's for each of them. With
    ``near``, everything is evaluated at that linear predictor, which is ``eta`` but for rounding; calls at different
    ``eta`` near it then share the evaluation.
    """
    at = jax.lax.stop_gradient((jnp.asarray(eta if near is None else near), jnp.asarray(dispersion)))
    value, score, second = _local(2, 0, family, jnp.asarray(y), *at, jnp.asarray(eta), jnp.asarray(dispersion))
    return Derivatives(value, score, -second)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _local(
    order: int, in_dispersion: int, family: AbstractFamily, y: Float[jax.Array, "*y"], at_eta: Float[jax.Array, "*b"],
    at_dispersion: Float[jax.Array, " d"], eta: Float[jax.Array, "*b"], dispersion: Float[jax.Array, " d"],
) -> Float[jax.Array, "_ ..."]:  # fmt: skip
    """Return derivatives at ``at_eta`` and ``at_dispersion`` as functions of ``eta`` and ``dispersion`` next to them.

    Those in eta up to an ``order`` along a first axis; last axes are over directions ``in_dispersion``.
    """
    return _evaluated(order, in_dispersion, family, y, at_eta, at_dispersion)


def _local_jvp(
    order: int, in_dispersion: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    family, y, _, _, eta, dispersion = primals
    along_eta, along_dispersion = map(materialized, tangents[4:])
    following = _local(order + 1, in_dispersion, *primals)
    change = following[1:] * along_eta.reshape((1, *along_eta.shape) + (1,) * in_dispersion)
    if along_dispersion.size:
        change = change + _local(order, in_dispersion + 1, *primals) @ along_dispersion
    if not all(is_zero(leaf) for leaf in jax.tree.leaves(tangents[:2], is_leaf=is_zero)):
        # As where an estimate is differentiated in its response: rarely, and then as any function.
        moving = jax.tree.map(materialized, tangents[:2], is_leaf=is_zero)

        def at_eta(family: AbstractFamily, y: jax.Array) -> jax.Array:
            return _evaluated(order, in_dispersion, family, y, eta, dispersion)

        change = change + jax.jvp(at_eta, (family, y), moving)[1]
    return following[:-1], change


_local.defjvp(_local_jvp, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _evaluated(
    order: int, in_dispersion: int, family: AbstractFamily, y: Float[jax.Array, "*y"], eta: Float[jax.Array, "*b"],
    dispersion: Float[jax.Array, " d"],
) -> Float[jax.Array, "_ ..."]:  # fmt: skip
    def values(dispersion: Float[jax.Array, " d"]) -> Float[jax.Array, "_ ..."]:
        def kernel(eta: Float[jax.Array, "*b"]) -> tuple[Float[jax.Array, "*b"], tuple[Float[jax.Array, "*b"], ...]]:
            found = family.log_kernel(y, eta, dispersion)
            if found.shape != eta.shape:
                raise OptionError(
                    f"{type(family).__name__}.log_density: expected one value for each linear predictor, shape "
                    f"{eta.shape}, got shape {found.shape}; do not sum over the observations."
                )
            return found, (found,)

        function: Callable[..., tuple[jax.Array, tuple[jax.Array, ...]]] = kernel
        for _ in range(order):
            function = functools.partial(_one_more, function)
        return jnp.stack(function(eta)[1])

    for _ in range(in_dispersion):
        values = jax.jacfwd(values)
    return values(dispersion)


def _one_more(
    function: Callable[..., tuple[jax.Array, tuple[jax.Array, ...]]], eta: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Return the derivative of an elementwise function, after the lower ones that it returns beside its value."""
    _, slope, lower = jax.jvp(function, (eta,), (jnp.ones_like(eta),), has_aux=True)
    return slope, (*lower, slope)
