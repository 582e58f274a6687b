"""Orthonormal bases of fixed-effect columns, and which columns add to those before them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray

SAFELY_INDEPENDENT = 1e-3
"""Where more of each column's length than this is left, two rounds of Cholesky give an orthonormal basis."""


class Basis(NamedTuple):
    """Which columns are ``kept`` (p,), an orthonormal ``basis`` (n, k) of those, and the upper ``triangle`` (k, k) with
    ``x[:, kept] = basis @ triangle``.
    """

    kept: NumpyArray
    basis: NumpyArray
    triangle: NumpyArray


def independent_basis(x: NumpyArray, tolerance: float = 1e-7, *, rounding: NumpyArray | None = None) -> Basis:
    """Find a basis of columns ``x`` (n, p), where each kept one adds to those before it, as in R's ``qr``.

    A column is dropped when less than ``tolerance`` of its length is left after projection on the kept ones, or no more
    than the length ``rounding`` (p,) that its own rounding errors may have.

    >>> independent_basis(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])).kept.tolist()
    [True, False, True]
    """
    lengths = np.linalg.norm(x, axis=0)
    smallest = tolerance * lengths if rounding is None else np.maximum(tolerance * lengths, rounding)
    found = _by_cholesky(x, lengths)
    if found is not None and np.all(np.diag(found.triangle) > smallest):
        return found
    return _by_projection(x, smallest)


def _by_cholesky(x: NumpyArray, lengths: NumpyArray) -> Basis | None:
    """Return a basis of columns that are far from dependent, None for others.

    Cholesky factors of the products, twice, are as orthogonal as Householder's reflections there, in a few matrix
    products (Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm").
    """
    triangle = np.diag(lengths)
    if not np.all(lengths > 0):
        return None
    basis = x / lengths
    for _ in range(2):
        try:
            factor = np.linalg.cholesky(basis.T @ basis).T
        except np.linalg.LinAlgError:
            return None
        if np.any(np.diag(factor) < SAFELY_INDEPENDENT):
            return None
        basis, triangle = basis @ np.linalg.inv(factor), factor @ triangle
    return Basis(np.ones(x.shape[1], bool), basis, triangle)


def _by_projection(x: NumpyArray, smallest: NumpyArray) -> Basis:
    """Take columns off those before them, twice, and drop those of which less than ``smallest`` (p,) is left."""
    found = np.empty(x.shape, order="F")
    triangle = np.zeros((x.shape[1], x.shape[1]))
    kept = np.zeros(x.shape[1], bool)
    for k in range(x.shape[1]):
        count = int(kept.sum())
        basis, rest = found[:, :count], x[:, k]
        for _ in range(2):
            dot = basis.T @ rest
            rest = rest - basis @ dot
            triangle[:count, k] += dot
        length = np.linalg.norm(rest)
        if length > smallest[k]:
            found[:, count] = rest / length
            triangle[count, k] = length
            kept[k] = True
    count = int(kept.sum())
    return Basis(kept, found[:, :count], triangle[:count][:, kept])
