"""Very many small matrices, given entry by entry: rows of arrays over the matrices.

Thousands of matrices of size 1 to 3 take a third of the time when each entry is an array of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

Entries = list[list[jax.Array]]
"""Rows of entries, each an array ``(...)`` over the matrices."""


def eliminated(entries: Entries) -> tuple[Entries, jax.Array]:
    """Return inverse and log-determinant by Gauss-Jordan elimination without pivoting, without a derivative rule."""
    size = len(entries)
    entry = {(i, j): entries[i][j] for i in range(size) for j in range(size)}
    logdet = jnp.zeros_like(entry[0, 0])
    for k in range(size):
        pivot = 1.0 / entry[k, k]
        logdet = logdet + jnp.log(entry[k, k])
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
    return [[entry[i, j] for j in range(size)] for i in range(size)], logdet


def product(a: Entries, b: Entries) -> Entries:
    """Return the product of matrices given entry by entry."""
    return [[_total(a[i][k] * b[k][j] for k in range(len(b))) for j in range(len(b[0]))] for i in range(len(a))]


def _total(parts: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, parts)


@jax.custom_jvp
def inverse_logdet(entries: Entries) -> tuple[Entries, jax.Array]:
    """Return inverse and log-determinant as :func:`jaxlmm.linalg.inverse_logdet` does.

    Parameters
    ----------
    entries
        Rows of entries, each an array ``(...)`` over the matrices; symmetric.
    """
    return eliminated(entries)


@inverse_logdet.defjvp
def _inverse_logdet_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (entries,), (moved,) = primals, tangents
    inverse, logdet = inverse_logdet(entries)
    half = product(inverse, moved)
    change = [[-entry for entry in row] for row in product(half, inverse)]
    return (inverse, logdet), (change, _total(half[i][i] for i in range(len(half))))
