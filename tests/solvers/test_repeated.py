"""The solver of repeated measures: its start from the data, and an optimum of many parameters by two methods."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.solvers.repeated import Repeated

VISITS = 8
SAME_OPTIMUM = 1e-6


def trial(subjects, *, missing, seed):
    """Subjects × visits in no order of rows, with variances that grow."""
    rng = np.random.default_rng(seed)
    t = np.arange(VISITS)
    covariance = (0.8 ** np.abs(t[:, None] - t) + 0.3) * np.sqrt(np.outer(1.0 + t, 1.0 + t))
    data = pd.DataFrame({"id": np.repeat(np.arange(subjects), VISITS), "visit": np.tile(t, subjects)})
    data["x"] = np.repeat(rng.normal(size=subjects), VISITS)
    data["y"] = data["x"] + rng.multivariate_normal(np.zeros(VISITS), covariance, subjects).reshape(-1)
    return data[rng.random(len(data)) >= missing].sample(frac=1.0, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_start_has_the_mean_products_of_residuals(missing):
    data = trial(30, missing=missing, seed=1)
    design = lmm.design("y ~ x", data, residual="us(visit | id)")
    solver, n = Repeated.build(design), len(data)
    e = data["y"].to_numpy() - np.asarray(lmm.fit("y ~ x", data).fitted())
    with jax.enable_x64(True):
        padded = jnp.zeros((design.n_padded, 1)).at[:n, 0].set(e)
        augmented = jax.tree.map(lambda leaf: leaf[0], solver.augmented(jnp.asarray(design.basis), padded))
        found = np.asarray(solver.guess_residual(augmented))
    wide = np.full((30, VISITS), np.nan)
    wide[data["id"], data["visit"]] = e
    products = wide[:, :, None] * wide[:, None, :]
    np.testing.assert_allclose(found, np.nanmean(products, axis=0), rtol=1e-10, atol=1e-12)


def test_many_parameters_by_newton_and_by_a_method_of_first_order():
    """36 variance parameters."""
    data = trial(60, missing=0.1, seed=2)
    newton, first_order = (
        lmm.fit("y ~ x", data, residual="us(visit | id)", optimizer=how) for how in ("newton", optax.lbfgs())
    )
    assert newton.solver == "repeated"
    assert len(newton.variance()) == VISITS * (VISITS + 1) // 2
    assert newton.status == first_order.status == "interior"
    assert first_order.deviance == pytest.approx(newton.deviance, abs=SAME_OPTIMUM)
    np.testing.assert_allclose(first_order.variance()["estimate"], newton.variance()["estimate"], rtol=1e-3)


def test_traced_weights_share_no_pattern():
    data = trial(30, missing=0.0, seed=1)
    design = lmm.design("y ~ x + (1 | id)", data, residual="cs(visit | id)", weights=np.ones(len(data)))

    def deviance(weights):
        return lmm.deviance(design.replace(weights=weights), solver="repeated")(
            jnp.ones(VISITS + 1), data["y"].to_numpy()
        )

    with pytest.raises(lmm.OptionError, match="30 patterns of rows in 30 clusters"):
        jax.jit(deviance)(jnp.ones(len(data)))
