"""The basis of a scan: in it, one variance ratio is a diagonal matrix, and covariates are gone.

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
from scipy import linalg

from jaxlmm._util import NumpyArray

SPACING = 0.23
"""The distance of nodes in log λ; seven on either side carry a polynomial whose error at the center is below 1e-12."""

SIDE = 7
"""Nodes on either side of the one on which a window is centered."""

REACH = 1e8
"""λ is looked for between its two ends, or where λ times the mean eigenvalue is between 1 / REACH and REACH."""

FAR = 1e24
"""The same, upwards, where M is zero in some direction: how small a residual is there is seen in that alone, down to
1e-12 of the response."""

USUAL = 40.0**2
"""Where M is zero in some direction a search begins at ratios up to this, relative to the mean diagonal of M,
as that of a fit does, and goes on from there downhill: the likelihood may have two optima, or none and rise without
bound."""

RANK = 1e-13
"""What is left of a node after projection on those kept, relative to it, is rounding."""


TOGETHER = 8
"""The number of kept columns is a multiple of this, the last ones zero, so that matrices share compiled programs."""


class Skeleton(NamedTuple):
    """Columns ``kept`` (n, r) that span many others: an interpolative decomposition by a rank-revealing QR.

    Cheng et al. 2005, doi:10.1137/030602678. Those that are not zero are ``orthonormal triangle / lengths``, apart from
    one for the rows ``left_out`` (n,) of it, which ``zero`` (r,) marks; it has none where no row is.
    """

    kept: NumpyArray
    orthonormal: NumpyArray
    triangle: NumpyArray
    lengths: NumpyArray
    left_out: NumpyArray
    zero: NumpyArray

    @classmethod
    def of(cls, every: NumpyArray, left_out: NumpyArray) -> Self:
        """Choose among columns ``every`` (n, k) on those rows that are not ``left_out`` (n,)."""
        every = np.where(left_out[:, None], 0.0, every)
        length = np.linalg.norm(every, axis=0)
        length = np.where(length > 0.0, length, 1.0)
        q, triangle, order = linalg.qr(every / length, mode="economic", pivoting=True, check_finite=False)
        rank = max(int(np.sum(np.abs(np.diagonal(triangle)) > RANK * abs(triangle[0, 0]))), 1)
        places = order[:rank]
        alone = np.ones((len(every), 1)) * left_out[:, None] if left_out.any() else np.zeros((len(every), 0))
        kept = np.concatenate([every[:, places], alone], axis=1)
        kept = np.pad(kept, ((0, 0), (0, -kept.shape[1] % TOGETHER)))
        zero = np.zeros(kept.shape[1])
        zero[rank : rank + alone.shape[1]] = 1.0
        return cls(kept, q[:, :rank], triangle[:rank, :rank], length[places], left_out, zero)

    def solve(self, columns: NumpyArray) -> NumpyArray:
        """Return the combinations (r, m) of what is kept that are ``columns`` (n, m) on rows that are not left out."""
        columns = np.where(self.left_out[:, None], 0.0, columns)
        if self.left_out.all():
            return np.zeros((self.kept.shape[1], columns.shape[1]))
        found = linalg.solve_triangular(self.triangle, self.orthonormal.T @ columns, check_finite=False)
        return np.pad(found / self.lengths[:, None], ((0, self.kept.shape[1] - self.lengths.size), (0, 0)))


@dataclasses.dataclass(frozen=True, eq=False)
class ScanBasis:
    """One pattern of rows, rotated once.

    ``rotation`` (n − p, n) is Uᵀ; ``values`` (n − p,) are ξ with mean ``mean``; those below ``floor`` are rounding
    and zero. Weights of the n − p squares at a ratio λ are

        φ(λ) = (1 + λ mean) / (1 + λ ξ),

    bounded at both ends, except where ξ is zero. ``nodes`` (k,) are log λ, evenly spaced, SIDE of them beyond each end;
    the first ``usual`` of those within are where a search begins. All φ are combinations of few: ``kept`` (n − p, r) of
    them, and ``mixing`` (r, k) of these at the nodes, ``end_mixing`` (r, 2) at the ``ends`` (2,), which are 0 and ∞
    unless λ is bounded. Where ξ is zero, φ is a row of its own, ``zero`` (r,) says which, so that what is small there
    has all its digits at any λ; for λ of ∞ it is left out.
    """

    rotation: NumpyArray
    values: NumpyArray
    mean: float
    ends: NumpyArray
    nodes: NumpyArray
    kept: NumpyArray
    mixing: NumpyArray
    end_mixing: NumpyArray
    floor: float
    covariance: NumpyArray
    zero: NumpyArray
    usual: int
    bounded: bool
    _skeleton: Skeleton

    @classmethod
    def of(
        cls,
        basis: NumpyArray,
        covariance: NumpyArray,
        bounds: tuple[float, float] = (0.0, np.inf),
        unreached: NumpyArray | None = None,
        *,
        usual: float = np.inf,
        far: bool = True,
    ) -> Self:
        """Decompose.

        Parameters
        ----------
        basis
            ``(n, p)`` an orthonormal basis of the fixed effects.
        covariance
            ``(n, n)`` the matrix M, symmetric and positive semidefinite.
        bounds
            Between which λ is looked for.
        unreached
            ``(n, w)`` orthonormal directions off the basis in which M is known to be exactly zero, of
            :mod:`jaxlmm.scanning.kernels.unreached`.
        usual
            Up to which λ a search begins, where M is zero in some direction.
        far
            Whether λ is looked for up to :data:`FAR` there.
        """
        n = len(basis)
        outside = np.zeros((n, 0)) if unreached is None else unreached
        rotation, values = _complement(np.concatenate([basis, outside], axis=1), covariance)
        floor = n * np.finfo(float).eps * max(float(np.linalg.norm(covariance)), np.finfo(float).tiny)
        rotation = np.concatenate([rotation, outside.T]) if outside.size else rotation
        values = np.concatenate([np.where(values > floor, values, 0.0), np.zeros(outside.shape[1])])
        mean = float(values.mean()) if values.any() else 1.0
        singular = bool((values == 0.0).any())
        reach = FAR if singular and far else REACH
        low, high = max(bounds[0], 1.0 / (REACH * mean)), min(bounds[1], reach / mean)
        count = int(np.ceil(np.log(high / low) / SPACING)) + 1
        nodes = np.log(low) + np.linspace(0.0, np.log(high / low), count)
        step = nodes[1] - nodes[0]
        beyond = step * np.arange(1, SIDE + 1)
        nodes = np.concatenate([nodes[0] - beyond[::-1], nodes, nodes[-1] + beyond])
        ends = np.asarray(bounds, float)
        skeleton = Skeleton.of(_weights(values, mean, np.concatenate([np.exp(nodes), ends])), values == 0.0)
        within = int(np.searchsorted(nodes[SIDE : SIDE + count], np.log(usual), side="right"))
        found = cls(
            rotation, values, mean, ends, nodes, skeleton.kept, np.zeros(0), np.zeros(0), floor, covariance,
            skeleton.zero, min(max(within, 2), count), bool(np.isfinite(bounds[1])), skeleton,
        )  # fmt: skip
        mixing, end_mixing = found.mixing_at(np.exp(nodes)), found.mixing_at(ends)
        return dataclasses.replace(found, mixing=mixing, end_mixing=end_mixing)

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.rotation.shape[1])

    @functools.cached_property
    def totals(self) -> NumpyArray:
        """The eigenvalues (n,) of M itself, which ML needs."""
        totals = np.linalg.eigvalsh(self.covariance)
        return np.where(totals > self.floor, totals, 0.0)

    def n_zero(self, *, reml: bool) -> int:
        """Return in how many directions M is zero: off the fixed effects for REML, or at all."""
        return int(np.sum((self.values if reml else self.totals) == 0.0))

    @property
    def degrees(self) -> int:
        """Rows less fixed effects, n − p."""
        return self.values.size

    def mixing_at(self, ratios: NumpyArray) -> NumpyArray:
        """Return the combinations (r, m) of what is kept that are φ at variance ratios λ (m,)."""
        ratios = np.asarray(ratios, float)
        found = self._skeleton.solve(_weights(self.values, self.mean, ratios))
        alone = np.where(np.isinf(ratios), 0.0, 1.0 + np.where(np.isinf(ratios), 0.0, ratios) * self.mean)
        return found + self.zero[:, None] * alone

    def logdets(self, ratios: NumpyArray, *, reml: bool) -> NumpyArray:
        """Return Σ log((1 + λ x) / (1 + λ mean)) at ratios (m,), over ξ for REML and over M's eigenvalues for ML."""
        values, ratios = (self.values if reml else self.totals), np.asarray(ratios, float)
        return -np.sum(np.log(_weights(values, self.mean, ratios)), axis=0)


def _weights(values: NumpyArray, mean: float, ratios: NumpyArray) -> NumpyArray:
    """Return φ (n − p, m) at ratios (m,), ∞ among them."""
    large = ratios > 1.0 / mean
    inverse = 1.0 / np.where(large, ratios, 1.0)
    small = np.where(large, 0.0, ratios)
    with np.errstate(divide="ignore"):
        return np.where(
            large,
            (inverse + mean) / (inverse + values[:, None]),
            (1.0 + small * mean) / (1.0 + small * values[:, None]),
        )


def _complement(basis: NumpyArray, covariance: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Return eigenvectors (n − p, n), as rows, and eigenvalues (n − p,) of a matrix off an orthonormal basis (n, p)."""
    n, p = basis.shape
    if p == 0:
        values, vectors = np.linalg.eigh(covariance)
        return np.ascontiguousarray(vectors.T), values
    (reflectors, tau), _ = linalg.qr(basis, mode="raw", check_finite=False)

    def apply(side: str, trans: str, matrix: NumpyArray) -> NumpyArray:
        work = linalg.lapack.dormqr(side, trans, reflectors, tau, matrix, -1)[1]
        return np.asarray(linalg.lapack.dormqr(side, trans, reflectors, tau, matrix, int(work[0]))[0])

    inner = apply("R", "N", apply("L", "T", covariance.T))[p:, p:]  # symmetric, and columns are what LAPACK takes
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))  # LAPACK's syevd: SciPy's default takes twice as long
    padded = np.zeros((n, n - p), order="F")
    padded[p:] = vectors
    return np.ascontiguousarray(apply("L", "N", padded).T), values
