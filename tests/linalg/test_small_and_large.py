"""Inverses and singular vectors without LAPACK, of matrices of all sizes, against NumPy; what an accelerator does."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlmm._util import double_precision
from jaxlmm.linalg import inverse_logdet, singular_vectors

INVERSE = sys.modules["jaxlmm.linalg.inverse"]

ROUNDING = 1e-10
"""Relative, of matrices whose condition numbers are up to 1e4."""

SMALL_VALUES = 1e-9
"""Relative, of the smallest singular value too, where columns differ by 1e6 in size: NumPy's has no more digits."""


@pytest.mark.parametrize("size", [1, 3, 20, 100, 200, 331])
def test_inverses_are_those_of_numpy(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(2 * size, size))
    matrix = root.T @ root
    with double_precision():
        results = [inverse_logdet(jnp.asarray(matrix)), INVERSE._by_cholesky(jnp.asarray(matrix))]
    for inverse, logdet in results:
        np.testing.assert_allclose(inverse, np.linalg.inv(matrix), atol=ROUNDING * np.abs(inverse).max())
        np.testing.assert_allclose(logdet, np.linalg.slogdet(matrix)[1], rtol=ROUNDING)


def test_an_indefinite_matrix_has_no_logdet():
    matrix = np.diag(np.r_[np.ones(199), -1.0])
    with double_precision():
        assert np.isnan(inverse_logdet(jnp.asarray(matrix))[1])  # its inverse may be anything
        assert np.isnan(INVERSE._by_cholesky(jnp.asarray(matrix))[1])


def test_an_accelerator_inverts_large_matrices_without_loops():
    with double_precision():
        traced = jax.jit(jax.vmap(inverse_logdet)).trace(jax.ShapeDtypeStruct((2, 200, 200), float))
        loops = {
            platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.while")
            for platform in ("cuda", "cpu")
        }
    assert loops["cuda"] == 0 < loops["cpu"]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_singular_vectors_are_those_of_numpy(size):
    matrix = np.random.default_rng(size).normal(size=(size, size)) * np.geomspace(1e-6, 1.0, size)
    with double_precision():
        vectors, values = singular_vectors(jnp.asarray(matrix))
    expected, expected_values, _ = np.linalg.svd(matrix)
    np.testing.assert_allclose(values, expected_values, rtol=SMALL_VALUES)
    np.testing.assert_allclose(np.abs(np.asarray(vectors).T @ expected), np.eye(size), atol=SMALL_VALUES)
