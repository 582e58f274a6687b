"""Standard errors and intervals of predictions against dense matrices.

The reference is Henderson's mixed-model equations, or, where G is singular, the same in terms of V; rounding leaves
1e-8 relative.
"""

import numpy as np
import pandas as pd
import pytest
import scipy

import jaxlmm as lmm

import models

RELATIVE = 1e-8


def dense(fit, x, covariances, prior):
    """Variances of errors from V: of a target with covariance c with y, prior variance g, and columns x."""
    v = fit.marginal_cov().to_numpy()
    design = fit.model_matrix().to_numpy()
    solved = np.linalg.solve(v, np.column_stack([design, covariances]))
    p = design.shape[1]
    vcov = np.linalg.inv(design.T @ solved[:, :p])
    moved = x - covariances.T @ solved[:, :p]
    explained = np.sum(covariances * solved[:, p:], axis=0)
    return prior - explained + np.sum((moved @ vcov) * moved, axis=1)


def equations(fit, x, z):
    """Variances of errors by the inverse of the mixed-model equations of (Days | Subject)."""
    design, rows = fit.model_matrix().to_numpy(), fit.random_matrix("Subject").matrix.toarray()
    sd = fit.variance()["estimate"].to_numpy()
    g = np.array([[sd[0] ** 2, sd[2] * sd[0] * sd[1]], [sd[2] * sd[0] * sd[1], sd[1] ** 2]])
    inverse = np.kron(np.eye(18), np.linalg.inv(g)) * sd[3] ** 2
    w = np.column_stack([design, rows])
    left = w.T @ w
    left[2:, 2:] += inverse
    rows_new = np.column_stack([x, z])
    return sd[3] ** 2 * np.sum((rows_new @ np.linalg.inv(left)) * rows_new, axis=1)


def test_the_mixed_model_equations():
    sleep = lmm.datasets.sleepstudy()
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", sleep)
    new = pd.DataFrame({"Subject": ["308", "372", "309"], "Days": [3.0, 12.0, -1.0]})
    found = fit.predict(new)
    x = np.column_stack([np.ones(3), new["Days"]])
    z = np.zeros((3, 36))
    for row, number in enumerate((0, 17, 1)):
        z[row, 2 * number : 2 * number + 2] = x[row]
    np.testing.assert_allclose(found["std_error"] ** 2, equations(fit, x, z), rtol=RELATIVE)
    own = fit.predict()
    expected = equations(fit, fit.model_matrix().to_numpy(), fit.random_matrix("Subject").matrix.toarray())
    np.testing.assert_allclose(own["std_error"] ** 2, expected, rtol=RELATIVE)
    interval = fit.predict(new, interval="prediction", level=0.9)
    half = scipy.stats.norm.ppf(0.95) * np.sqrt(found["std_error"] ** 2 + fit.sigma**2)
    np.testing.assert_allclose(interval["conf_high"] - interval["estimate"], half, rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["slope", "crossed", "slopes on both", "kinship", "ou", "ou residual", "weights, offset"]
)
def test_dense_matrices(name, frame):
    """Of the fit's own rows, for every solver and structure: c is then the random part of a row of V."""
    fit = lmm.fit(models.MODELS[name].formula, frame, **models._options(name, frame))
    v, n, variance = fit.marginal_cov().to_numpy(), fit.n, np.asarray(fit.by_row.residual_sds)[: fit.n] ** 2
    if fit.design.residual is None:
        random = v - np.diag(variance)
    else:
        term = fit.design.residual
        codes, positions = np.asarray(fit.design.groupings[term.grouping].codes)[:n], np.asarray(term.positions)[:n]
        own = np.asarray(fit.by_row.residual_covariance)[term.blocks(codes)]
        between = own[np.arange(n)[:, None], positions[:, None], positions]
        correlations = np.where(codes[:, None] == codes, between, 0.0)
        random = v - correlations * np.sqrt(np.outer(variance, variance))
    expected = dense(fit, fit.model_matrix().to_numpy(), random, np.diag(random))
    np.testing.assert_allclose(fit.predict()["std_error"] ** 2, expected, rtol=1e-7, atol=1e-9 * v.max())


def test_a_new_level_and_what_is_left_out():
    sleep = lmm.datasets.sleepstudy()
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", sleep)
    new = pd.DataFrame({"Subject": ["new", "308"], "Days": [5.0, 5.0]})
    x = np.array([1.0, 5.0])
    sd = fit.variance()["estimate"].to_numpy()
    g = np.array([[sd[0] ** 2, sd[2] * sd[0] * sd[1]], [sd[2] * sd[0] * sd[1], sd[1] ** 2]])
    fixed, own, residual = x @ fit.vcov().to_numpy() @ x, x @ g @ x, sd[3] ** 2
    zero = fit.predict(new, new_levels="zero", interval="prediction")
    assert zero["std_error"][0] ** 2 == pytest.approx(fixed)
    half = (zero["conf_high"] - zero["estimate"]) / scipy.stats.norm.ppf(0.975)
    assert half[0] ** 2 == pytest.approx(fixed + own + residual)
    without = fit.predict(new, re_form="~0", interval="prediction")
    half = (without["conf_high"] - without["estimate"]) / scipy.stats.norm.ppf(0.975)
    np.testing.assert_allclose(half**2, fixed + own + residual)
    some = fit.predict(new, re_form="~ (1 | Subject)", new_levels="zero", interval="confidence")
    z = np.zeros((1, 36))
    z[0, 0] = 1.0
    np.testing.assert_allclose(some["std_error"][1] ** 2, equations(fit, x[None], z), rtol=RELATIVE)
    missing = fit.predict(pd.DataFrame({"Subject": ["308"], "Days": [np.nan]}))
    assert missing.isna().all(axis=None)


def test_ids_without_a_row(frame):
    """Of a known matrix: the error is that of the conditional distribution."""
    rng = np.random.default_rng(2)
    ids = [f"i{number}" for number in range(12)]
    root = rng.normal(size=(12, 20))
    known = pd.DataFrame(root @ root.T / 20 + 0.2 * np.eye(12), ids, ids)
    rows = rng.choice(ids[:9], 40)
    data = pd.DataFrame({"id": rows, "x": rng.normal(size=40)})
    data["y"] = (
        data["x"] + rng.normal(size=40) + np.linalg.cholesky(known)[[ids.index(i) for i in rows]] @ rng.normal(size=12)
    )
    fit = lmm.fit("y ~ x + (1 | id)", data, kinship={"id": known})
    new = pd.DataFrame({"id": ["i10", "i0"], "x": [0.5, -1.0]})
    found = fit.predict(new)
    variance = float(fit.variance("variance")["estimate"].iloc[0])
    covariances = variance * known.loc[data["id"], new["id"]].to_numpy()
    prior = variance * np.array([known.loc[i, i] for i in new["id"]])
    x = np.column_stack([np.ones(2), new["x"]])
    np.testing.assert_allclose(found["std_error"] ** 2, dense(fit, x, covariances, prior), rtol=1e-7)


def test_loaded_fits(tmp_path):
    sleep = lmm.datasets.sleepstudy()
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", sleep)
    fit.save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    new = pd.DataFrame({"Subject": ["308"], "Days": [3.0]})
    assert np.isnan(loaded.predict(new)["std_error"][0])
    assert loaded.predict(new)["estimate"][0] == pytest.approx(fit.predict(new)["estimate"][0])
    pd.testing.assert_frame_equal(
        loaded.predict(new, re_form="~0", interval="confidence"), fit.predict(new, re_form="~0", interval="confidence")
    )
    with pytest.raises(lmm.DataError, match="loaded from a file"):
        loaded.predict(new, interval="confidence")
    with pytest.raises(lmm.OptionError, match="interval"):
        fit.predict(new, interval="both")
