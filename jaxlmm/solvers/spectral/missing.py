"""The spectral solver with missing values: many responses at once, each observed on rows of its own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, pad
from jaxlmm.model import Design, least_squares
from jaxlmm.solvers.spectral.spectral import Spectral, SpectralAugmented, SpectralProducts
from jaxlmm.solvers.spectral.weighted import Columns


class EigenByResponse(NamedTuple):
    """Responses of one pattern of missing values, on the host; every leaf has a first axis over the m responses.

    ``solver``, ``fixed`` and ``augmented`` are those of the observed rows, on as many eigenvectors as the whole design
    has; ``least_squares`` and ``scale``, coefficients and residual standard deviation of the fit to the fixed effects,
    are on the rows' own basis.
    """

    solver: Spectral
    fixed: SpectralProducts
    augmented: SpectralAugmented
    least_squares: Float[NumpyArray, "m p"]
    scale: Float[NumpyArray, " m"]


def eigen_by_response(design: Design, y: Float[NumpyArray, "n m"], size: int) -> EigenByResponse:
    """Decompose the known matrix of the rows of a ``design`` and prepare their responses ``y``.

    The decomposition costs 9 l³ operations for each cluster of l levels: a fifth of a second for 1,000 on one core.
    ``size`` is the number of eigenvectors that all patterns are padded to.
    """
    solver, m = Spectral.build(design).unpadded(), y.shape[1]
    basis, weight = np.asarray(design.basis)[: len(y)], np.asarray(design.root_weight)[: len(y), None]
    weighted = weight * (y - np.asarray(design.offset)[: len(y), None])
    coefficients, residual = least_squares(basis, weighted)
    scale = np.sqrt(np.sum(residual**2, axis=0) / max(len(y) - basis.shape[1], 1))
    (left, outside_x), (right, outside_e) = (_split(solver, part) for part in (basis, residual / scale))

    def repeated(part: Float[NumpyArray, "*b"]) -> Float[NumpyArray, " m *b"]:
        return np.repeat(part[None], m, axis=0)

    # Clusters may be grouped otherwise than those of all rows, with more padding.
    seen = np.concatenate([np.asarray(group.levels).reshape(-1) < solver.padding_index for group in solver.groups])
    left, right, values = (pad(part[seen], size) for part in (left, right, np.asarray(solver.values)))
    columns = Columns(repeated(left), repeated(left), None)
    none = np.zeros((m, 0))
    return EigenByResponse(
        Spectral(none, none.astype(np.int32), repeated(values), (), 0),
        SpectralProducts(repeated(outside_x.T @ outside_x), columns),
        SpectralAugmented(outside_e.T @ outside_x, np.sum(outside_e**2, axis=0), right.T),
        coefficients.T,
        scale,
    )


def _split(solver: Spectral, a: Float[NumpyArray, "n i"]) -> tuple[Float[NumpyArray, "r i"], Float[NumpyArray, "_n i"]]:
    """Return ``UᵀQᵀ A`` and ``A − QQᵀA`` as the solver does, on the host."""
    rows, codes = np.asarray(solver.rows)[: len(a), None], np.asarray(solver.codes)[: len(a)]
    projected = np.zeros((solver.padding_index + 1, a.shape[1]))
    np.add.at(projected, codes, rows * a)
    parts = []
    for group in solver.groups:
        chosen = projected[np.minimum(group.levels, solver.padding_index)]
        parts.append((np.swapaxes(group.vectors, 1, 2) @ chosen).reshape(group.values.size, a.shape[1]))
    return np.concatenate(parts), np.zeros((0, a.shape[1])) if solver.alone else a - rows * projected[codes]
