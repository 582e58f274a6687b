"""Models of each kind with the whole design traced: the deviance, and its slope in theta, are those in numbers.

Tolerance: both sum the same terms in another order, on the rows in place of a basis, and agree to 1e-9.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm

import models

CLOSE = 1e-9
DATA = models.data(seed=2)


KINDS = (
    "slope", "weights, offset", "user's structure", "crossed", "slopes on both, weights", "ou", "ou residual, weights",
    "kinship slope, weights", "kinship",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_traced_design_has_the_same_deviance(name):
    design = models.design(name, DATA)
    with jax.enable_x64(True):
        theta, y = models.theta_of(name), jnp.asarray(DATA["y"].to_numpy())

        def value(design, theta):
            return jax.value_and_grad(lambda theta: lmm.deviance(design)(theta, y))(theta)

        expected, slope = value(design, theta)
        found, own_slope = models.quickly(value)(design, theta)
    assert float(found) == pytest.approx(float(expected), rel=CLOSE)
    assert np.asarray(own_slope) == pytest.approx(np.asarray(slope), rel=1e-6, abs=1e-7)
