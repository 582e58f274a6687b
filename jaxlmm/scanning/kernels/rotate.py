"""Rotation of responses and markers to the eigenbasis of one pattern of rows, and their sums gᵀPy and gᵀPg there."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int, Num

from jaxlmm._util import Array, NumpyArray, Struct, program
from jaxlmm.model import Design, Layout
from jaxlmm.scanning.kernels.criterion import REACHED_SHARE, Criterion, rank_where_zero
from jaxlmm.scanning.kernels.eigenbasis import MAX_START_RATIO, ScanBasis
from jaxlmm.scanning.kernels.refit import Optimum, minimized
from jaxlmm.scanning.kernels.unreached import unreached

COLLINEAR_SHARE = 1e-10
"""The fixed effects determine a marker if no larger share of its square is left off them."""

CONSTANT_SHARE = 1e-10
"""The fixed effects hold a constant if no larger share of its square is left off them."""

VANISHING_SHARE = 1e-12
"""A column, or a response, is zero where M is if no larger share of it is there: in a fit it has no residual then."""

MAX_ROWS_DECOMPOSED = 20_000
"""The most rows of which a matrix is decomposed: 3.2 GB, and half an hour on two cores."""


def has_one_ratio(design: Design) -> bool:
    """Return whether a design has one variance ratio (or none), and not too many rows to decompose its matrix."""
    if design.residual is not None or len(design.terms) > 1 or int(design.n) > MAX_ROWS_DECOMPOSED:
        return False
    scalar = all(not term.over_positions and term.size == 1 for term in design.terms)
    return scalar and Layout.of(design).n_theta <= 1


class MarkerRotation(Struct):
    """The linear map from genotypes of q samples to the eigenbasis of n rows, in which d = n − p rows are left.

    ``rotations`` take a marker to its c rotated columns, g and g·x with an interaction; ``lengths`` take the squares of
    its values to those of the columns; ``kept`` are weights of the basis and ``at_zero`` their combination at λ = 0;
    ``centered`` is 1 where the fixed effects hold a constant: each marker is then centered.
    """

    rotations: Float[Array, "c d q"]
    lengths: Float[Array, "c q"]
    kept: Float[Array, "r d"]
    at_zero: Float[Array, " r"]
    centered: Float[Array, ""]


class Block(NamedTuple):
    """Indices and frequencies of s markers, and the arrays of :func:`rotate_markers`, padded to S markers."""

    markers: Int[NumpyArray, " s"]
    frequency: Float[NumpyArray, " s"]
    rotated: Float[jax.Array, "c d S"]
    kept: Float[jax.Array, "c c r S"]
    left: Float[jax.Array, " S"]

    def reaches(self, zero: Float[Array, " r"]) -> Bool[NumpyArray, " s"]:
        """Return whether each marker has a part where M is zero; ``zero`` picks the kept weight of that part."""
        c = self.kept.shape[0]
        own = np.array([zero @ np.asarray(self.kept[i, i]) for i in range(c)])[:, : self.markers.size]
        whole = np.array([np.sum(np.asarray(self.rotated[i]) ** 2, axis=0) for i in range(c)])[:, : self.markers.size]
        return np.asarray((own > REACHED_SHARE * whole).any(axis=0))

    @property
    def collinear(self) -> Bool[NumpyArray, " s"]:
        """Whether the fixed effects determine each marker."""
        return np.logical_not(np.asarray(self.left)[: self.markers.size] > COLLINEAR_SHARE)


@dataclasses.dataclass(frozen=True, eq=False)
class ScanRows:
    """The rows of a pattern on the host, and their eigenbasis.

    ``root_weight`` and ``offset`` as in the design; ``mean_diagonal`` is the mean of M's diagonal without weights, by
    which a ratio becomes a share of variance; ``linear`` says that M is zero; ``related`` that a known matrix relates
    the levels; ``rotation`` is on the device.
    """

    basis: ScanBasis
    root_weight: Float[NumpyArray, " n"]
    offset: Float[NumpyArray, " n"]
    mean_diagonal: float
    linear: bool
    related: bool
    rotation: MarkerRotation

    @classmethod
    def of(
        cls,
        design: Design,
        samples: Int[NumpyArray, " n"],
        count: int,
        moderator: Float[NumpyArray, " n"] | None = None,
        *,
        dtype: str = "float64",
        bounds: tuple[float, float] = (0.0, np.inf),
    ) -> Self:
        """Decompose a design with one variance ratio.

        Parameters
        ----------
        design
            With one random term of one column, or none.
        samples
            Which of ``count`` samples each row is of.
        moderator
            The covariate x of an interaction, for a second column g·x, or None.
        dtype
            Of the product that rotates markers.
        bounds
            The smallest and the largest ratio λ.
        """
        n = int(design.n)
        fixed, root_weight = np.asarray(design.basis)[:n], np.asarray(design.root_weight)[:n]
        columns = [root_weight] if moderator is None else [root_weight, root_weight * moderator]
        incidence = [scipy.sparse.csr_array((column, (np.arange(n), samples)), shape=(n, count)) for column in columns]
        outside, square, related = np.zeros((n, 0)), 1.0, False
        if design.terms:
            grouping, z = design.groupings[design.terms[0].grouping], np.asarray(design.terms[0].z)[:n, 0]
            outside, square = unreached(fixed, np.asarray(grouping.codes)[:n], z), float(design.roots()[0].item()) ** 2
            related = grouping.relation is not None
        inside = np.stack([_without_rounding((part.T @ outside).T, abs(part).max()) for part in incidence])
        far = outside.shape[1] > len(columns) or not inside.any()
        basis = ScanBasis.of(
            fixed, covariance_of(design), bounds, outside, max_start_ratio=MAX_START_RATIO / square, far=far
        )
        rotations = np.stack([(part.T @ basis.rotation.T).T for part in incidence])
        rotations[:, rotations.shape[1] - outside.shape[1] :] = inside
        lengths = np.stack([np.bincount(samples, column**2, count) for column in columns])
        residual = root_weight - fixed @ (fixed.T @ root_weight)
        centered = np.float64(residual @ residual <= CONSTANT_SHARE * (root_weight @ root_weight))
        rotation = MarkerRotation(
            rotations.astype(dtype), lengths, np.ascontiguousarray(basis.kept.T),
            basis.mixing_at(np.zeros(1))[:, 0], centered,
        )  # fmt: skip
        diagonal = float(design.mean_squares()[0].item()) if design.terms else 0.0
        return cls(
            basis,
            root_weight,
            np.asarray(design.offset)[:n],
            diagonal,
            not design.terms,
            related,
            jax.device_put(rotation),
        )

    def rotated(self, y: Float[NumpyArray, "n m"]) -> tuple[Float[NumpyArray, "d m"], Bool[NumpyArray, " m"]]:
        """Return responses in the basis, and which vanish in all directions in which M is zero: exactly, there."""
        weighted = self.root_weight[:, None] * (y - self.offset[:, None])
        rotated, zero = self.basis.rotation @ weighted, self.basis.values == 0.0
        size = np.sqrt(np.mean(weighted**2, axis=0))
        vanishes = np.sum(rotated[zero] ** 2, axis=0) <= zero.sum() * (VANISHING_SHARE * size) ** 2
        return np.where(zero[:, None] & vanishes[None], 0.0, rotated), vanishes


def _without_rounding(values: Float[NumpyArray, "u q"], size: float) -> Float[NumpyArray, "u q"]:
    """Set products of orthonormal rows with columns to zero where they are rounding, which λ would multiply.

    ``size`` is the largest entry of the columns.
    """
    return np.where(np.abs(values) > VANISHING_SHARE * size, values, 0.0)


def covariance_of(design: Design) -> Float[NumpyArray, "n n"]:
    """Return M = Z K Zᵀ of a design with one random term of one column; zero without a term."""
    n = int(design.n)
    if not design.terms:
        return np.zeros((n, n))
    (term,) = design.terms
    grouping = design.groupings[term.grouping]
    codes, z = np.asarray(grouping.codes)[:n], np.asarray(term.z)[:n, 0]
    levels, indices = np.unique(codes, return_inverse=True)
    relation = np.eye(levels.size) if grouping.relation is None else grouping.relation.among(levels)
    return np.asarray(relation[np.ix_(indices, indices)] * z[:, None] * z[None, :])


@program()
def rotate_markers(
    rotation: MarkerRotation, g: Num[Array, "s q"]
) -> tuple[Float[jax.Array, "c d s"], Float[jax.Array, "c c r s"], Float[jax.Array, " s"]]:
    """Return the rotated columns of markers, their cross-products with the kept weights, and the share that is left.

    That is the least share of a column's square off the fixed effects and the columns before it.
    """
    g = jnp.asarray(g)
    g = g - rotation.centered * jnp.mean(g, axis=1, keepdims=True)
    c = rotation.rotations.shape[0]
    narrow = g.astype(rotation.rotations.dtype)
    rotated = jnp.stack(
        [jnp.matmul(matrix, narrow.T, precision="highest").astype(g.dtype) for matrix in rotation.rotations]
    )
    weighted = {
        (i, j): jnp.matmul(rotation.kept, rotated[i] * rotated[j], precision="highest")
        for i in range(c)
        for j in range(i, c)
    }
    kept = jnp.stack([jnp.stack([weighted[min(i, j), max(i, j)] for j in range(c)]) for i in range(c)])
    square = jnp.einsum("ijrs,r->ijs", kept, rotation.at_zero)
    length = [jnp.sum(g * g * own[None, :], axis=1) for own in rotation.lengths]
    left = square[0, 0] / length[0]
    if c > 1:
        beyond = square[1, 1] - square[0, 1] ** 2 / square[0, 0]
        left = jnp.minimum(left, beyond / length[1])
    return rotated, kept, left


def _cross(numerators: Float[Array, "m d"], rotated: Float[Array, "c d s"]) -> Float[jax.Array, "c m s"]:
    """Multiply the numerators of responses with each of the rotated columns."""
    return jnp.stack([jnp.matmul(numerators, column, precision="highest") for column in jnp.asarray(rotated)])


@program()
def refitted(
    criterion: Criterion,
    squares: Float[Array, "m k"],
    end_squares: Float[Array, "m 2"],
    vanishes: Bool[Array, " m"],
    numerators: Float[Array, "m r d"],
    rotated: Float[Array, "c d s"],
    kept: Float[Array, "c c r s"],
) -> Optimum:
    """Minimize a criterion over λ for m responses with each of s markers; results have a first axis over responses.

    ``squares``, ``end_squares`` and ``vanishes`` are those of :func:`null_optima`, ``numerators`` the rotated responses
    times the kept weights; ``rotated`` and ``kept`` the rotated columns and their cross-products, of
    :func:`rotate_markers`.
    """
    mixings = jnp.asarray(criterion.mixing), jnp.asarray(criterion.end_mixing)
    b_nodes, b_ends = (jnp.einsum("ijrs,rk->ijks", kept, part, precision="highest") for part in mixings)
    b_zero, b_plain = (jnp.einsum("ijrs,r->ijs", kept, jnp.asarray(part)) for part in (criterion.zero, criterion.plain))
    reached = rank_where_zero(criterion, b_zero, b_plain)

    def one(own: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> Optimum:
        criterion_of_one = criterion.replace(squares=own[0], end_squares=own[1], vanishes=own[2])
        a = _cross(own[3], rotated)
        a_nodes, a_ends = (jnp.einsum("crs,rk->cks", a, part, precision="highest") for part in mixings)
        return minimized(criterion_of_one, a_nodes, b_nodes, a_ends, b_ends, reached)

    by_response = jax.tree.map(jnp.asarray, (squares, end_squares, vanishes, numerators))
    if squares.shape[0] == 1:  # without vmap, branches that no marker takes are not computed
        return jax.tree.map(lambda leaf: leaf[None], one(jax.tree.map(lambda leaf: leaf[0], by_response)))
    return jax.vmap(one)(by_response)


@program()
def sums_at_ratios(
    mixing: Float[Array, "r m"],
    numerators: Float[Array, "m d"],
    rotated: Float[Array, "c d s"],
    kept: Float[Array, "c c r s"],
) -> tuple[Float[jax.Array, "c m s"], Float[jax.Array, "c c m s"]]:
    """Return gᵀPy and gᵀPg of s markers, each response at a variance ratio of its own.

    ``mixing`` are the combinations of kept weights at these ratios, ``numerators`` the responses, rotated and weighted.
    """
    return _cross(numerators, rotated), jnp.einsum("ijrs,rm->ijms", kept, mixing, precision="highest")


@program()
def null_optima(
    criterion: Criterion,
    squares: Float[Array, "m k"],
    end_squares: Float[Array, "m 2"],
    vanishes: Bool[Array, " m"],
) -> Optimum:
    """Minimize a criterion without a marker for m responses, with ``squares`` yᵀPy at its nodes and ends.

    ``vanishes`` says which of them are zero where M is.
    """
    k = criterion.nodes.shape[0]

    def one(
        squares: Float[jax.Array, " k"], end_squares: Float[jax.Array, " 2"], vanishes: Bool[jax.Array, ""]
    ) -> Optimum:
        a, b, a_ends, b_ends = (jnp.zeros((*(0,) * axes, size, 1)) for axes, size in ((1, k), (2, k), (1, 2), (2, 2)))
        criterion_of_one = criterion.replace(squares=squares, end_squares=end_squares, vanishes=vanishes)
        return minimized(criterion_of_one, a, b, a_ends, b_ends, jnp.zeros(1))

    optima = jax.vmap(one)(jnp.asarray(squares), jnp.asarray(end_squares), jnp.asarray(vanishes))
    return jax.tree.map(lambda leaf: leaf[..., 0], optima)
