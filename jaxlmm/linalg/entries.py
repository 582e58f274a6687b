"""Batches of small matrices, each entry an array over the matrices.

Thousands of matrices of size 1 to 3 take a third of the time when each entry is an array of its own. What several
entries need, the compiler may compute anew for each, with another rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array

Entry = Float[jax.Array, "..."]
"""One entry of each matrix; entries of two batches broadcast, as where one matrix multiplies all of a batch."""

Entries = list[list[Entry]]
"""Rows of entries."""


def of(matrices: Float[Array, "*b q r"]) -> Entries:
    """Return the entries of ``matrices``."""
    matrices = jnp.asarray(matrices)
    q, r = matrices.shape[-2:]
    parts = jnp.split(matrices.reshape(*matrices.shape[:-2], q * r), q * r, axis=-1)
    return [[parts[i * r + j][..., 0] for j in range(r)] for i in range(q)]


def eliminated(entries: Entries) -> tuple[Entries, list[Entry]]:
    """Return inverse and pivots of Gauss-Jordan elimination without pivoting, without a derivative rule."""
    size = len(entries)
    entry = {(i, j): entries[i][j] for i in range(size) for j in range(size)}
    pivots = []
    for k in range(size):
        pivot = 1.0 / entry[k, k]
        pivots.append(entry[k, k])
        row = {j: entry[k, j] * pivot for j in range(size)}
        column = {i: entry[i, k] for i in range(size)}
        for i in range(size):
            for j in range(size):
                if i != k and j != k:
                    entry[i, j] = entry[i, j] - column[i] * row[j]
        for i in range(size):
            entry[k, i] = row[i]
            entry[i, k] = -column[i] * pivot
        entry[k, k] = pivot
    return [[entry[i, j] for j in range(size)] for i in range(size)], pivots


def product(a: Entries, b: Entries) -> Entries:
    """Return the product of matrices given entry by entry."""
    return [[total(a[i][k] * b[k][j] for k in range(len(b))) for j in range(len(b[0]))] for i in range(len(a))]


def outer(a: Entries) -> Entries:
    """Return the products of matrices with their transposes."""
    lower = {(i, j): total(x * y for x, y in zip(a[i], a[j], strict=True)) for i in range(len(a)) for j in range(i + 1)}
    return [[lower[max(i, j), min(i, j)] for j in range(len(a))] for i in range(len(a))]


def upper_times_diagonal(upper: Entries, blocks: Sequence[Entries]) -> Entries:
    """Return the products of upper triangular matrices with block diagonal ones, whose ``blocks`` are given."""
    rows: Entries = [[] for _ in upper]
    start = 0
    for block in blocks:
        end = start + len(block)
        for i, row in enumerate(upper):
            reached = range(max(i, start), end)
            zero = jnp.zeros_like(row[0])
            rows[i] += [total((row[k] * block[k - start][j] for k in reached), zero) for j in range(len(block[0]))]
        start = end
    return rows


def total(parts: Iterable[Entry], empty: Entry | None = None) -> Entry:
    """Return the sum of arrays, and ``empty`` if there are none."""
    parts = list(parts)
    return functools.reduce(jnp.add, parts) if parts or empty is None else empty


def transposed(a: Entries) -> Entries:
    """Return the transposes of matrices."""
    return [list(column) for column in zip(*a, strict=True)]


@jax.custom_jvp
def gram_inverse_logdet(root: Entries) -> tuple[Entries, Entry]:
    """Return inverse and log-determinant of ``I + L Lᵀ``.

    The derivative of the inverse is ``−(P Gᵀ + G Pᵀ)`` with ``P = (I + L Lᵀ)⁻¹ dL`` and ``G = (I + L Lᵀ)⁻¹ L``. Where L
    has entries of size √v, both are of size 1/√v, and their rounding errors, of size ε √v, make one of size ε; products
    of the inverse with ``dL Lᵀ``, of size v, would make one of size ε v.

    Parameters
    ----------
    root
        Rows of the entries of L.
    """
    squares = outer(root)
    for i, row in enumerate(squares):
        row[i] = row[i] + 1.0
    inverse, pivots = eliminated(squares)
    return inverse, total(jnp.log(pivot) for pivot in pivots)


@gram_inverse_logdet.defjvp
def _gram_inverse_logdet_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (root,), (moved,) = primals, tangents
    inverse, logdet = gram_inverse_logdet(root)
    solved_root, solved_moved = product(inverse, root), product(inverse, moved)
    half = product(solved_moved, transposed(solved_root))
    size = range(len(half))
    change = [[-(half[i][j] + half[j][i]) for j in size] for i in size]
    along = (
        2.0 * g * d for row, other in zip(solved_root, moved, strict=True) for g, d in zip(row, other, strict=True)
    )
    return (inverse, logdet), (change, total(along))
