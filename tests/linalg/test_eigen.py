"""One large eigendecomposition: the same by NumPy and, where the device is no CPU, by JAX."""

import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlmm.linalg import eigh

EIGEN = sys.modules["jaxlmm.linalg.eigen"]


@pytest.mark.parametrize("rank", [40, 7])
def test_a_device_gives_the_decomposition_of_the_host(rank, monkeypatch):
    root = np.random.default_rng(0).normal(size=(40, rank))
    matrix = root @ root.T
    on_host = eigh(matrix)
    monkeypatch.setattr(EIGEN, "default_device", lambda: SimpleNamespace(platform="gpu"))
    on_device = eigh(matrix)
    for values, vectors in (on_host, on_device):
        assert values.dtype == vectors.dtype == np.float64
        assert np.allclose(vectors * values @ vectors.T, matrix, atol=1e-12)
        assert np.allclose(vectors.T @ vectors, np.eye(40), atol=1e-12)
    assert np.allclose(on_host[0], on_device[0], atol=1e-12)


def test_it_can_be_lowered_for_cuda():
    with jax.enable_x64(True):
        shape = jax.ShapeDtypeStruct((10, 10), np.float64)
        text = jax.jit(jnp.linalg.eigh).trace(shape).lower(lowering_platforms=("cuda",)).as_text()
    assert "lapack" not in text
