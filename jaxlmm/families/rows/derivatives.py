"""Derivatives of the rows' log-densities, each evaluated once for all directions in which it is taken on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.errors import OptionError
from jaxlmm.families.base import AbstractFamily, Derivatives


def derivatives_once(
    family: AbstractFamily,
    y: Float[Array, "*y"],
    eta: Float[Array, "*b"],
    dispersion: Float[Array, " d"],
    near: Float[Array, "*b"] | None = None,
) -> Derivatives:
    """Return :meth:`AbstractFamily.derivatives`, of which further derivatives are functions of the rows as well.

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
    along_eta, along_dispersion = (_or_zeros(*pair) for pair in zip(tangents[4:], primals[4:], strict=True))
    following = _local(order + 1, in_dispersion, *primals)
    change = following[1:] * along_eta.reshape((1, *along_eta.shape) + (1,) * in_dispersion)
    if along_dispersion.size:
        change = change + _local(order, in_dispersion + 1, *primals) @ along_dispersion
    if any(not isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangents[:2], is_leaf=_is_zero)):
        # As where an estimate is differentiated in its response: rarely, and then as any function.
        moving = jax.tree.map(_or_zeros, tangents[:2], (family, y), is_leaf=_is_zero)

        def at_eta(family: AbstractFamily, y: jax.Array) -> jax.Array:
            return _evaluated(order, in_dispersion, family, y, eta, dispersion)

        change = change + jax.jvp(at_eta, (family, y), moving)[1]
    return following[:-1], change


_local.defjvp(_local_jvp, symbolic_zeros=True)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _or_zeros(tangent: Any, primal: jax.Array) -> Any:
    """Return a tangent as an array, where it is known to be zero too."""
    if not _is_zero(tangent):
        return tangent
    if jnp.issubdtype(jnp.result_type(primal), jnp.inexact):
        return jnp.zeros_like(primal)
    return np.zeros(np.shape(primal), jax.dtypes.float0)


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
