"""Scans with variance parameters that are fixed: against single fits and explicit matrices.

Tolerance: other arithmetic at the same variances agrees to 1e-7, relative; so do two optima in their coefficients.
"""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

EXACT = 1e-7
FORMULA = "y ~ x + (1 | id)"
RANDOM, RESIDUAL = "id: sd(Intercept)", "Residual: sd"


@pytest.fixture(scope="module")
def people():
    """40 relatives with a phenotype, a covariate and four markers."""
    rng = np.random.default_rng(6)
    ids = [f"p{number:02d}" for number in range(40)]
    block = np.arange(40) // 4
    K = pd.DataFrame(np.eye(40) / 2 + (block[:, None] == block) / 2, index=ids, columns=ids)
    G = pd.DataFrame(rng.binomial(2, 0.4, size=(40, 4)).astype(float), index=ids).add_prefix("m")
    data = pd.DataFrame({"id": ids, "x": rng.normal(size=40)})
    data["y"] = np.linalg.cholesky(K) @ rng.normal(size=40) + 0.6 * G["m2"].to_numpy() + rng.normal(size=40)
    return data, K, G


def scanned(people, **options):
    data, K, G = people
    return lmm.scan(FORMULA, data, genotypes=G, kinship={"id": K}, **options).tidy().set_index("variant")


def squares(people, v, marker):
    """Coefficient of a marker, its variance, and how much of y'Py it explains, by generalized least squares."""
    data, _, G = people
    X = np.column_stack([np.ones(40), data["x"], G[marker]])
    inverse, y = np.linalg.inv(v), data["y"].to_numpy()
    information = X.T @ inverse @ X
    beta = np.linalg.solve(information, X.T @ inverse @ y)
    own = np.linalg.inv(information)[2, 2]
    return beta[2], own, beta[2] ** 2 / own


def test_all_fixed_is_generalised_least_squares(people):
    _, K, G = people
    fixed = {RANDOM: 1.1, RESIDUAL: 0.8}
    table = scanned(people, variances="null", fixed=fixed, tests=("wald", "lrt", "score"))
    v = 1.1**2 * K.to_numpy() + 0.8**2 * np.eye(40)
    for marker in G:
        estimate, variance, explained = squares(people, v, marker)
        row = table.loc[marker]
        assert row["estimate"] == pytest.approx(estimate, rel=EXACT)
        assert row["std_error"] == pytest.approx(np.sqrt(variance), rel=EXACT)
        for test in ("statistic", "statistic_lrt", "statistic_score"):
            assert row[test] == pytest.approx(explained, rel=EXACT)


def test_refitted_markers_are_fits_with_the_same_fixed(people):
    data, K, G = people
    options = {"method": "ML", "fixed": {RESIDUAL: 0.9}}
    table = scanned(people, tests=("wald", "lrt"), **options)
    null = lmm.fit(FORMULA, data, kinship={"id": K}, **options)
    for marker in ("m0", "m2"):
        fit = lmm.fit("y ~ x + g + (1 | id)", data.assign(g=G[marker].to_numpy()), kinship={"id": K}, **options)
        row = table.loc[marker]
        assert row["estimate"] == pytest.approx(fit.fixef()["g"], rel=1e-6)
        assert row["std_error"] == pytest.approx(fit.coef().loc["g", "std_error"], rel=1e-6)
        assert row["statistic_lrt"] == pytest.approx(null.deviance - fit.deviance, rel=1e-6, abs=1e-8)


def test_null_variances_beside_a_fixed_one(people):
    data, K, _ = people
    null = lmm.fit(FORMULA, data, kinship={"id": K}, fixed={RANDOM: 0.9})
    table = scanned(people, variances="null", fixed={RANDOM: 0.9}, start={RESIDUAL: 0.5})
    estimate, variance, _ = squares(people, null.marginal_cov().to_numpy(), "m1")
    assert table.loc["m1", "estimate"] == pytest.approx(estimate, rel=1e-6)
    assert table.loc["m1", "std_error"] == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_a_name_that_the_model_lacks(people):
    with pytest.raises(lmm.OptionError, match=r"fixed: no parameter is named 'id: sd'; .* id: sd\(Intercept\), Res"):
        scanned(people, fixed={"id: sd": 1.0})
