"""What the spectral solver prepares and computes: cross-products, augmented columns, factors."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.solvers.spectral.weighted import Columns


class SpectralProducts(NamedTuple):
    """Cross-products: ``outside`` the effects' columns, ``(A − QQᵀA)ᵀ(B − QQᵀB)``; ``columns`` on the eigenbasis."""

    outside: Float[Array, "*b i j"]
    columns: Columns


class SpectralAugmented(NamedTuple):
    """Augmented columns of responses e: ``outside`` the effects' columns, with A, and ``square`` with themselves;
    ``right`` = ``UᵀQᵀe`` on the eigenbasis.
    """

    outside: Float[Array, "*b i"]
    square: Float[Array, "*b"]
    right: Float[Array, "*b r"]


class SpectralFactor(NamedTuple):
    """The ``ratio`` θ² of the effects' variance to the residual's, ``weights`` 1 / (1 + θ² S), and log|H|."""

    ratio: Float[jax.Array, ""]
    weights: Float[jax.Array, " r"]
    logdet: Float[jax.Array, ""]
