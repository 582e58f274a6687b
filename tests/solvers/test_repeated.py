"""The solver of repeated measures: its start from the data, and an optimum of many parameters by two methods."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.solvers.repeated import Repeated
from jaxlmm.testing import check_solver

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


def test_the_contract_of_a_solver():
    """Clusters of two subjects each, weighted, with a residual structure: guesses, sums of products, modes, slopes."""
    data = trial(12, missing=0.0, seed=3).query("visit < 3").reset_index(drop=True)
    data["school"], data["w"] = data["id"] // 2, 1.0 + data["visit"]
    formula, options = "~ x + (1 | school)", {"residual": "cs(visit | id)", "weights": "w"}
    check_solver("repeated", lmm.design(formula, data, **options))


@pytest.mark.parametrize("tag", ["cs(visit | id, by=arm)", "ar1(visit | id, by=arm)", "cs(visit | id, hom=True)"])
def test_structures_that_take_some_parameters_from_the_data(tag):
    """By level of a factor, whose parameters lie between those of another; of one standard deviation for all."""
    data = trial(40, missing=0.1, seed=4).query("visit < 4").reset_index(drop=True)
    data["arm"] = np.where(data["id"] % 2, "a", "b")
    data["y"] *= np.where(data["arm"] == "a", 1.0, 5.0)
    ours, dense = (lmm.fit("y ~ x", data, residual=tag, solver=solver) for solver in ("repeated", "dense"))
    assert ours.status == dense.status == "interior"
    assert ours.deviance == pytest.approx(dense.deviance, abs=SAME_OPTIMUM)


def test_a_guess_by_level_of_a_factor():
    """Variances 1, 4 and 9 in one level, 16, 25 and 36 in the other; nothing of the correlations."""
    structure = lmm.covariance.ByLevel(lmm.covariance.CompoundSymmetry(), ("a", "b"))
    found = np.asarray(structure.guess(jnp.diag(jnp.array([1.0, 4.0, 9.0, 16.0, 25.0, 36.0]))))
    expected = np.sqrt([1.0, 2.0, 3.0, np.nan, 4.0, 5.0, 6.0, np.nan])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert list(structure.guessed(6)) == list(~np.isnan(expected))


def test_a_profile_where_variances_differ():
    data = trial(40, missing=0.1, seed=5).query("visit < 3").reset_index(drop=True)
    data["y"] *= np.array([1.0, 20.0, 400.0])[data["visit"]]
    ours, dense = (lmm.fit("y ~ 1", data, residual="us(visit | id)", solver=s) for s in ("repeated", "dense"))
    name = ours.variance().index[1]
    limits = (fit.confint([name, "Intercept"], method="profile") for fit in (ours, dense))
    np.testing.assert_allclose(*limits, rtol=1e-4)


def test_traced_weights_share_no_pattern():
    data = trial(30, missing=0.0, seed=1)
    design = lmm.design("y ~ x + (1 | id)", data, residual="cs(visit | id)", weights=np.ones(len(data)))

    def deviance(weights):
        return lmm.deviance(design.replace(weights=weights), solver="repeated")(
            jnp.ones(VISITS + 1), data["y"].to_numpy()
        )

    with pytest.raises(lmm.OptionError, match="traced weights, where every row has a scale of its own"):
        jax.jit(deviance)(jnp.ones(len(data)))
