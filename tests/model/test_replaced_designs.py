"""Designs with other weights, known matrices and structures are those built anew, and compile nothing.

Tolerance: the same arithmetic on the same numbers, so equal but for the order of a few sums: 1e-9 in a deviance.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.covariance import OU, Diagonal, Unstructured
from jaxlmm.engine import solve_single

import models

SAME = 1e-9
DATA = models.data(seed=4)
DATA.loc[3, "x"] = np.nan  # a row that no design has
USED = DATA.dropna()
K, L = models.kinship(DATA), models.low_rank(DATA)
Y = USED["y"].to_numpy()

LOWERED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: LOWERED.append(event) if "jaxpr_to_mlir_module" in event else None
)


def deviances(designs, theta):
    with jax.enable_x64(True):
        return [float(lmm.deviance(design)(jnp.asarray(theta), jnp.asarray(Y))) for design in designs]


@pytest.fixture(scope="module")
def plain():
    return lmm.design("~ x + poly(z, 2) + offset(o) + (1 + z | g)", DATA, offset="w")


def test_weights(plain):
    weights = USED["w"].to_numpy()
    replaced = plain.replace(weights=weights)
    anew = lmm.design("~ x + poly(z, 2) + offset(o) + (1 + z | g)", DATA, offset="w", weights="w")
    theta = [0.7, 0.1, 0.4]
    one, other, before = deviances([replaced, anew, plain], theta)
    assert one == pytest.approx(other, abs=SAME)
    assert one != pytest.approx(before, abs=0.1)
    again = replaced.replace(weights=np.ones(len(Y)))
    assert deviances([again], theta)[0] == pytest.approx(before, abs=SAME)


def test_a_fit_at_other_weights_compiles_nothing():
    fit = lmm.fit("y ~ x + (1 | g)", DATA)
    weights = [USED["w"].to_numpy() ** power for power in (1, 2)]
    with jax.enable_x64(True):
        for weight in weights:
            LOWERED.clear()
            found = solve_single(fit.design.replace(weights=weight), Y, solver=lmm.solvers.Moments, method="REML")
        assert not LOWERED
        estimate = lmm.estimate(fit.design.replace(weights=weights[1]), jnp.asarray(Y))
    anew = lmm.fit("y ~ x + (1 | g)", USED, weights=weights[1])
    assert found.optima.value[0] == pytest.approx(anew.deviance, abs=SAME)
    assert estimate.deviance == pytest.approx(anew.deviance, abs=1e-6)


def test_known_matrices():
    first = lmm.design("~ x + (1 | g) + (1 | h)", DATA, kinship={"g": {"a": K, "b": L}})
    swapped = first.replace(kinship={"g": {"a": L, "b": K}})
    anew = lmm.design("~ x + (1 | g) + (1 | h)", DATA, kinship={"g": {"a": L, "b": K}})
    theta = [0.5, 0.9, 0.3]
    one, other, turned = *deviances([swapped, anew], theta), deviances([first], [0.9, 0.5, 0.3])[0]
    assert one == pytest.approx(other, abs=SAME)
    assert one == pytest.approx(turned, abs=1e-8)
    labels = sorted(DATA["g"].unique())
    places = [OU(coords=pd.DataFrame({"t": np.arange(14.0) * step}, index=labels)) for step in (1, 2)]
    near, far = (lmm.design("~ x + (1 | g)", DATA, kinship={"g": place}) for place in places)
    moved = near.replace(kinship={"g": places[1]})
    one, other = deviances([moved, far], [0.8, -1.0])
    assert one == pytest.approx(other, abs=SAME)


def test_structures(plain):
    replaced = plain.replace(covariance={"g": Diagonal()})
    anew = lmm.design("~ x + poly(z, 2) + offset(o) + diag(1 + z | g)", DATA, offset="w")
    one, other = deviances([replaced, anew], [0.7, 0.4])
    assert one == pytest.approx(other, abs=SAME)
    assert deviances([replaced.replace(covariance={"g": Unstructured()})], [0.7, 0.0, 0.4])[0] == pytest.approx(
        one, abs=SAME
    )


def test_what_cannot_be_replaced(plain):
    with pytest.raises(lmm.OptionError, match="terms of the same shapes"):
        plain.replace(kinship={"g": [K, L]})
    with pytest.raises(lmm.DataError, match="one number for each of"):
        plain.replace(weights=[1.0, 2.0])
    with pytest.raises(lmm.KinshipError, match="no random term is grouped by 'h'"):
        plain.replace(kinship={"h": K})
    with pytest.raises(lmm.OptionError, match="rebuilt by a JAX transformation"):
        jax.tree.map(lambda leaf: leaf, plain).replace(weights=np.ones(len(Y)))
    with pytest.raises(lmm.OptionError, match=r"as lmm\.design builds it, to change weights"):
        plain.unpadded().replace(weights=np.ones(len(Y)))
    with pytest.raises(lmm.OptionError, match="expected weights alone, got basis beside it"):
        plain.replace(weights=np.ones(len(Y)), basis=plain.basis)
