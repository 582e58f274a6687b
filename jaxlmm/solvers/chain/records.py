"""What the chain solver prepares and computes: columns along the chain, cross-products, factors."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Float

from jaxlmm._util import Array
from jaxlmm.solvers.chain.levels import LevelEffects
from jaxlmm.solvers.chain.whitening import Filtered, Observed


class Along(NamedTuple):
    """Columns of A along the chain: ``nodes`` QᵀA, with a unit column of Q for each node, and ``outside`` A − QQᵀA.

    ``outside`` has no rows where Q spans all rows, and where only its cross-products are needed.
    """

    nodes: Float[Array, "*b M i"]
    outside: Float[Array, "*b r i"]


class ChainProducts(NamedTuple):
    """Columns of A and of B along the chain, ``right`` None where B is A; ``outside`` are cross-products there."""

    left: Along
    right: Along | None
    outside: Float[jax.Array, "*b i j"]


class ChainAugmented(NamedTuple):
    """Responses e along the chain, ``right``; ``outside``, ``square`` are cross-products there, with A and itself."""

    right: Along
    outside: Float[jax.Array, "*b i"]
    square: Float[jax.Array, "*b"]


class ChainFactored(NamedTuple):
    """The ``whitening`` along the chain, the effects of columns by level, if there are any, and log|H|."""

    whitening: Observed | Filtered
    levels: LevelEffects | None
    logdet: Float[jax.Array, ""]
