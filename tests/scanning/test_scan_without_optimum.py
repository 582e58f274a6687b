"""The ends of a scan: what is no optimum has no test, and a scan says of a model what a fit says of it.

Kinds, and the neighbors tried of each:

* a person who stands twice among others who stand once: three times, two persons, all; a predictor that differs
  between copies; ML; copies that differ by 1e-9, 1e-3 or 1; a large mean; a matrix of low rank; many responses of which
  some are copies; missing values; levels without a matrix; donors' values stored by cell; the model's own solver;
  variances of the null, and refitted for what is kept; a copy among so many that an optimum is left
* a criterion that is constant: an identity, multiples of it, equal correlations; REML and ML
* a null at its end: noise of which fits are at a boundary
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxlmm as lmm
from jaxlmm.scanning.kernels.unreached import unreached

N = 60
NUMBERS = 1e-6
"""Relative: estimates of a fit and of a scan, each at its own optimum of a ratio."""

TESTS = ["std_error", "df", "statistic", "neg_log10_p", "p_value", "h2", "variance_ratio"]


@pytest.fixture(scope="module")
def study():
    """60 people with a response of heritability 0.3, a matrix of full rank, and genotypes."""
    rng = np.random.default_rng(1)
    ids = [f"p{number}" for number in range(N)]
    calls = rng.binomial(2, 0.4, (N, 200)).astype(float)
    centered = calls - calls.mean(axis=0)
    matrix = centered @ centered.T / 200 + 0.05 * np.eye(N)
    inherited = np.linalg.cholesky(matrix) @ rng.normal(size=N)
    y = np.sqrt(0.3) * inherited / inherited.std() + np.sqrt(0.7) * rng.normal(size=N)
    people = pd.DataFrame({"id": ids, "y": y, "x": rng.normal(size=N)})
    K = pd.DataFrame(matrix, ids, ids)
    return people, K, pd.DataFrame(calls[:, :4], ids, [f"rs{number}" for number in range(4)])


def joined(people, *more):
    return pd.concat([people, *more], ignore_index=True)


def low_rank(K, rank=20):
    values, vectors = np.linalg.eigh(K.to_numpy())
    return pd.DataFrame(vectors[:, -rank:] * values[-rank:] @ vectors[:, -rank:].T, K.index, K.index)


def scanned(study, data, K=None, formula="y ~ x + (1 | id)", **options):
    kinship = None if K is None else {"id": K}
    return lmm.scan(formula, data, genotypes=study[2], id="id", kinship=kinship, **options)


def fitted(study, data, K=None, marker="rs0", formula="y ~ g + x + (1 | id)", **options):
    g = study[2][marker].loc[data["id"]].to_numpy()
    return lmm.fit(formula, data.assign(g=g), kinship=None if K is None else {"id": K}, **options)


def without_tests(table):
    return table[TESTS].isna().all(axis=None) and table["estimate"].notna().all()


COPIES = {
    "one": lambda people: joined(people, people.iloc[[3]]),
    "three of one": lambda people: joined(people, people.iloc[[3, 3]]),
    "all": lambda people: joined(people, people),
    "two, a large mean": lambda people: joined(people, people.iloc[[3, 7]]).assign(y=lambda table: table["y"] + 1e4),
}


@pytest.mark.parametrize(("case", "method"), [*((case, "REML") for case in COPIES), ("one", "ML")])
def test_copies_are_no_optimum(study, case, method):
    people, K, _ = study
    data = COPIES[case](people)
    hits = scanned(study, data, K, method=method)
    table = hits.tidy()
    assert set(table["status"]) == {"not_converged"}
    assert without_tests(table)
    assert hits.top(5).empty
    assert "0 of 4 tested" in str(hits)
    assert hits.header.pairs == {"not_converged": 4}
    for variances, more in (("null", {}), ("kept", {"p_max": 1.0})) if case == "one" else ():
        table = scanned(study, data, K, method=method, variances=variances, **more).tidy()
        assert set(table["status"]) <= {"not_converged"}
        assert without_tests(table)
        assert len(table) == (4 if variances == "null" else 0)


def test_a_fit_says_the_same(study):
    people, K, _ = study
    fit = fitted(study, COPIES["one"](people), K)
    assert fit.status == "not_converged"
    assert "p3 (2 rows)" in str(fit.summary())


@pytest.mark.parametrize(
    ("difference", "status"), [(1e-9, "interior"), (1e-3, "interior"), (1.0, "interior")], ids=["1e-9", "1e-3", "1"]
)
def test_near_copies_are_what_they_are(study, difference, status):
    """Where little is left of the residual, estimates are those of least squares weighted by the matrix alone."""
    people, K, calls = study
    data = joined(people, people.iloc[[3]].assign(y=lambda table: table["y"] + difference))
    table = scanned(study, data, K).tidy()
    fit = fitted(study, data, K)
    row = fit.coef().loc["g"]
    assert (table["status"] == status).all()
    assert fit.status == status
    assert table["estimate"][0] == pytest.approx(row["estimate"], rel=NUMBERS)
    assert table["std_error"][0] == pytest.approx(row["std_error"], rel=NUMBERS)
    assert table["variance_ratio"][0] == pytest.approx(fit.theta[0] ** 2, rel=1e-4)
    if difference == 1e-9:
        X = np.column_stack([np.ones(N), people["x"], calls["rs0"]])
        root = np.linalg.cholesky(K.to_numpy())
        X, y = np.linalg.solve(root, X), np.linalg.solve(root, people["y"])
        beta, (square,), *_ = np.linalg.lstsq(X, y, rcond=None)
        assert table["estimate"][0] == pytest.approx(beta[2], rel=NUMBERS)
        assert table["std_error"][0] == pytest.approx(
            np.sqrt(square / (N - 3) * np.linalg.inv(X.T @ X)[2, 2]), rel=NUMBERS
        )


def test_a_predictor_that_tells_copies_apart(study):
    """By REML nothing is left of their difference; by ML the likelihood is without bound."""
    people, K, _ = study
    data = joined(people, people.iloc[[3]].assign(x=9.0))
    found, fit = scanned(study, data, K).tidy(), fitted(study, data, K)
    assert fit.status == found["status"][0] == "interior"
    assert found["std_error"][0] == pytest.approx(fit.coef().loc["g", "std_error"], rel=NUMBERS)
    assert without_tests(scanned(study, data, K, method="ML").tidy())


def test_one_copy_among_many_leaves_an_optimum():
    """The likelihood is without bound far away, and has an optimum where fits begin: both find that."""
    rng = np.random.default_rng(2)
    ids = [f"p{number}" for number in range(240)]
    calls = pd.DataFrame(rng.binomial(2, 0.4, (240, 300)).astype(float), ids).add_prefix("rs")
    centered = calls.to_numpy() - calls.to_numpy().mean(axis=0)
    K = pd.DataFrame(centered @ centered.T / 300 + 0.05 * np.eye(240), ids, ids)
    y = 0.7 * np.linalg.cholesky(K) @ rng.normal(size=240) + 0.7 * rng.normal(size=240)
    data = joined(pd.DataFrame({"id": ids, "y": y}), pd.DataFrame({"id": ["p3"], "y": y[3]}))
    table = lmm.scan("y ~ (1 | id)", data, genotypes=calls[["rs0"]], kinship={"id": K}).tidy()
    fit = lmm.fit("y ~ g + (1 | id)", data.assign(g=calls["rs0"].loc[data["id"]].to_numpy()), kinship={"id": K})
    assert fit.status == table["status"][0] == "interior"
    assert table["std_error"][0] == pytest.approx(fit.coef().loc["g", "std_error"], rel=NUMBERS)
    assert "p3 (2 rows)" in str(fit.summary())


@pytest.mark.parametrize("data", ["three", "one"])
@pytest.mark.parametrize("variances", ["refit", "null"])
def test_without_a_matrix_the_limit_is_least_squares_between_groups(study, data, variances):
    """Donors' values stored by cell, or one person twice: a row for each is what they say."""
    people, _, calls = study
    repeated = {"three": joined(people, people, people), "one": joined(people, people.iloc[[3]])}[data]
    hits = scanned(study, repeated, variances=variances)
    row = hits.tidy().iloc[0]
    X = np.column_stack([np.ones(N), people["x"], calls["rs0"]])
    beta, (square,), *_ = np.linalg.lstsq(X, people["y"], rcond=None)
    error = np.sqrt(square / (N - 3) * np.linalg.inv(X.T @ X)[2, 2])
    assert row["status"] == "boundary"
    assert row["df"] == N - 3
    assert row["h2"] == 1.0
    np.testing.assert_allclose(row[["estimate", "std_error"]].to_numpy(float), [beta[2], error], rtol=NUMBERS)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(beta[2] / error), N - 3), rel=1e-5)
    fit = fitted(study, repeated)
    assert fit.status == "boundary"
    assert fit.coef().loc["g", "p_value"] == pytest.approx(row["p_value"], rel=1e-4)
    assert scanned(study, repeated, variances=variances, tests=("lrt", "score")).tidy()["p_value_lrt"].isna().all()


def test_some_responses_are_copies(study):
    people, K, calls = study
    data = joined(people[["id", "x"]], people[["id", "x"]].iloc[[3, 7]])
    y = people["y"].to_numpy()
    Y = pd.DataFrame(
        {"differ": [*y, 0.0, 1.0], "same": [*y, y[3], y[7]], "missing": [*y, y[3], np.nan]}
    )  # fmt: skip
    options = {"genotypes": calls, "responses": Y, "kinship": {"id": K}}
    hits = lmm.scan("~ x + (1 | id)", data, **options)
    status = hits.tidy().groupby("response")["status"].unique().map(set)
    assert status["same"] == status["missing"] == {"not_converged"}
    assert status["differ"] <= {"interior", "boundary"}
    best = lmm.scan("~ x + (1 | id)", data, best=True, variances="null", **options)
    assert best.tidy()["response"].tolist() == ["differ"]
    for found in (hits, best):
        assert "Identical records of one id in 2 of 3 responses: p3 (2 rows), p7 (2 rows)" in str(found)
    many = lmm.fit_many("~ x + (1 | id)", data, responses=Y, kinship={"id": K})
    assert many.glance()["status"].tolist()[1:] == ["not_converged"] * 2
    assert "p3 (2 rows), p7 (2 rows)" in str(many)


@pytest.mark.parametrize("case", ["one", "span"])
def test_matrices_of_low_rank(study, case):
    """A copy is nothing beside many directions that the matrix does not reach; a response without a residual is."""
    people, K, _ = study
    matrix = low_rank(K)
    data = joined(people, people.iloc[[3]])
    if case == "span":
        data = people.assign(y=matrix.to_numpy() @ np.arange(N) / 10)
    table, fit = scanned(study, data, matrix).tidy(), fitted(study, data, matrix)
    if case == "one":
        assert fit.status == table["status"][0] == "interior"
        assert table["std_error"][0] == pytest.approx(fit.coef().loc["g", "std_error"], rel=NUMBERS)
    else:
        assert table["h2"].dropna().gt(1.0 - 1e-12).all()


@pytest.mark.parametrize(
    ("case", "method"),
    [("identity", "REML"), ("multiple", "REML"), ("tiny", "ML"), ("equal correlations", "REML")],
)
def test_a_ratio_that_is_not_identified(study, case, method):
    people, _, _ = study
    ids = people["id"].to_list()
    matrix = {
        "identity": np.eye(N), "multiple": 3.0 * np.eye(N), "tiny": 1e-6 * np.eye(N),
        "equal correlations": 0.5 * np.eye(N) + 0.5,
    }[case]  # fmt: skip
    K = pd.DataFrame(matrix, ids, ids)
    expected = "boundary" if (case, method) == ("equal correlations", "ML") else "not_identified"
    for variances in ("refit", "null"):
        table = scanned(study, people, K, method=method, variances=variances).tidy()
        assert set(table["status"]) == {expected}
        assert without_tests(table) == (expected == "not_identified")
    assert fitted(study, people, K, method=method).status == expected


def test_noise_at_the_end(study):
    """Of responses without heritability half are at zero; a scan's null is there where the fits are."""
    people, K, calls = study
    Y = pd.DataFrame(np.random.default_rng(11).normal(size=(N, 1000)), people["id"]).add_prefix("t")
    hits = lmm.scan(
        "~ x + (1 | id)", people, genotypes=calls[["rs0"]], responses=Y, id="id", kinship={"id": K}, variances="null"
    )  # fmt: skip
    table = hits.tidy()
    theirs = lmm.fit_many("~ x + (1 | id)", people, responses=Y, id="id", kinship={"id": K}).glance()["status"]
    assert set(table["status"]) == {"interior", "boundary"}
    assert (table["status"].to_numpy() == theirs.to_numpy()).all()


def test_the_own_solver_of_a_model(study):
    """Two terms, and everybody twice."""
    people, K, _ = study
    data = COPIES["all"](people.assign(batch=np.arange(N) // 6))
    hits = scanned(study, data, K, "y ~ x + (1 | id) + (1 | batch)", variances="null")
    table = hits.tidy()
    assert set(table["status"]) == {"not_converged"}
    assert table[["std_error", "statistic", "p_value"]].isna().all(axis=None)
    assert "p0 (2 rows), p1 (2 rows), p10 (2 rows) and 57 more" in str(hits)


def test_directions_that_no_effect_reaches():
    """Against the null space of all columns, with weights, an empty level and a predictor within levels."""
    rng = np.random.default_rng(0)
    codes = np.array([0, 0, 0, 1, 2, 2, 3, 3, 4])
    z = np.sqrt(rng.uniform(1.0, 2.0, 9)) * (codes != 3)
    fixed = np.linalg.qr(np.column_stack([z, rng.normal(size=9)]))[0]
    found = unreached(fixed, codes, z)
    every = np.column_stack([fixed, *(np.where(codes == level, z, 0.0) for level in range(4))])
    assert found.shape == (9, 9 - np.linalg.matrix_rank(np.column_stack([every, np.where(codes == 4, z, 0.0)])))
    np.testing.assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=1e-14)
    assert abs(found.T @ every).max() < 1e-14
