"""The eigendecomposition of one large symmetric matrix, where it is fastest."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, default_device, double_precision


def eigh(matrix: Float[NumpyArray, "n n"]) -> tuple[Float[NumpyArray, " n"], Float[NumpyArray, "n n"]]:
    """Return eigenvalues, ascending, and eigenvectors in columns: by NumPy for a CPU, else on the device that computes.

    >>> values, vectors = eigh(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> values.round(12).tolist()
    [1.0, 3.0]
    """
    if default_device().platform == "cpu":
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors
    with double_precision():
        values, vectors = (np.asarray(part) for part in jnp.linalg.eigh(jnp.asarray(matrix)))
    return values, vectors
