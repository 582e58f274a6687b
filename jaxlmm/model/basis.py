"""Orthonormal bases of fixed-effect columns, and which columns are independent of those before them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray

MIN_SHARE_FOR_CHOLESKY = 1e-3
"""Share of each column's length orthogonal to the columns before it, above which two rounds of Cholesky decompositions
give a basis orthonormal to rounding."""


class Basis(NamedTuple):
    """Which columns are ``kept``, and their QR decomposition ``x[:, kept] = basis @ triangle``.

    ``basis`` is orthonormal, ``triangle`` upper triangular.
    """

    kept: Bool[NumpyArray, " columns"]
    basis: Float[NumpyArray, "n p"]
    triangle: Float[NumpyArray, "p p"]


def least_squares(
    basis: Float[Array, "n p"], y: Float[Array, "n m"]
) -> tuple[Float[Array, "p m"], Float[Array, "n m"]]:
    """Return coefficients on an orthonormal basis, and residuals; a second projection takes off the first's rounding.

    Arrays of NumPy or JAX.

    >>> least_squares(np.array([[0.6], [0.8]]), np.array([[5.0], [0.0]]))[1].round(3).tolist()
    [[3.2], [-2.4]]
    """
    coefficients = basis.T @ y
    coefficients = coefficients + basis.T @ (y - basis @ coefficients)
    return coefficients, y - basis @ coefficients


def independent_basis(
    x: Float[NumpyArray, "n columns"], tolerance: float = 1e-7, *, rounding: Float[NumpyArray, " columns"] | None = None
) -> Basis:
    """Return a basis of the columns of ``x``, each kept one independent of those before it, as in R's ``qr``.

    A column is dropped when less than ``tolerance`` of its length is left after projection on the kept ones, or no more
    than the length ``rounding`` that its own rounding errors may have.

    >>> independent_basis(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])).kept.tolist()
    [True, False, True]
    """
    lengths = np.linalg.norm(x, axis=0)
    smallest = tolerance * lengths if rounding is None else np.maximum(tolerance * lengths, rounding)
    by_cholesky = _by_cholesky(x, lengths)
    if by_cholesky is not None and np.all(np.diag(by_cholesky.triangle) > smallest):
        return by_cholesky
    return _by_projection(x, smallest)


def _by_cholesky(x: Float[NumpyArray, "n columns"], lengths: Float[NumpyArray, " columns"]) -> Basis | None:
    """Return a basis of columns that are far from dependent, None for others.

    X R⁻¹, with RᵀR the Cholesky decomposition of XᵀX, done twice, is for such columns as orthogonal as Householder's
    basis, in a few matrix products (Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm").
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
        if np.any(np.diag(factor) < MIN_SHARE_FOR_CHOLESKY):
            return None
        basis, triangle = basis @ np.linalg.inv(factor), factor @ triangle
    return Basis(np.ones(x.shape[1], bool), basis, triangle)


def _by_projection(x: Float[NumpyArray, "n columns"], smallest: Float[NumpyArray, " columns"]) -> Basis:
    """Return a basis by Gram and Schmidt's method, each projection done twice.

    Columns of which no more than the length ``smallest`` is left are dropped.
    """
    vectors = np.empty(x.shape, order="F")
    triangle = np.zeros((x.shape[1], x.shape[1]))
    kept = np.zeros(x.shape[1], bool)
    for k in range(x.shape[1]):
        count = int(kept.sum())
        basis, residual = vectors[:, :count], x[:, k]
        for _ in range(2):
            dot = basis.T @ residual
            residual = residual - basis @ dot
            triangle[:count, k] += dot
        length = np.linalg.norm(residual)
        if length > smallest[k]:
            vectors[:, count] = residual / length
            triangle[count, k] = length
            kept[k] = True
    count = int(kept.sum())
    return Basis(kept, vectors[:, :count], triangle[:count][:, kept])


def mean_products(z: Float[Array, "n q"], present: Float[Array, "n m"]) -> Float[Array, "m q q"]:
    """Return the mean of ``z zᵀ``, for each of m responses over the rows that are ``present``, 1 or 0.

    In NumPy or JAX, as the arguments are.

    >>> mean_products(np.array([[1.0], [3.0]]), np.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [[[1.0]], [[5.0]]]
    """
    q = z.shape[1]
    products = (z[:, :, None] * z[:, None, :]).reshape(-1, q * q)
    return (present.T @ products).reshape(-1, q, q) / present.sum(axis=0)[:, None, None]
