"""A group of components of effects, padded to one size: dense matrices, reflections of levels, products with Λ.

The rest are the grouping factors that are not eliminated; components are connected sets of their effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.solvers.blocked.coupling import slices

NO_LEVEL = np.iinfo(np.int32).max
"""The index that stands for a level in padding."""

GroupingFactors = Sequence[Float[jax.Array, "_q _s"]]
"""The relative covariance factor Λ of each grouping of the rest."""


class Outside(Struct):
    """The part of a group's columns Z outside Q, the orthonormal bases of the eliminated levels.

    ``products`` is ``C = Zᵀ(I − QQᵀ)Z``, ``near_inverse`` nearly its inverse. A sum of a factor's columns over all its
    levels often lies in the bases (the constant does): C is singular there, and its rounding, not its zeros, would be
    multiplied by a large variance. ``reflections`` of the levels, per grouping, make such sums columns of their own, in
    which both matrices then stand, with exact zeros. They commute with Λ. There are none where matrices are large.
    """

    products: Float[Array, "B m m"]
    near_inverse: Float[Array, "B m m"]
    reflections: tuple[Float[Array, "B _l _l"], ...] | None

    def solve(self, b: Float[jax.Array, "B m c"], refinements: int) -> Float[jax.Array, "B m c"]:
        """Return x with ``C x = b``, for b in the range of C, by ``refinements`` products with ``near_inverse``."""
        near_inverse, products = jnp.asarray(self.near_inverse), jnp.asarray(self.products)
        x = near_inverse @ b
        for _ in range(refinements - 1):
            x = x + near_inverse @ (b - products @ x)
        return x


def apply_reflections(
    reflections: tuple[Float[Array, "B _l _l"], ...], widths: Sequence[int], v: Float[Array, "B m c"]
) -> Float[Array, "B m c"]:
    """Apply a reflection of each grouping's levels to ``v``, whose columns stand level by level, ``widths`` of each.

    Of NumPy's arrays the result is one too.
    """
    parts = []
    sizes = [reflection.shape[1] * width for reflection, width in zip(reflections, widths, strict=True)]
    for reflection, columns in zip(reflections, slices(sizes), strict=True):
        part = v[:, columns]
        parts.append((reflection @ part.reshape(*reflection.shape[:2], -1)).reshape(part.shape))
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts, axis=1)


class Block(Struct):
    """A group of components: B of them, with m columns of the rest each.

    Columns stand grouping by grouping, level by level: ``counts`` levels of ``widths`` columns. ``outside`` is their
    part outside the eliminated levels' bases, None where that is zero. ``levels`` are the indices of each grouping's
    levels, ``NO_LEVEL``, past the last, where padded. Λ takes effects of unit variance, r to a component, to
    coefficients, m to a component.
    """

    outside: Outside | None
    levels: tuple[Int[Array, "_B _l"], ...]
    counts: tuple[int, ...] = static()
    widths: tuple[int, ...] = static()

    @property
    def size(self) -> int:
        return sum(count * width for count, width in zip(self.counts, self.widths, strict=True))

    def reflect(self, v: Float[Array, "B m c"]) -> Float[Array, "B m c"]:
        """Change ``v`` from the levels' columns to reflected ones, or back, where the group has reflections."""
        if self.outside is None or self.outside.reflections is None:
            return v
        return apply_reflections(self.outside.reflections, self.widths, v)

    def reflect_both(self, matrix: Float[jax.Array, "B m m"]) -> Float[jax.Array, "B m m"]:
        """Change a symmetric ``matrix`` from the levels' columns to reflected ones, or back, on both sides."""
        return self.reflect(self.reflect(matrix).swapaxes(-1, -2))

    def trimmed(self) -> tuple[Self, Int[NumpyArray, " m"]]:
        """Return a group of one component (B = 1) without its padding, and the indices of the columns that are kept."""
        real = [np.asarray(levels[0]) < NO_LEVEL for levels in self.levels]
        kept = np.concatenate([np.repeat(mask, width) for mask, width in zip(real, self.widths, strict=True)])
        outside = self.outside
        if outside is not None:
            reflections = outside.reflections
            if reflections is not None:
                reflections = tuple(
                    np.asarray(reflection)[:, mask][:, :, mask]
                    for reflection, mask in zip(reflections, real, strict=True)
                )
            products, near_inverse = (
                np.asarray(matrix)[:, kept][:, :, kept] for matrix in (outside.products, outside.near_inverse)
            )
            outside = Outside(products, near_inverse, reflections)
        levels = tuple(np.asarray(levels)[:, mask] for levels, mask in zip(self.levels, real, strict=True))
        counts = tuple(int(mask.sum()) for mask in real)
        return self.replace(outside=outside, levels=levels, counts=counts), np.flatnonzero(kept)

    def transform(self, factors: GroupingFactors, v: Float[jax.Array, "B m c"]) -> Float[jax.Array, "B r c"]:
        """Return ``Λᵀ v``."""
        return self._each([factor.T for factor in factors], self.widths, v)

    def transform_both(self, factors: GroupingFactors, matrix: Float[jax.Array, "B m m"]) -> Float[jax.Array, "B r r"]:
        """Return ``Λᵀ M Λ`` for a symmetric ``matrix`` M."""
        if all(factor.shape == (1, 1) for factor in factors):
            scale = self._scales(factors)
            return matrix * (scale[:, None] * scale[None, :])[None]
        half = self.transform(factors, matrix).swapaxes(-1, -2)
        whole = self.transform(factors, half)
        return 0.5 * (whole + whole.swapaxes(-1, -2))

    def expand(self, factors: GroupingFactors, u: Float[jax.Array, "B r c"]) -> Float[jax.Array, "B m c"]:
        """Return ``Λ u``."""
        return self._each(factors, tuple(factor.shape[1] for factor in factors), u)

    def of_grouping(self, index: int, v: Float[jax.Array, "B m"]) -> Float[jax.Array, "B l q"]:
        """Return the part of ``v`` that belongs to one grouping, level by level."""
        columns = slices([count * width for count, width in zip(self.counts, self.widths, strict=True)])
        return v[:, columns[index]].reshape(v.shape[0], self.counts[index], self.widths[index])

    def _each(
        self, matrices: GroupingFactors, widths: tuple[int, ...], v: Float[jax.Array, "B m c"]
    ) -> Float[jax.Array, "B r c"]:
        """Multiply the ``widths`` columns of each level by its grouping's matrix."""
        if all(matrix.shape == (1, 1) for matrix in matrices):
            return v * self._scales(matrices)[None, :, None]
        parts = []
        slices_of_groupings = slices([count * width for count, width in zip(self.counts, widths, strict=True)])
        for matrix, columns, count, width in zip(matrices, slices_of_groupings, self.counts, widths, strict=True):
            part = v[:, columns].reshape(v.shape[0], count, width, v.shape[-1])
            multiplied = jnp.einsum("qr,blrc->blqc", matrix, part)
            parts.append(multiplied.reshape(v.shape[0], count * matrix.shape[0], v.shape[-1]))
        return jnp.concatenate(parts, axis=1)

    def _scales(self, matrices: GroupingFactors) -> Float[jax.Array, " m"]:
        """Return the number by which each column is multiplied, where all matrices are 1 by 1."""
        scales = [jnp.broadcast_to(matrix[0, 0], count) for matrix, count in zip(matrices, self.counts, strict=True)]
        return jnp.concatenate(scales)


def dot(a: Float[jax.Array, "B m i"], b: Float[jax.Array, "B m j"]) -> Float[jax.Array, "i j"]:
    """Return ``aᵀ b`` summed over a group of components."""
    return jnp.einsum("bmi,bmj->ij", a, b)
