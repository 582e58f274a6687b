"""The spectral solver with missing values: many responses at once, each observed on rows of its own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, pad
from jaxlmm.model import Design, least_squares
from jaxlmm.solvers.spectral.eigen import ClusterGroup
from jaxlmm.solvers.spectral.records import SpectralAugmented, SpectralProducts
from jaxlmm.solvers.spectral.weighted import Columns

MIN_SHARING_A_PATTERN = 1024
"""With at least this many responses, which fill a batch, a pattern of missing values gets a design of its own."""


class Eigenbasis(NamedTuple):
    """The fields of a solver that hold its eigenbasis; ``alone`` says that no row has a part outside it."""

    rows: Float[Array, " N"]
    codes: Int[Array, " N"]
    values: Float[Array, " r"]
    groups: tuple[ClusterGroup, ...]
    padding_index: int
    alone: bool


class EigenByResponse(NamedTuple):
    """Responses of one pattern of missing values, on the host; every leaf has a first axis over the m responses.

    ``values``, S, and all else are those of the observed rows, on as many eigenvectors as the whole design has.
    """

    values: Float[NumpyArray, "m r"]
    fixed: SpectralProducts
    augmented: SpectralAugmented
    least_squares: Float[NumpyArray, "m p"]
    scale: Float[NumpyArray, " m"]


def eigen_by_response(own: Eigenbasis, design: Design, y: Float[NumpyArray, "n m"], size: int) -> EigenByResponse:
    """Prepare the responses ``y`` of the rows of a ``design``, in the eigenbasis of its known matrix.

    The decomposition costs 9 l³ operations for each cluster of l levels: a fifth of a second for 1,000 on one core.
    ``size`` is the number of eigenvectors that all patterns are padded to.
    """
    m = y.shape[1]
    basis, root_weight = np.asarray(design.basis)[: len(y)], np.asarray(design.root_weight)[: len(y), None]
    weighted = root_weight * (y - np.asarray(design.offset)[: len(y), None])
    coefficients, residual = least_squares(basis, weighted)
    scale = np.sqrt(np.sum(residual**2, axis=0) / max(len(y) - basis.shape[1], 1))
    (left, outside_x), (right, outside_e) = (_split(own, part) for part in (basis, residual / scale))

    def repeated(part: Float[NumpyArray, "*b"]) -> Float[NumpyArray, " m *b"]:
        return np.repeat(part[None], m, axis=0)

    # Clusters may be grouped otherwise than those of all rows, with more padding.
    seen = np.concatenate([np.asarray(group.levels).reshape(-1) < own.padding_index for group in own.groups])
    left, right, values = (pad(part[seen], size) for part in (left, right, np.asarray(own.values)))
    columns = Columns(repeated(left), repeated(left), None)
    return EigenByResponse(
        repeated(values),
        SpectralProducts(repeated(outside_x.T @ outside_x), columns),
        SpectralAugmented(outside_e.T @ outside_x, np.sum(outside_e**2, axis=0), right.T),
        coefficients.T,
        scale,
    )


def _split(own: Eigenbasis, a: Float[NumpyArray, "n i"]) -> tuple[Float[NumpyArray, "r i"], Float[NumpyArray, "_n i"]]:
    """Return ``UᵀQᵀ A`` and ``A − QQᵀA`` as the solver does, on the host."""
    rows, codes = np.asarray(own.rows)[: len(a), None], np.asarray(own.codes)[: len(a)]
    projected = np.zeros((own.padding_index + 1, a.shape[1]))
    np.add.at(projected, codes, rows * a)
    parts = []
    for group in own.groups:
        chosen = projected[np.minimum(group.levels, own.padding_index)]
        parts.append((np.swapaxes(group.vectors, 1, 2) @ chosen).reshape(group.values.size, a.shape[1]))
    return np.concatenate(parts), np.zeros((0, a.shape[1])) if own.alone else a - rows * projected[codes]
