"""The same structure with parameters of its own for each level of a factor: SAS's ``group=``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray, static
from jaxlmm.covariance.base import AbstractCovariance, BoundaryCandidates, Candidate, SearchAxes
from jaxlmm.covariance.parameters import Parameter, declared


class ByLevel(AbstractCovariance):
    """A block diagonal covariance: a block of one ``structure`` for each of some ``levels``, each with its own theta.

    The columns, or positions, are those of the first level, then of the next, and their names end in the level in
    brackets, as those of parameters do that are about no column. It is what ``by=`` in a formula makes:
    ``us(visit | id, by=arm)``.

    Parameters
    ----------
    structure
        The structure of each block.
    levels
        The names of the levels.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from jaxlmm.covariance import Diagonal
    >>> by_arm = ByLevel(Diagonal(hom=True), ("a", "b"))
    >>> by_arm.covariance(jnp.array([1.0, 2.0]), jnp.zeros((2, 1))).tolist()
    [[1.0, 0.0], [0.0, 4.0]]
    >>> [parameter.label for parameter in by_arm.parameters(["x[a]", "x[b]"])]
    ['sd[a]', 'sd[b]']
    """

    structure: AbstractCovariance
    levels: tuple[str, ...] = static()

    @property
    def authored(self) -> bool:
        """Whether a user wrote the structure."""
        return self.structure.authored

    def placed(self, coords: Float[NumpyArray, "q d"]) -> Self:
        return self.replace(structure=self.structure.placed(coords[: self._own(len(coords))]))

    def _own(self, q: int) -> int:
        """Return the number of columns or positions of one level."""
        return q // len(self.levels)

    def n_params(self, q: int) -> int:
        return len(self.levels) * self.structure.n_params(self._own(q))

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        self.structure.check(coords[: self._own(len(coords))])

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        own = coords[: self._own(coords.shape[0])]
        return self._blocks(jax.vmap(self.structure.covariance, in_axes=(0, None))(self._thetas(theta), own))

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        own = coords[: self._own(coords.shape[0])]
        return self._blocks(jax.vmap(self.structure.cholesky, in_axes=(0, None))(self._thetas(theta), own))

    def _thetas(self, theta: Float[Array, " k"]) -> Float[jax.Array, "levels _"]:
        return jnp.reshape(theta, (len(self.levels), -1))

    def _blocks(self, blocks: Float[jax.Array, "levels r r"]) -> Float[jax.Array, "q q"]:
        count, size = len(self.levels), blocks.shape[-1]
        number = np.arange(count)
        whole = jnp.zeros((count, size, count, size), blocks.dtype).at[number, :, number, :].set(blocks)
        return whole.reshape(count * size, count * size)

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        return np.tile(self.structure.start(self._of_one(coords)), len(self.levels))

    def _of_one(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, "*L _ d"]:
        return coords[..., : self._own(coords.shape[-2]), :]

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        own = self._of_one(coords)
        count, axes = self.structure.n_params(own.shape[-2]), self.structure.search_axes(own)
        return tuple((level * count + k, nodes) for level in range(len(self.levels)) for k, nodes in axes)

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        found = [self.structure.guess(covariance[at, at]) for at in self._slices(len(covariance))]
        guesses = [one for one in found if one is not None]
        return jnp.concatenate(guesses) if len(guesses) == len(self.levels) else None

    def guessed(self, q: int) -> Bool[NumpyArray, " k"]:
        return np.tile(self.structure.guessed(self._own(q)), len(self.levels))

    def _slices(self, q: int) -> list[slice]:
        own = self._own(q)
        return [slice(level * own, (level + 1) * own) for level in range(len(self.levels))]

    def in_basis(
        self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"], basis: Float[Array, "q q"]
    ) -> Float[jax.Array, "q q"]:
        own = coords[: self._own(coords.shape[0])]
        pairs = zip(self._thetas(theta), self._slices(coords.shape[0]), strict=True)
        return self._blocks(jnp.stack([self.structure.in_basis(one, own, basis[at, at]) for one, at in pairs]))

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        own = [self.structure.basis(np.asarray(np.linalg.qr(root[:, at], mode="r"))) for at in self._slices(len(root))]
        return np.asarray(scipy.linalg.block_diag(*own))

    def rotated(
        self, theta: Float[jax.Array, " k"], basis: Float[jax.Array, "q q"]
    ) -> tuple[Float[jax.Array, " k"], Float[jax.Array, "q q"]]:
        if basis.shape[0] < len(self.levels):  # over positions
            return theta, basis
        pairs = zip(self._thetas(theta), self._slices(basis.shape[0]), strict=True)
        thetas, bases = zip(*(self.structure.rotated(one, basis[at, at]) for one, at in pairs), strict=True)
        return jnp.concatenate(thetas), self._blocks(jnp.stack(bases))

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        over_positions = basis.shape[0] < len(self.levels)
        parts = [
            self.structure.from_basis(one, basis if over_positions else basis[at, at])
            for one, at in zip(theta.reshape(len(self.levels), -1), self._slices(basis.shape[0]), strict=True)
        ]
        return jnp.concatenate(parts) if isinstance(theta, jax.Array) else np.concatenate(parts)

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return the candidates of each level, with the others as they are, and last theta itself."""
        own, thetas = self._own(coords.shape[0]), self._thetas(theta)
        over_positions, size = basis.shape[0] < len(self.levels), thetas.shape[1]
        candidates: list[Candidate] = []
        for level, at in enumerate(self._slices(basis.shape[0])):
            at = slice(None) if over_positions else at
            found = self.structure.boundary_candidates(thetas[level], basis[at, at], root[at, at], coords[:own])
            for number in range(len(found.theta) - 1):  # the last one is the level as it is
                active = found.active_set[number]
                active = jnp.where(active > 0, active + level * size, active)
                candidates.append(
                    (
                        thetas.at[level].set(found.theta[number]).reshape(-1),
                        basis.at[at, at].set(found.basis[number]),
                        jnp.zeros(thetas.shape, active.dtype).at[level].set(active).reshape(-1),
                        found.valid[number],
                    )
                )
        candidates.append((theta, basis, np.zeros(theta.size), np.True_))
        return BoundaryCandidates.of(candidates)

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        own = self._own(len(columns))
        return tuple(
            parameter if parameter.columns else parameter.suffixed(f"[{level}]")
            for number, level in enumerate(self.levels)
            for parameter in declared(self.structure, columns[number * own : (number + 1) * own])
        )

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        own, thetas = self._own(factor.shape[0]), self._thetas(theta)
        blocks = [slice(level * own, (level + 1) * own) for level in range(len(self.levels))]
        return jnp.concatenate(
            [self.structure.report(one, factor[block, block], sigma) for one, block in zip(thetas, blocks, strict=True)]
        )
