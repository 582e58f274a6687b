"""One pattern of rows, ready for markers: the basis, and what takes a sample's genotype to it."""

from __future__ import annotations

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from jaxlmm._util import Array, NumpyArray, Struct, program
from jaxlmm.model import Design, Layout
from jaxlmm.scanning.kernels.criterion import Criterion, reaching
from jaxlmm.scanning.kernels.eigenbasis import USUAL, ScanBasis
from jaxlmm.scanning.kernels.refit import Optimum, best
from jaxlmm.scanning.kernels.unreached import unreached

COLLINEAR = 1e-10
"""Of a marker's square, what is left off the fixed effects is rounding below this share."""

CONSTANT = 1e-10
"""The fixed effects hold a constant if no larger share of it is left off them."""


ZERO = 1e-12
"""Where M is zero, what is left of a column, or of a response, is rounding below this share: as for a fit, which has no
residual then."""

LARGEST_ROWS = 20_000
"""The most rows of which a matrix is decomposed: 3.2 GB, and half an hour on two cores."""


def has_one_ratio(design: Design) -> bool:
    """Whether a design has one variance ratio (or none), and not too many rows to decompose its matrix."""
    if design.residual is not None or len(design.terms) > 1 or int(design.n) > LARGEST_ROWS:
        return False
    scalar = all(not term.over_positions and term.size == 1 for term in design.terms)
    return scalar and Layout.of(design).n_theta <= 1


class MarkerRotation(Struct):
    """Markers of q samples on n rows, in a basis of n − p.

    ``rotations`` (c, n − p, q) take a marker to its c rotated columns, ``lengths`` (c, q) the squares of its values to
    those of the columns; ``kept`` (r, n − p) are weights of the basis and ``at_zero`` (r,) their combination at λ = 0;
    ``centered`` () is 1 where the fixed effects hold a constant, which is then taken from each marker.
    """

    rotations: Array
    lengths: Array
    kept: Array
    at_zero: Array
    centered: Array


@dataclasses.dataclass(frozen=True, eq=False)
class ScanRows:
    """The rows of a pattern on the host.

    ``basis`` is decomposed; ``root_weight`` and ``offset`` (n,) as in the design; ``mean_diagonal`` () is the mean of
    M's diagonal without weights, by which a ratio becomes a share of variance; ``linear`` says that M is zero;
    ``related`` that a known matrix relates the levels; ``rotation`` is on the device.
    """

    basis: ScanBasis
    root_weight: NumpyArray
    offset: NumpyArray
    mean_diagonal: float
    linear: bool
    related: bool
    rotation: MarkerRotation

    @classmethod
    def of(
        cls,
        design: Design,
        samples: NumpyArray,
        count: int,
        moderator: NumpyArray | None = None,
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
            ``(n,)`` which of ``count`` samples each row is of.
        moderator
            ``(n,)`` what a marker is multiplied by in a second column, or None.
        dtype
            Of the product that rotates markers.
        bounds
            Between which the ratio is looked for.
        """
        n = int(design.n)
        fixed, weight = np.asarray(design.basis)[:n], np.asarray(design.root_weight)[:n]
        columns = [weight] if moderator is None else [weight, weight * moderator]
        spread = [sparse.csr_array((column, (np.arange(n), samples)), shape=(n, count)) for column in columns]
        outside, square, related = np.zeros((n, 0)), 1.0, False
        if design.terms:
            grouping, z = design.groupings[design.terms[0].grouping], np.asarray(design.terms[0].z)[:n, 0]
            outside, square = unreached(fixed, np.asarray(grouping.codes)[:n], z), float(design.roots()[0].item()) ** 2
            related = grouping.relation is not None
        inside = np.stack([_exact((part.T @ outside).T, abs(part).max()) for part in spread])
        far = outside.shape[1] > len(columns) or not inside.any()
        basis = ScanBasis.of(fixed, covariance_of(design), bounds, outside, usual=USUAL / square, far=far)
        rotations = np.stack([(part.T @ basis.rotation.T).T for part in spread])
        rotations[:, rotations.shape[1] - outside.shape[1] :] = inside
        lengths = np.stack([np.bincount(samples, column**2, count) for column in columns])
        rest = weight - fixed @ (fixed.T @ weight)
        centered = np.float64(rest @ rest <= CONSTANT * (weight @ weight))
        rotation = MarkerRotation(
            rotations.astype(dtype), lengths, np.ascontiguousarray(basis.kept.T),
            basis.mixing_at(np.zeros(1))[:, 0], centered,
        )  # fmt: skip
        diagonal = float(design.mean_squares()[0].item()) if design.terms else 0.0
        return cls(
            basis, weight, np.asarray(design.offset)[:n], diagonal, not design.terms, related, jax.device_put(rotation)
        )

    def rotated(self, y: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """Return responses (n, m) in the basis, (n − p, m), and which vanish in all directions in which M is zero (m,).

        These are exactly zero there.
        """
        weighted = self.root_weight[:, None] * (y - self.offset[:, None])
        rotated, zero = self.basis.rotation @ weighted, self.basis.values == 0.0
        size = np.sqrt(np.mean(weighted**2, axis=0))
        vanishes = np.sum(rotated[zero] ** 2, axis=0) <= zero.sum() * (ZERO * size) ** 2
        return np.where(zero[:, None] & vanishes[None], 0.0, rotated), vanishes


def _exact(values: NumpyArray, size: float) -> NumpyArray:
    """Return products (w, q) of orthonormal rows with columns without what is rounding: it would be multiplied by λ.

    ``size`` () is the largest entry of the columns.
    """
    return np.where(np.abs(values) > ZERO * size, values, 0.0)


def covariance_of(design: Design) -> NumpyArray:
    """Return M (n, n) of a design with one random term of one column; zero without a term."""
    n = int(design.n)
    if not design.terms:
        return np.zeros((n, n))
    (term,) = design.terms
    grouping = design.groupings[term.grouping]
    codes, z = np.asarray(grouping.codes)[:n], np.asarray(term.z)[:n, 0]
    levels, places = np.unique(codes, return_inverse=True)
    relation = np.eye(levels.size) if grouping.relation is None else grouping.relation.among(levels)
    return np.asarray(relation[np.ix_(places, places)] * z[:, None] * z[None, :])


@program()
def products(rotation: MarkerRotation, g: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the rotated columns (c, n − p, s) of markers (s, q), their products (c, c, r, s), and what is left (s,).

    Products are those with the kept weights; what is left is the least share of a column off the fixed effects and the
    columns before it.
    """
    g = jnp.asarray(g)
    g = g - rotation.centered * jnp.mean(g, axis=1, keepdims=True)
    c = rotation.rotations.shape[0]
    narrow = g.astype(rotation.rotations.dtype)
    rotated = jnp.stack(
        [jnp.matmul(matrix, narrow.T, precision="highest").astype(g.dtype) for matrix in rotation.rotations]
    )
    own = {
        (i, j): jnp.matmul(rotation.kept, rotated[i] * rotated[j], precision="highest")
        for i in range(c)
        for j in range(i, c)
    }
    kept = jnp.stack([jnp.stack([own[min(i, j), max(i, j)] for j in range(c)]) for i in range(c)])
    square = jnp.einsum("ijrs,r->ijs", kept, rotation.at_zero)
    length = [jnp.sum(g * g * own[None, :], axis=1) for own in rotation.lengths]
    left = square[0, 0] / length[0]
    if c > 1:
        beyond = square[1, 1] - square[0, 1] ** 2 / square[0, 0]
        left = jnp.minimum(left, beyond / length[1])
    return rotated, kept, left


def _times(numerators: Array, rotated: Array) -> jax.Array:
    """Multiply ``numerators`` (m, n − p) with each of the rotated columns (c, n − p, s)."""
    return jnp.stack([jnp.matmul(numerators, column, precision="highest") for column in jnp.asarray(rotated)])


@program()
def refitted(criterion: Criterion, numerators: Array, rotated: Array, kept: Array) -> Optimum:
    """Minimize a criterion for each of s markers.

    ``numerators`` (r, n − p) are the rotated response times the kept weights; ``rotated`` and ``kept`` what
    :func:`products` returned.
    """
    mixings = jnp.asarray(criterion.mixing), jnp.asarray(criterion.end_mixing)
    a = _times(numerators, rotated)
    a_nodes, a_ends = (jnp.einsum("crs,rk->cks", a, part, precision="highest") for part in mixings)
    b_nodes, b_ends = (jnp.einsum("ijrs,rk->ijks", kept, part, precision="highest") for part in mixings)
    b_zero, b_plain = (jnp.einsum("ijrs,r->ijs", kept, jnp.asarray(part)) for part in (criterion.zero, criterion.plain))
    return best(criterion, a_nodes, b_nodes, a_ends, b_ends, reaching(criterion, b_zero, b_plain))


@program()
def fixed_sums(mixing: Array, numerators: Array, rotated: Array, kept: Array) -> tuple[jax.Array, jax.Array]:
    """Return sums of s markers at the ratios of m responses, ``a`` (c, m, s) and ``b`` (c, c, m, s).

    ``mixing`` (r, m) are the kept weights of each, ``numerators`` (m, n − p) its rotated and weighted response.
    """
    return _times(numerators, rotated), jnp.einsum("ijrs,rm->ijms", kept, mixing, precision="highest")


@program()
def null_optima(criterion: Criterion, squares: Array, end_squares: Array, vanishes: Array) -> Optimum:
    """Minimize a criterion without a marker for m responses.

    These have ``squares`` (m, k) and ``end_squares`` (m, 2), and are zero where M is or not, ``vanishes`` (m,).
    """
    k = criterion.nodes.shape[0]

    def one(squares: jax.Array, end_squares: jax.Array, vanishes: jax.Array) -> Optimum:
        a, b, a_ends, b_ends = (jnp.zeros((*(0,) * axes, size, 1)) for axes, size in ((1, k), (2, k), (1, 2), (2, 2)))
        own = criterion.replace(squares=squares, end_squares=end_squares, vanishes=vanishes)
        return best(own, a, b, a_ends, b_ends, jnp.zeros(1))

    found = jax.vmap(one)(jnp.asarray(squares), jnp.asarray(end_squares), jnp.asarray(vanishes))
    return jax.tree.map(lambda leaf: leaf[..., 0], found)
