"""Leverages, studentized residuals and deletion diagnostics against lme4, dense matrices, and refits."""

import json

import numpy as np
import pytest

import jaxlmm as lmm

from references import HERE

R = json.loads((HERE / "influence.json").read_text())["models"]
MODELS = ["sleep_by_subject", "penicillin_by_sample"]
SLEEP = lmm.datasets.sleepstudy()


@pytest.fixture(scope="module")
def fits():
    return {
        "sleep": lmm.fit("Reaction ~ Days + (Days | Subject)", SLEEP),
        "penicillin": lmm.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.datasets.penicillin()),
    }


@pytest.mark.parametrize("name", MODELS)
def test_leverages_and_studentized_residuals_are_lme4s(fits, name):
    fit = fits[name.split("_")[0]]
    np.testing.assert_allclose(fit.leverage(), R[name]["hat"], atol=1e-5)
    np.testing.assert_allclose(fit.residuals("studentized"), R[name]["studentized"], atol=1e-4)


@pytest.mark.parametrize("name", [*MODELS, "sleep_by_row"])
def test_refits_without_a_case_are_lme4s(fits, name):
    found = fits[name.split("_")[0]].influence(R[name]["group"] or "row", "exact")
    if R[name]["group"]:
        assert [str(case) for case in found.fixef.index] == R[name]["cases"]
    expected = np.array(R[name]["fixef"]).reshape(found.fixef.shape)
    error = found.fit.coef()["std_error"].to_numpy()
    np.testing.assert_allclose(found.fixef / error, expected / error, atol=5e-5)  # two of lme4's refits stop early
    cases, p = found.fixef.shape  # lme4 multiplies by (cases − p) / cases
    np.testing.assert_allclose(found.cooks_distance() * (cases - p) / cases, R[name]["cooks"], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"residual": "ou(Days | Subject)"}, {"dispersion": "~ Days"}])
def test_leverages_are_those_of_dense_matrices(options):
    fit = lmm.fit("Reaction ~ Days + (1 | Subject)", SLEEP, weights=SLEEP["Days"] + 1.0, **options)
    v, x = fit.marginal_cov().to_numpy(), fit.model_matrix().to_numpy()
    solved = np.linalg.solve(v, x)
    p = np.linalg.inv(v) - solved @ np.linalg.solve(x.T @ solved, solved.T)
    z = fit.random_matrix("Subject").matrix.toarray()
    residual = v - fit.variance()["estimate"].iloc[0] ** 2 * z @ z.T
    np.testing.assert_allclose(fit.leverage(), 1.0 - np.diag(residual @ p), atol=1e-10)
    if "residual" in options:
        with pytest.raises(lmm.OptionError, match="studentized"):
            fit.residuals("studentized")
    else:
        spread = np.sqrt(np.diag(residual @ p @ residual))
        np.testing.assert_allclose(fit.residuals("studentized"), fit.residuals() / spread, atol=1e-9)


def test_a_known_matrix_has_leverages_too():
    n = 40
    rng = np.random.default_rng(3)
    a = rng.normal(size=(n, n))
    k = a @ a.T / n + 0.1 * np.eye(n)
    names = [f"i{i}" for i in range(n)]
    data = {"y": np.linalg.cholesky(k) @ rng.normal(size=n) + rng.normal(size=n), "x": rng.normal(size=n), "id": names}
    fit = lmm.fit("y ~ x + (1 | id)", data, kinship={"id": lmm.genetics.relationship(k, names)})
    v, x = fit.marginal_cov().to_numpy(), fit.model_matrix().to_numpy()
    solved = np.linalg.solve(v, x)
    p = np.linalg.inv(v) - solved @ np.linalg.solve(x.T @ solved, solved.T)
    assert fit.solver == "spectral"
    np.testing.assert_allclose(fit.leverage(), 1.0 - fit.sigma**2 * np.diag(p), atol=1e-9)
    by_row, exact = (fit.influence(method=method) for method in ("implicit", "exact"))
    change = exact.dfbetas()
    assert np.abs(by_row.dfbetas() - change).max().max() < 0.05 * np.abs(change).max().max()


@pytest.mark.parametrize("by", ["Subject", "row"])
def test_newtons_first_steps_nearly_reach_the_refits(fits, by):
    near, exact = (fits["sleep"].influence(by, method) for method in ("implicit", "exact"))
    change = exact.dfbetas().abs().max().max()
    assert (near.dfbetas() - exact.dfbetas()).abs().max().max() < 0.01 * change
    own = fits["sleep"].variance()["estimate"]
    moved = (exact.variance - own).abs().max()
    assert ((near.variance - exact.variance).abs().max() < 0.15 * moved).all()
    assert (near.variance - own).abs().max().min() > 0.0
    table = near.to_frame()
    assert table["n"].sum() == 180
    np.testing.assert_allclose(table["leverage"].sum(), fits["sleep"].leverage().sum())


def test_by_a_column_an_array_and_at_a_boundary(fits):
    days = fits["sleep"].influence("Days", "exact")
    np.testing.assert_allclose(days.fixef, fits["sleep"].influence(SLEEP["Days"].to_numpy(), "exact").fixef)
    two = lmm.fit("Reaction ~ Days + (Days | Subject)", SLEEP[SLEEP["Days"] != 3])
    np.testing.assert_allclose(days.fixef.loc[3], two.fixef(), rtol=1e-6)
    np.testing.assert_allclose(days.variance.loc[3], two.variance()["estimate"], rtol=1e-4)
    flat = lmm.fit("Reaction ~ Days + (0 + noise | Subject)", SLEEP.assign(noise=np.tile([1.0, -1.0], 90)))
    assert flat.status == "boundary"
    assert (flat.influence("Subject").variance["Subject: sd(noise)"] == 0.0).all()


def test_a_case_without_which_a_coefficient_is_not_determined():
    data = SLEEP.assign(first=(SLEEP["Subject"] == "308").astype(float))
    fit = lmm.fit("Reaction ~ Days + first + (1 | Subject)", data)
    for method in ("implicit", "exact"):
        found = fit.influence("Subject", method)
        assert np.isnan(found.fixef.loc["308", "first"])
        assert np.isfinite(found.fixef.loc["308", "Days"])
        assert found.fixef.drop("308").notna().all().all()


def test_what_cannot_be_left_out(fits, tmp_path):
    with pytest.raises(lmm.OptionError, match="by: 'Subjct' is no grouping factor"):
        fits["sleep"].influence("Subjct")
    with pytest.raises(lmm.OptionError, match="by: expected a value for each of 180 rows, got 3"):
        fits["sleep"].influence([1, 2, 3])
    with pytest.raises(lmm.OptionError, match="method"):
        fits["sleep"].influence(method="jackknife")
    fits["sleep"].save(tmp_path / "fit.jaxlmm")
    with pytest.raises(lmm.DataError, match="loaded"):
        lmm.load(tmp_path / "fit.jaxlmm").influence()
    assert "18 cases left out" in repr(fits["sleep"].influence("Subject"))


@pytest.mark.parametrize("method", ["implicit", "exact"])
def test_the_last_level_is_left_out_of_a_model_of_dispersion(method):
    fit = lmm.fit("Reaction ~ Days + (1 | Subject)", SLEEP, dispersion="~ Days")
    found = fit.influence("Subject", method)
    last = SLEEP["Subject"].iloc[-1]
    alone = lmm.fit("Reaction ~ Days + (1 | Subject)", SLEEP[SLEEP["Subject"] != last], dispersion="~ Days")
    error = fit.coef()["std_error"].to_numpy()
    np.testing.assert_allclose(found.fixef.loc[last] / error, alone.fixef() / error, atol=1e-3)
    assert found.fixef.notna().all().all()


def test_a_row_that_is_fitted_exactly_has_no_studentized_residual():
    data = SLEEP.assign(one=(np.arange(180) == 7).astype(float))
    fit = lmm.fit("Reaction ~ Days + one + (1 | Subject)", data)
    assert fit.leverage().iloc[7] == pytest.approx(1.0)
    studentized = fit.residuals("studentized")
    assert np.isnan(studentized.iloc[7])
    assert studentized.drop(7).notna().all()


@pytest.mark.parametrize("method", ["implicit", "exact"])
def test_without_the_reference_level_its_contrasts_are_not_determined(method):
    fit = lmm.fit("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.datasets.cake())
    found = fit.influence("recipe", method).fixef
    assert found.loc["A", ["Intercept", "recipe[T.B]", "recipe[T.C]"]].isna().all()
    assert np.isnan(found.loc["B", "recipe[T.B]"])
    alone = lmm.fit("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.datasets.cake().query("recipe != 'B'"))
    error = alone.coef()["std_error"]["recipe[T.C]"]
    assert found.loc["B", "recipe[T.C]"] == pytest.approx(alone.fixef()["recipe[T.C]"], abs=1e-3 * error)
    assert found["temp"].notna().all()


def test_series_are_taken_by_the_index_of_the_data_and_no_residual_is_refused():
    data = SLEEP.assign(Reaction=SLEEP["Reaction"].where(SLEEP.index != 5), half=SLEEP["Days"] > 4)
    fit = lmm.fit("Reaction ~ Days + (1 | Subject)", data)
    assert fit.n == 179
    by_series, by_column = fit.influence(data["half"], "exact"), fit.influence("half", "exact")
    np.testing.assert_allclose(by_series.fixef, by_column.fixef)
    flat = SLEEP.assign(y=np.repeat(np.arange(18.0) ** 1.5, 10))
    exact = lmm.fit("y ~ Days + (1 | Subject)", flat)
    assert exact.sigma == 0.0
    with pytest.raises(lmm.DataError, match="leaves none"):
        exact.influence("Subject")
    assert exact.coef(vcov="CR2")["std_error"].isna().all()
    assert exact.__maketables_stat__("ll") is None
