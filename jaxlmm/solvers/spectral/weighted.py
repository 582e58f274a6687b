"""Sums over an eigenbasis with the weights 1 / (1 + ratio × eigenvalue), and the rule for their derivatives.

All that a deviance needs of a model with one variance ratio are such sums, and all their derivatives are sums with
powers of the same weights: value, gradient and Hessian of any number of responses are three matrix products.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, Struct, is_zero, materialized

MAX_PRODUCTS_KEPT = 2**24
"""Products of columns are kept up to this number of entries, 128 MB; beyond, they are formed at each ratio."""


class Column(Struct):
    """One column, whose weighted sum is taken."""

    column: Float[Array, " r"]

    def total(self, weights: Float[jax.Array, " r"]) -> Float[jax.Array, ""]:
        """Return the weighted sum."""
        return weights @ self.column


class Columns(Struct):
    """Columns ``a`` and ``b``, of whose products weighted sums over the rows are taken.

    ``products`` has a column for each pair of a column of ``a`` and one of ``b``: i j of them, or i (i + 1) / 2 where
    a is b. It is None where that would be too large.
    """

    a: Float[Array, "*b r i"]
    b: Float[Array, "*b r j"]
    products: Float[Array, "r _e"] | None

    @classmethod
    def of(cls, a: Float[jax.Array, "r i"], b: Float[jax.Array, "r j"]) -> Self:
        """Return the pair with its products, if they fit ``MAX_PRODUCTS_KEPT``."""
        if a.shape[0] * a.shape[1] * b.shape[1] > MAX_PRODUCTS_KEPT:
            return cls(a, b, None)
        if a is b:
            one, other = np.triu_indices(a.shape[1])
            return cls(a, b, a[:, one] * a[:, other])
        return cls(a, b, (a[:, :, None] * b[:, None, :]).reshape(a.shape[0], -1))

    def total(self, weights: Float[jax.Array, " r"]) -> Float[jax.Array, "i j"]:
        """Return ``Aᵀ diag(weights) B``."""
        i, j = self.a.shape[1], self.b.shape[1]
        if self.products is None:
            return (weights[:, None] * self.a).T @ self.b
        totals = weights @ self.products
        if totals.shape[0] == i * j:
            return totals.reshape(i, j)
        one, other = np.triu_indices(i)
        index = np.zeros((i, i), np.int32)
        index[one, other] = index[other, one] = np.arange(one.size)
        return totals[index]


class AugmentedColumns(Struct):
    """Columns ``a``, and a column ``e`` whose weighted products with them and with itself are taken."""

    a: Float[Array, "r i"]
    e: Float[Array, " r"]

    def total(self, weights: Float[jax.Array, " r"]) -> tuple[Float[jax.Array, " i"], Float[jax.Array, ""]]:
        """Return ``Aᵀ diag(weights) e`` and ``eᵀ diag(weights) e``."""
        weighted_e = weights * self.e
        return weighted_e @ self.a, weighted_e @ self.e


@jax.custom_batching.custom_vmap
def _augmented_total(
    weights: Float[jax.Array, " r"], a: Float[Array, "r i"], e: Float[Array, " r"]
) -> tuple[Float[jax.Array, " i"], Float[jax.Array, ""]]:
    """Return :meth:`AugmentedColumns.total`, with a rule for ``vmap``; never differentiated, as :func:`weighted` is."""
    return AugmentedColumns(a, e).total(weights)


@_augmented_total.def_vmap
def _augmented_total_of_many(size, batched, weights, a, e):  # type: ignore[no-untyped-def]
    """Map columns e that share weights and A, as where nodes are tried, as one matrix product; others one by one."""
    if tuple(batched) == (False, False, True):
        return (e @ (weights[:, None] * a), (e * e) @ weights), (True, True)
    axes = tuple(0 if one else None for one in batched)
    total = jax.vmap(lambda weights, a, e: AugmentedColumns(a, e).total(weights), in_axes=axes, axis_size=size)
    return total(weights, a, e), (True, True)


Part = Column | Columns | AugmentedColumns


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def weighted(order: int, ratio: Float[jax.Array, ""], values: Float[Array, " r"], parts: Sequence[Part]) -> list[Any]:
    """Return the totals of ``parts`` with the weights ``valuesᵏ / (1 + ratio values)ᵏ⁺¹``, k = ``order``.

    The derivative in ``ratio`` is −(k + 1) times the same of the next order, so that nothing of the length of the
    eigenbasis is kept for reverse differentiation.

    >>> float(weighted(0, jnp.array(1.0), jnp.array([1.0, 3.0]), [Column(jnp.array([2.0, 4.0]))])[0])
    2.0
    """
    weights = _weights(order, ratio, values)
    return [_augmented_total(weights, p.a, p.e) if isinstance(p, AugmentedColumns) else p.total(weights) for p in parts]


def _weights(order: int, ratio: Float[jax.Array, ""], values: Float[Array, " r"]) -> Float[jax.Array, " r"]:
    """Return ``valuesᵏ / (1 + ratio values)ᵏ⁺¹``, k = ``order``."""
    inverse = 1.0 / (1.0 + ratio * values)
    return inverse * (values * inverse) ** order if order else inverse


def _weighted_jvp(order, primals, tangents):  # type: ignore[no-untyped-def]
    """Differentiate in ``ratio`` by the sums of the next order, in the eigenvalues and columns as JAX does."""
    (ratio, values, parts), (d_ratio, *d_others) = primals, tangents
    out = weighted(order, ratio, values, parts)
    d_out = jax.tree.map(jnp.zeros_like, out)
    if not is_zero(d_ratio):
        next_order = weighted(order + 1, ratio, values, parts)
        d_out = jax.tree.map(lambda leaf: -(order + 1.0) * d_ratio * leaf, next_order)
    if not all(is_zero(leaf) for leaf in jax.tree.leaves(d_others, is_leaf=is_zero)):

        def totals(values: Float[Array, " r"], parts: Sequence[Part]) -> list[Any]:
            weights = _weights(order, ratio, values)
            return [part.total(weights) for part in parts]

        tangents = tuple(jax.tree.map(materialized, d_others, is_leaf=is_zero))
        _, change = jax.jvp(totals, (values, parts), tangents)
        d_out = jax.tree.map(jnp.add, d_out, change)
    return out, d_out


weighted.defjvp(_weighted_jvp, symbolic_zeros=True)


@jax.custom_jvp
def log_determinant(ratio: Float[jax.Array, ""], values: Float[Array, " r"]) -> Float[jax.Array, ""]:
    """Return ``Σ log(1 + ratio values)``.

    >>> round(float(log_determinant(jnp.array(1.0), jnp.array([0.0, 1.0]))), 6)
    0.693147
    """
    return jnp.sum(jnp.log1p(ratio * values))


def _log_determinant_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (ratio, values), (d_ratio, d_values) = primals, tangents
    d_out = jnp.zeros_like(ratio)
    if not is_zero(d_ratio):
        d_out = d_out + weighted(0, ratio, values, [Column(values)])[0] * d_ratio
    if not is_zero(d_values):
        d_out = d_out + ratio * weighted(0, ratio, values, [Column(d_values)])[0]
    return log_determinant(ratio, values), d_out


log_determinant.defjvp(_log_determinant_jvp, symbolic_zeros=True)
