"""The spectral solver for many responses at once, each observed on rows of its own: missing values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray, pad
from jaxlmm.model import Design
from jaxlmm.solvers.spectral.spectral import Spectral, SpectralBorder, SpectralPair
from jaxlmm.solvers.spectral.weighted import Columns


class OwnEigen(NamedTuple):
    """Responses of one pattern of missing values, on the host; every leaf has a first axis over the m responses.

    ``solver``, ``fixed`` and ``augmented`` are those of the observed rows, on as many eigenvectors as the whole design
    has; ``least_squares`` (m, p) and ``scale`` (m,) of the fit to the fixed effects on the rows' own basis.
    """

    solver: Spectral
    fixed: SpectralPair
    augmented: SpectralBorder
    least_squares: NumpyArray
    scale: NumpyArray


def eigen_by_response(some: Design, y: NumpyArray, size: int) -> OwnEigen:
    """Decompose the known matrix of the rows of a design and prepare their responses ``y`` (n, m).

    The decomposition costs 9 l³ operations for each cluster of l levels: a fifth of a second for 1,000 on one core.
    ``size`` is the number of eigenvectors that all patterns are padded to.
    """
    solver, m = Spectral.build(some).exact(), y.shape[1]
    basis, weight = np.asarray(some.basis)[: len(y)], np.asarray(some.root_weight)[: len(y), None]
    weighted = weight * (y - np.asarray(some.offset)[: len(y), None])
    once = basis.T @ weighted
    again = basis.T @ (weighted - basis @ once)
    rest = weighted - basis @ (once + again)
    scale = np.sqrt(np.sum(rest**2, axis=0) / max(len(y) - basis.shape[1], 1))
    (left, outside), (own, beyond) = (_parted(solver, part) for part in (basis, rest / scale))

    def repeated(part: NumpyArray) -> NumpyArray:
        return np.repeat(part[None], m, axis=0)

    # Clusters may be batched otherwise than those of all rows, with more padding.
    seen = np.concatenate([np.asarray(batch.levels).reshape(-1) < solver.beyond for batch in solver.batches])
    left, own, values = (pad(part[seen], size) for part in (left, own, np.asarray(solver.values)))
    columns = Columns(repeated(left), repeated(left), None)
    none = np.zeros((m, 0))
    return OwnEigen(
        Spectral(none, none.astype(np.int32), repeated(values), (), 0),
        SpectralPair(repeated(outside.T @ outside), columns),
        SpectralBorder(beyond.T @ outside, np.sum(beyond**2, axis=0), own.T),
        (once + again).T,
        scale,
    )


def _parted(solver: Spectral, a: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Do on the host what the solver does to the rows of ``a`` (n, i)."""
    rows, codes = np.asarray(solver.rows)[: len(a), None], np.asarray(solver.codes)[: len(a)]
    projected = np.zeros((solver.beyond + 1, a.shape[1]))
    np.add.at(projected, codes, rows * a)
    parts = []
    for batch in solver.batches:
        chosen = projected[np.minimum(batch.levels, solver.beyond)]
        parts.append((np.swapaxes(batch.vectors, 1, 2) @ chosen).reshape(batch.values.size, a.shape[1]))
    return np.concatenate(parts), np.zeros((0, a.shape[1])) if solver.alone else a - rows * projected[codes]
