"""Many responses at once: as one at a time, whatever is missing and whatever is kept; calibrated under the null."""

import types

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxlmm as lmm
from jaxlmm.scanning import run
from jaxlmm.scanning.kernels import scanner

TOGETHER = 1e-9
"""Relative: sums of the same numbers in another order, and ratios whose optimum is flat."""

NULL = 1e-6
"""Relative, of what a fit of the null says and a scan finds: the optimum's λ has half the digits of its criterion."""

SINGLE = 1e-5
"""Of an effect in standard errors, in single precision on 100 samples; what is found is below 1e-6."""

N = 30


@pytest.fixture(scope="module")
def study():
    """100 samples, a matrix, 30 responses of which some have missing values, and 500 markers."""
    genotypes = lmm.datasets.genotypes()
    K = lmm.genetics.grm(genotypes)
    rng = np.random.default_rng(7)
    root = np.linalg.cholesky(K.matrix + 1e-6 * np.eye(100))
    Y = 1.5 * root @ rng.normal(size=(100, N)) + rng.normal(size=(100, N))
    Y[:, 0] += 1.2 * genotypes["rs0100"]
    Y[:10, 10:14], Y[95:, 14] = np.nan, np.nan
    responses = pd.DataFrame(Y, index=genotypes.index).add_prefix("y")
    data = pd.DataFrame({"x": rng.normal(size=100), "id": genotypes.index}, index=genotypes.index)
    return data, responses, genotypes, {"id": K}


@pytest.fixture(scope="module")
def everything(study):
    data, responses, genotypes, kinship = study
    tests = ("wald", "lrt", "score")
    return lmm.scan(
        "~ x + (1 | id)", data, genotypes=genotypes, responses=responses, kinship=kinship, variances="null", tests=tests
    )


def test_together_as_alone(study, everything):
    data, responses, genotypes, kinship = study
    table = everything.tidy()
    for name in ("y0", "y12", "y14"):
        own = data.assign(**{name: responses[name]})
        alone = lmm.scan(
            f"{name} ~ x + (1 | id)", own, genotypes=genotypes, kinship=kinship, variances="null",
            tests=("wald", "lrt", "score"),
        ).tidy()  # fmt: skip
        together = table[table["response"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(together, alone, rtol=TOGETHER)
    assert table.groupby("response")["n"].first().loc[["y0", "y12", "y14"]].tolist() == [100, 90, 95]


def test_null_variances_are_those_of_fit_many(everything):
    found = everything.null
    table = everything.tidy().groupby("response", sort=False).first()
    shares = found.ratio("id").set_index("response")["estimate"]
    np.testing.assert_allclose(table["h2"], shares.loc[table.index], rtol=NULL, atol=1e-9)
    assert (table["status"] == found.status.loc[table.index]).all()


def test_a_marker_at_null_variances(study, everything):
    """By generalized least squares with the covariance of the null fit written out."""
    data, responses, genotypes, kinship = study
    rows = everything.tidy().query("response == 'y0'").set_index("variant")
    K, y = kinship["id"].matrix, responses["y0"].to_numpy()
    for name in genotypes.columns[:5]:
        row = rows.loc[name]
        X = np.column_stack([np.ones(100), data["x"], genotypes[name]])
        H = np.eye(100) + row["variance_ratio"] * K
        inverse = np.linalg.inv(H)
        information = X.T @ inverse @ X
        beta = np.linalg.solve(information, X.T @ inverse @ y)
        residual = y - X @ beta
        variance = residual @ inverse @ residual / 97
        assert row["estimate"] == pytest.approx(beta[2], rel=1e-9)
        assert row["std_error"] == pytest.approx(np.sqrt(variance * np.linalg.inv(information)[2, 2]), rel=1e-9)
        assert row["p_value"] == pytest.approx(stats.f.sf(row["statistic"], 1, 97), rel=1e-9)


@pytest.mark.parametrize("options", [{"p_max": 1e-3}, {"top": 20}, {"best": True}, {"p_max": 1e-2, "top": 15}])
def test_what_is_kept_is_a_part_of_everything(study, everything, options):
    data, responses, genotypes, kinship = study
    kept = lmm.scan(
        "~ x + (1 | id)", data, genotypes=genotypes, responses=responses, kinship=kinship, variances="null",
        tests=("wald", "lrt", "score"), **options,
    ).tidy()  # fmt: skip
    expected = everything.tidy()
    if "p_max" in options:
        expected = expected[expected["p_value"] <= options["p_max"]]
    if "top" in options:
        expected = expected.nlargest(options["top"], "neg_log10_p").sort_index()
    if "best" in options:
        expected = expected.loc[expected.groupby("response", sort=False)["neg_log10_p"].idxmax()]
    pd.testing.assert_frame_equal(kept, expected.reset_index(drop=True), rtol=TOGETHER)
    with pytest.raises(lmm.DataError, match="tests of all markers"):
        lmm.scan(
            "~ x + (1 | id)", data, genotypes=genotypes.iloc[:, :9], responses=responses, kinship=kinship,
            variances="null", **options,
        ).lambda_gc()  # fmt: skip


def test_what_is_kept_is_refitted(study):
    data, responses, genotypes, kinship = study
    some = responses[["y0", "y12", "y20"]]
    options = {"genotypes": genotypes, "responses": some, "kinship": kinship}
    kept = lmm.scan("~ x + (1 | id)", data, variances="kept", p_max=1e-2, **options).tidy()
    null = lmm.scan("~ x + (1 | id)", data, variances="null", p_max=1e-2, **options).tidy()
    refit = lmm.scan("~ x + (1 | id)", data, **options).tidy().set_index(["response", "variant"])
    assert kept[["response", "variant"]].equals(null[["response", "variant"]])
    expected = refit.loc[pd.MultiIndex.from_frame(kept[["response", "variant"]])].reset_index()
    pd.testing.assert_frame_equal(kept, expected[list(kept)], rtol=TOGETHER)
    assert not np.allclose(kept["estimate"], null["estimate"], rtol=1e-6)


def test_single_precision(study):
    data, responses, genotypes, kinship = study
    options = {"genotypes": genotypes, "responses": responses[["y0"]], "kinship": kinship}
    double, single = (
        lmm.scan("~ x + (1 | id)", data, precision=precision, **options).tidy() for precision in ("float64", "float32")
    )
    assert (np.abs(single["estimate"] - double["estimate"]) / double["std_error"]).max() < SINGLE
    assert not np.array_equal(single["std_error"], double["std_error"])


def test_samples_are_matched_by_id(study, everything):
    """Genotypes in another order, some without data, and data without genotypes."""
    data, responses, genotypes, kinship = study
    rng = np.random.default_rng(8)
    other = genotypes.iloc[rng.permutation(100)]
    more = pd.concat([data, pd.DataFrame({"x": [1.0, 2.0], "id": ["stranger1", "stranger2"]}, index=["s1", "s2"])])
    more["y0"] = responses["y0"].reindex(more.index).fillna(1.0)
    hits = lmm.scan("y0 ~ x + (1 | id)", more, genotypes=other, kinship=kinship, variances="null")
    expected = everything.tidy().query("response == 'y0'").reset_index(drop=True)
    pd.testing.assert_frame_equal(hits.tidy(), expected[list(hits.tidy())], rtol=TOGETHER)
    assert "100 samples with data and genotypes; 2 without genotypes and 0 without data dropped" in str(hits)


def test_the_linear_model(study):
    data, responses, genotypes, _ = study
    own = data.assign(y=responses["y0"])
    table = lmm.scan("y ~ x", own, genotypes=genotypes.iloc[:, :8]).tidy()
    for name, row in table.set_index("variant").iterrows():
        fit = lmm.fit("y ~ x + g", own.assign(g=genotypes[name])).coef().loc["g"]
        assert row["estimate"] == pytest.approx(fit["estimate"], rel=1e-9)
        assert row["p_value"] == pytest.approx(fit["p_value"], rel=1e-8)
    assert (table["h2"] == 0.0).all()


def test_no_constant_among_the_fixed_effects(study):
    data, responses, genotypes, kinship = study
    own = data.assign(y=responses["y0"] + 3.0)
    row = lmm.scan("y ~ 0 + x + (1 | id)", own, genotypes=genotypes.iloc[:, :3], kinship=kinship).tidy().iloc[1]
    fit = lmm.fit("y ~ 0 + x + g + (1 | id)", own.assign(g=genotypes.iloc[:, 1]), kinship=kinship)
    assert row["estimate"] == pytest.approx(fit.fixef()["g"], rel=NULL)
    assert row["std_error"] == pytest.approx(fit.coef().loc["g", "std_error"], rel=NULL)


@pytest.fixture(scope="module")
def families():
    """300 people in families of five; 2,000 markers that families share, and 50 responses with h² = 0.5."""
    rng = np.random.default_rng(11)
    family = np.repeat(np.arange(60), 5)
    shares = rng.uniform(0.1, 0.5, 2000)
    allele = rng.random((2, 60, 2000)) < shares
    own = rng.random((2, 300, 2000)) < shares
    from_family = rng.random((2, 300, 2000)) < 0.7
    G = np.where(from_family, allele[:, family], own).sum(axis=0).astype(float)
    K = 0.49 * (family[:, None] == family[None, :]) + 0.51 * np.eye(300)
    Y = np.linalg.cholesky(K) @ rng.normal(size=(300, 50)) + rng.normal(size=(300, 50))
    ids = [f"p{number}" for number in range(300)]
    genotypes = pd.DataFrame(G, index=ids).add_prefix("m")
    data = pd.DataFrame({"id": ids}, index=ids)
    return data, pd.DataFrame(Y, index=ids).add_prefix("y"), genotypes, pd.DataFrame(K, index=ids, columns=ids)


def test_calibrated_under_the_null(families):
    """100,000 p-values: their standard error at the median is known from responses, whose tests are independent."""
    data, responses, genotypes, K = families
    hits = lmm.scan(
        "~ (1 | id)", data, genotypes=genotypes, responses=responses, kinship={"id": K}, variances="null"
    )  # fmt: skip
    assert 0.98 <= hits.lambda_gc().mean() <= 1.02
    p = hits.tidy()["p_value"].to_numpy()
    assert stats.kstest(p[::37], "uniform").pvalue > 1e-3
    assert 0.7e-3 < (p < 1e-3).mean() < 1.3e-3
    naive = lmm.scan("~ 1", data, genotypes=genotypes, responses=responses)
    assert naive.lambda_gc().mean() > 1.2


def test_a_planted_effect_is_found_without_bias(families):
    data, responses, genotypes, K = families
    planted = responses + 0.4 * genotypes[["m5"]].to_numpy()
    hits = lmm.scan("~ (1 | id)", data, genotypes=genotypes[["m5"]], responses=planted, kinship={"id": K}).tidy()
    off = (hits["estimate"] - 0.4) / hits["std_error"]
    assert abs(off.mean()) < 3.0 / np.sqrt(50)
    assert 0.7 < off.std() < 1.3


@pytest.mark.parametrize("interaction", [None, "x"])
def test_responses_refitted_at_once_are_as_one_by_one(study, interaction, monkeypatch):
    """As on an accelerator: ten responses on the same rows in groups of four, four and two; one on others alone."""
    data, responses, genotypes, kinship = study

    def scanned():
        return lmm.scan(
            "~ x + (1 | id)", data, genotypes=genotypes.iloc[:, :70], responses=responses.iloc[:, :11],
            kinship=kinship, variances="refit", tests=("wald", "lrt", "score"), interaction=interaction,
        )  # fmt: skip

    monkeypatch.setattr(run, "block_size", lambda markers: 64)  # 70 markers are two blocks
    alone, some, sizes = scanned(), types.SimpleNamespace(platform="gpu"), []
    launch = scanner.EigenScanner._launch_refit

    def noted(self, chosen, count, block):
        sizes.append((chosen.size, count))
        return launch(self, chosen, count, block)

    monkeypatch.setattr(scanner.EigenScanner, "_launch_refit", noted)
    monkeypatch.setattr(scanner, "default_device", lambda: some)
    monkeypatch.setattr(scanner, "RESPONSES_PER_REFIT", 4)
    at_once = scanned()
    assert sorted(sizes) == sorted(2 * [(4, 4), (4, 4), (4, 2), (1, 1)])
    one, other = at_once.tidy(), alone.tidy()
    ratio = [name for name in one if "ratio" in name]  # of an optimum, with half the digits of its criterion
    assert ratio
    pd.testing.assert_frame_equal(one.drop(columns=ratio), other.drop(columns=ratio), rtol=TOGETHER)
    pd.testing.assert_frame_equal(one[ratio], other[ratio], rtol=NULL)
    described = [[line for line in str(found).splitlines() if "Time" not in line] for found in (at_once, alone)]
    assert described[0] == described[1]
