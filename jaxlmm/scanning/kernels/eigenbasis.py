"""The eigenbasis of a scan: in it Var(y) is diagonal for every variance ratio, and fixed effects are projected out.

With ``S = I − X(XᵀX)⁻¹Xᵀ`` and ``Var(y) = σ² (λM + I)``, let U (n, n − p) be eigenvectors of ``S M S`` orthogonal to X
with eigenvalues ξ. Then ``P(λ) = U diag(1 / (λξ + 1)) Uᵀ`` for every λ, where P is the projection of the REML
criterion (Kang et al. 2008, doi:10.1534/genetics.107.080101, appendix): a marker in the model is two sums over n − p
numbers, whatever the covariates.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple, Self

import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.linalg import eigh

NODE_SPACING = 0.23
"""The distance of nodes in log λ; seven on either side carry a polynomial whose error at the center is below 1e-12."""

NODES_PER_SIDE = 7
"""Nodes on either side of the one on which the window of a polynomial is centered."""

MAX_SCALED_RATIO = 1e8
"""The largest λ times the mean eigenvalue, and the inverse of the smallest, at which an optimum inside is sought."""

MAX_SCALED_RATIO_SINGULAR = 1e24
"""The largest λ times the mean eigenvalue where M is singular: how small a residual is shows there alone, down to
1e-12 of the response."""

MAX_START_RATIO = 40.0**2
"""The largest λ, relative to the mean diagonal of M, at which a search begins where M is singular, as that of a fit
does; it continues from there downhill. The likelihood may have two optima, or none and rise without bound."""

MIN_INDEPENDENT_SHARE = 1e-13
"""A weight vector of which no larger share is off those that are kept is a combination of them, but for rounding."""

KEPT_MULTIPLE = 8
"""The number of kept weights is a multiple of this, the last ones zero, so that matrices share compiled functions."""


class Skeleton(NamedTuple):
    """Interpolative decomposition: the columns ``kept`` of a matrix, of which all others are combinations.

    By a rank-revealing QR (Cheng et al. 2005, doi:10.1137/030602678) on the rows that are not ``left_out``:
    ``orthonormal triangle / lengths`` are the kept columns that are not zero. One more column is the indicator of the
    rows left out, if there are any, and ``zero`` is 1 for that column.
    """

    kept: Float[NumpyArray, "d r"]
    orthonormal: Float[NumpyArray, "d rank"]
    triangle: Float[NumpyArray, "rank rank"]
    lengths: Float[NumpyArray, " rank"]
    left_out: Bool[NumpyArray, " d"]
    zero: Float[NumpyArray, " r"]

    @classmethod
    def of(cls, columns: Float[NumpyArray, "d k"], left_out: Bool[NumpyArray, " d"]) -> Self:
        """Choose among columns by their rows that are not left out."""
        columns = np.where(left_out[:, None], 0.0, columns)
        length = np.linalg.norm(columns, axis=0)
        length = np.where(length > 0.0, length, 1.0)
        q, triangle, order = scipy.linalg.qr(columns / length, mode="economic", pivoting=True, check_finite=False)
        pivots = np.abs(np.diagonal(triangle))
        rank = max(int(np.sum(pivots > MIN_INDEPENDENT_SHARE * pivots[0])), 1)
        chosen = order[:rank]
        indicator = np.ones((len(columns), int(left_out.any()))) * left_out[:, None]
        kept = np.concatenate([columns[:, chosen], indicator], axis=1)
        kept = np.pad(kept, ((0, 0), (0, -kept.shape[1] % KEPT_MULTIPLE)))
        zero = np.zeros(kept.shape[1])
        zero[rank : rank + indicator.shape[1]] = 1.0
        return cls(kept, q[:, :rank], triangle[:rank, :rank], length[chosen], left_out, zero)

    def solve(self, columns: Float[NumpyArray, "d m"]) -> Float[NumpyArray, "r m"]:
        """Return the combinations of kept columns that are equal to ``columns`` on the rows that are not left out."""
        columns = np.where(self.left_out[:, None], 0.0, columns)
        if self.left_out.all():
            return np.zeros((self.kept.shape[1], columns.shape[1]))
        solution = scipy.linalg.solve_triangular(self.triangle, self.orthonormal.T @ columns, check_finite=False)
        return np.pad(solution / self.lengths[:, None], ((0, self.kept.shape[1] - self.lengths.size), (0, 0)))


@dataclasses.dataclass(frozen=True, eq=False)
class ScanBasis:
    """Eigenbasis of M off the fixed effects, on one pattern of rows; d = n − p.

    ``rotation`` is Uᵀ; ``values`` are the eigenvalues ξ with mean ``mean``; those below ``floor`` are rounding and
    zero. Weights of the d squares at a ratio λ are

        φ(λ) = (1 + λ mean) / (1 + λ ξ),

    bounded at both ends, except where ξ is zero. ``nodes`` are log λ, evenly spaced, NODES_PER_SIDE of them beyond each
    end; a search begins at the first ``n_start_nodes`` of those within. All φ are combinations of the few that are
    ``kept``: ``mixing`` at the nodes, ``end_mixing`` at the ``ends``, which are 0 and ∞ unless λ is ``bounded``. Where
    ξ is zero, φ has a kept column of its own, which ``zero`` marks, so that what is small there has all its digits at
    any λ; for λ of ∞ it is left out.
    """

    rotation: Float[NumpyArray, "d n"]
    values: Float[NumpyArray, " d"]
    mean: float
    ends: Float[NumpyArray, " 2"]
    nodes: Float[NumpyArray, " k"]
    kept: Float[NumpyArray, "d r"]
    mixing: Float[NumpyArray, "r k"]
    end_mixing: Float[NumpyArray, "r 2"]
    floor: float
    covariance: Float[NumpyArray, "n n"]
    zero: Float[NumpyArray, " r"]
    n_start_nodes: int
    bounded: bool
    _skeleton: Skeleton

    @classmethod
    def of(
        cls,
        basis: Float[NumpyArray, "n p"],
        covariance: Float[NumpyArray, "n n"],
        bounds: tuple[float, float] = (0.0, np.inf),
        unreached: Float[NumpyArray, "n u"] | None = None,
        *,
        max_start_ratio: float = np.inf,
        far: bool = True,
    ) -> Self:
        """Decompose M on the orthogonal complement of the fixed effects.

        Parameters
        ----------
        basis
            An orthonormal basis of the fixed effects.
        covariance
            The matrix M, symmetric and positive semidefinite.
        bounds
            The smallest and the largest λ.
        unreached
            Orthonormal directions off the basis in which M is known to be exactly zero, of
            :mod:`jaxlmm.scanning.kernels.unreached`.
        max_start_ratio
            The largest λ at which a search begins, where M is singular.
        far
            Whether the nodes reach up to :data:`MAX_SCALED_RATIO_SINGULAR` there.
        """
        n = len(basis)
        outside = np.zeros((n, 0)) if unreached is None else unreached
        rotation, values = _complement(np.concatenate([basis, outside], axis=1), covariance)
        floor = n * np.finfo(float).eps * max(float(np.linalg.norm(covariance)), np.finfo(float).tiny)
        rotation = np.concatenate([rotation, outside.T]) if outside.size else rotation
        values = np.concatenate([np.where(values > floor, values, 0.0), np.zeros(outside.shape[1])])
        mean = float(values.mean()) if values.any() else 1.0
        singular = bool((values == 0.0).any())
        reach = MAX_SCALED_RATIO_SINGULAR if singular and far else MAX_SCALED_RATIO
        low, high = max(bounds[0], 1.0 / (MAX_SCALED_RATIO * mean)), min(bounds[1], reach / mean)
        count = int(np.ceil(np.log(high / low) / NODE_SPACING)) + 1
        within = np.log(low) + np.linspace(0.0, np.log(high / low), count)
        beyond = (within[1] - within[0]) * np.arange(1, NODES_PER_SIDE + 1)
        nodes = np.concatenate([within[0] - beyond[::-1], within, within[-1] + beyond])
        ends = np.asarray(bounds, float)
        skeleton = Skeleton.of(_weights(values, mean, np.concatenate([np.exp(nodes), ends])), values == 0.0)
        n_start_nodes = int(np.searchsorted(within, np.log(max_start_ratio), side="right"))
        mixing, end_mixing = (_mixing(skeleton, values, mean, ratios) for ratios in (np.exp(nodes), ends))
        return cls(
            rotation, values, mean, ends, nodes, skeleton.kept, mixing, end_mixing, floor, covariance, skeleton.zero,
            min(max(n_start_nodes, 2), count), bool(np.isfinite(bounds[1])), skeleton,
        )  # fmt: skip

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.rotation.shape[1])

    @functools.cached_property
    def totals(self) -> Float[NumpyArray, " n"]:
        """The eigenvalues of M itself, which ML needs."""
        totals = np.linalg.eigvalsh(self.covariance)
        return np.where(totals > self.floor, totals, 0.0)

    def n_zero(self, *, reml: bool) -> int:
        """Return the dimension of M's null space: off the fixed effects for REML, among all rows for ML."""
        return int(np.sum((self.values if reml else self.totals) == 0.0))

    @property
    def degrees(self) -> int:
        """Rows less fixed effects, n − p."""
        return self.values.size

    def mixing_at(self, ratios: Float[NumpyArray, " m"]) -> Float[NumpyArray, "r m"]:
        """Return the combinations of kept weights that are φ at variance ratios λ."""
        return _mixing(self._skeleton, self.values, self.mean, ratios)

    def logdets(self, ratios: Float[NumpyArray, " m"], *, reml: bool) -> Float[NumpyArray, " m"]:
        """Return Σ log((1 + λ x) / (1 + λ mean)) at ratios λ, over ξ for REML and over M's eigenvalues for ML."""
        return -np.sum(np.log(_weights(self.values if reml else self.totals, self.mean, ratios)), axis=0)


def _mixing(
    skeleton: Skeleton, values: Float[NumpyArray, " d"], mean: float, ratios: Float[NumpyArray, " m"]
) -> Float[NumpyArray, "r m"]:
    """Return the combinations of kept weights that are φ at variance ratios λ; at ∞ without the one where ξ is zero."""
    where_reached = skeleton.solve(_weights(values, mean, ratios))
    where_zero = np.where(np.isinf(ratios), 0.0, 1.0 + np.where(np.isinf(ratios), 0.0, ratios) * mean)
    return where_reached + skeleton.zero[:, None] * where_zero


def _weights(values: Float[NumpyArray, " d"], mean: float, ratios: Float[NumpyArray, " m"]) -> Float[NumpyArray, "d m"]:
    """Return φ at ratios λ, ∞ among them."""
    large = ratios > 1.0 / mean
    inverse = 1.0 / np.where(large, ratios, 1.0)
    small = np.where(large, 0.0, ratios)
    with np.errstate(divide="ignore"):
        return np.where(
            large,
            (inverse + mean) / (inverse + values[:, None]),
            (1.0 + small * mean) / (1.0 + small * values[:, None]),
        )


def _complement(
    basis: Float[NumpyArray, "n p"], covariance: Float[NumpyArray, "n n"]
) -> tuple[Float[NumpyArray, "d n"], Float[NumpyArray, " d"]]:
    """Return eigenvectors, as rows, and eigenvalues of a matrix on the orthogonal complement of a basis."""
    n, p = basis.shape
    if p == 0:
        values, vectors = eigh(covariance)
        return np.ascontiguousarray(vectors.T), values
    (reflectors, tau), _ = scipy.linalg.qr(basis, mode="raw", check_finite=False)

    def apply(side: str, trans: str, matrix: Float[NumpyArray, "i j"]) -> Float[NumpyArray, "i j"]:
        work = scipy.linalg.lapack.dormqr(side, trans, reflectors, tau, matrix, -1)[1]
        return np.asarray(scipy.linalg.lapack.dormqr(side, trans, reflectors, tau, matrix, int(work[0]))[0])

    inner = apply("R", "N", apply("L", "T", covariance.T))[p:, p:]  # symmetric, and columns are what LAPACK takes
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))  # LAPACK's syevd: SciPy's default takes twice as long
    padded = np.zeros((n, n - p), order="F")
    padded[p:] = vectors
    return np.ascontiguousarray(apply("L", "N", padded).T), values
