"""Known matrices across levels: against lmekin's printed numbers, explicit matrices, SciPy, and single fits.

Tolerances: a deviance agrees with the same one from explicit matrices to 1e-8, which is rounding; optima of SciPy are
good to 1e-6 in the deviance, and to 1e-3 standard errors in the parameters. Two ways to one number agree to 1e-8, two
optima to 1e-6, which is where the minimizer stops.
"""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import minimize

import jaxlmm as lmm
from jaxlmm.solvers.dense.dense import Dense

from references import fitted, records

ROUNDING = 1e-8
OPTIMUM = 1e-6
IN_STANDARD_ERRORS = 1e-3


def loglik(y, x, v, beta=None, reml=False):
    """The Gaussian log-likelihood of y at a covariance v, at ``beta`` or profiled over it."""
    solved = np.linalg.solve(v, x)
    information = x.T @ solved
    beta = np.linalg.solve(information, solved.T @ y) if beta is None else np.asarray(beta)
    rest = y - x @ beta
    total = np.linalg.slogdet(v)[1] + rest @ np.linalg.solve(v, rest)
    total += np.linalg.slogdet(information)[1] if reml else 0.0
    return -0.5 * (total + (len(y) - (x.shape[1] if reml else 0)) * np.log(2 * np.pi))


def relatives(seed: int, n: int, extra: int = 0, block: int = 6) -> pd.DataFrame:
    """A covariance matrix of n + extra ids in families."""
    rng, total = np.random.default_rng(seed), n + extra
    root = rng.normal(size=(total, 2 * total)) * (
        np.arange(total)[:, None] // block == np.arange(2 * total) // 2 // block
    )
    matrix = root @ root.T
    matrix /= np.mean(np.diag(matrix))
    ids = [f"p{number:03d}" for number in range(total)]
    return pd.DataFrame(matrix, index=ids, columns=ids)


K, D = relatives(1, 40, 8), relatives(2, 40, 8, block=4)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    ids = np.repeat(K.index[:40], 2)
    data = pd.DataFrame({"id": ids, "x": rng.normal(size=80), "t": np.tile([0.0, 1.0], 40)})
    data["house"] = [f"h{number // 3}" for number in range(80)]
    for name, matrix in (("a", K), ("b", D)):
        effect = np.linalg.cholesky(matrix + 1e-9 * np.eye(48)) @ rng.normal(size=(48, 2))
        data[name] = (effect[np.repeat(np.arange(40), 2)] * [1.0, 0.7]) @ [1.0, 0.5]
    data["y"] = 1.0 + 0.5 * data["x"] + data["a"] + data["b"] * (1 + data["t"]) + rng.normal(size=80)
    return data


@pytest.fixture(scope="module")
def two(people):
    return lmm.fit("y ~ x + (1 | id) + (1 | house)", people, kinship={"id": {"kin": K, "ibd": D}})


# ---- lmekin's document -----------------------------------------------------------------------------------------------

GAW = lmm.datasets.gaw()
PHI = lmm.genetics.kinship(GAW)

PRINTED = {  # name of the reference: log-likelihood, coefficients, standard deviations, that of the residual
    "seed3_ergo_lmekin_ml": ("-61.07222", [8.5555556, 3.8888889, 2.2222222, 0.6666667], [1.256269], 1.037366),
    "seed3_gaw_gfit1": ("-4114.317", [3.896828, 2.393351], [7.489286], 12.99801),
    "seed3_gaw_gfit2": ("-4252.44", [45.59829], [5.850013, 4.362513], 15.98072),
    "seed3_gaw_gfit3": ("-4114.079", [3.861551, 2.394771], [10.284711, 1.371693], 13.059),
}


@pytest.mark.parametrize("name", list(PRINTED))
def test_printed_numbers_of_the_lmekin_document(name):
    """Our optimum prints the same log-likelihood; the printed parameters have a lower one, by explicit matrices."""
    printed, beta, sds, sigma = PRINTED[name]
    fit = fitted(name)
    assert f"{fit.loglik:.{len(printed.split('.')[1])}f}".rstrip("0") == printed
    x, unit = fit.model_matrix().to_numpy(), np.zeros((fit.n, fit.n))
    parts = []
    for term in fit.design.terms:
        grouping = fit.design.groupings[term.grouping]
        codes = np.asarray(grouping.codes)[: fit.n]
        matrix = np.eye(int(grouping.n_levels)) if grouping.relation is None else grouping.relation.dense()
        parts.append(matrix[np.ix_(codes, codes)])
    theirs = sum((sd**2 * part for sd, part in zip(sds, parts, strict=True)), unit) + sigma**2 * np.eye(fit.n)
    at_printed = loglik(fit.frame.y, x, theirs, beta)
    assert at_printed == pytest.approx(float(printed), abs=1.1 * 10.0 ** -len(printed.split(".")[1]))
    assert at_printed < fit.loglik
    if "lmekin" in records()[name]:  # their own number with all its digits
        assert records()[name]["lmekin"]["logLik"] <= fit.loglik + ROUNDING
    ours = fit.variance()["estimate"].to_numpy()
    covariance = sum((sd**2 * part for sd, part in zip(ours, parts, strict=False)), unit) + ours[-1] ** 2 * np.eye(
        fit.n
    )
    assert loglik(fit.frame.y, x, covariance) == pytest.approx(fit.loglik, abs=1e-7)
    assert (np.abs(fit.fixef().to_numpy() - beta) < 2e-3 * fit.coef()["std_error"].to_numpy()).all()


def test_printed_numbers_of_the_eortc_trial():
    fit = lmm.fit("y ~ trt + (trt | center)", lmm.datasets.eortc(), method="ML")
    assert f"{fit.loglik:.2f}" == "-19413.23"
    assert fit.fixef().to_numpy() == pytest.approx([2200.3222, -571.2218], abs=0.05)
    assert fit.variance()["estimate"].to_numpy() == pytest.approx([146.0461, 227.1210, 0.254, 1017.273], rel=1e-3)


def test_the_pedigree_gives_the_kinship_that_lmekin_used():
    """Ids are numbers in the data and in the pedigree, text in the reference's matrix: they are the same ids."""
    fit = lmm.fit("age ~ q1 + (1 | id)", GAW, kinship={"id": 2 * PHI}, method="ML")
    assert fit.loglik == pytest.approx(fitted("seed3_gaw_gfit1").loglik, abs=ROUNDING)
    half = lmm.fit("age ~ q1 + (1 | id)", GAW, kinship={"id": PHI}, method="ML")
    assert half.ratio("id").to_numpy() == pytest.approx(fit.ratio("id").to_numpy(), rel=OPTIMUM)
    assert half.pve().to_numpy() == pytest.approx(fit.pve().to_numpy(), rel=OPTIMUM, nan_ok=True)
    assert "mean diagonal near 0.5" in str(half.summary())
    assert "mean diagonal" not in str(fit.summary())
    assert len(fit.ranef("id")) == len(GAW)  # also the 497 people without an age
    assert fit.ranef("id").index.dtype == GAW["id"].dtype


# ---- explicit matrices -----------------------------------------------------------------------------------------------


def indicator(data, matrix):
    return (data["id"].to_numpy()[:, None] == matrix.index.to_numpy()).astype(float)


def test_several_matrices_and_a_factor_against_scipy(people, two):
    x, y = np.column_stack([np.ones(80), people["x"]]), people["y"].to_numpy()
    z = indicator(people, K)
    house = (people["house"].to_numpy()[:, None] == people["house"].to_numpy()).astype(float)
    parts = [z @ K.to_numpy() @ z.T, z @ D.to_numpy() @ z.T, house, np.eye(80)]

    def objective(log_sd):
        v = sum(np.exp(2 * s) * part for s, part in zip(log_sd, parts, strict=True))
        return -2 * loglik(y, x, v, reml=True)

    found = minimize(objective, np.zeros(4), method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-8})
    assert two.deviance == pytest.approx(found.fun, abs=OPTIMUM)
    assert two.deviance <= found.fun + ROUNDING
    table = two.variance()
    assert list(table.index) == ["id[kin]: sd", "id[ibd]: sd", "house: sd(Intercept)", "Residual: sd"]
    at_ours = objective(np.log(np.maximum(table["estimate"].to_numpy(), 1e-12)))
    assert at_ours == pytest.approx(two.deviance, abs=ROUNDING)
    inside = ~table["at_boundary"].to_numpy()
    apart = np.abs(np.exp(found.x) - table["estimate"].to_numpy())[inside]
    assert (apart < IN_STANDARD_ERRORS * table["std_error"].to_numpy()[inside]).all()
    listed = lmm.fit("y ~ x + (1 | id) + (1 | house)", people, kinship={"id": [K, D]})
    assert listed.deviance == two.deviance
    assert list(listed.variance().index[:2]) == ["id[1]: sd", "id[2]: sd"]
    assert list(listed.ranef()) == ["id[1]", "id[2]", "house"]


def test_shares_are_averaged_over_the_rows(people, two):
    mean = {"kin": np.diag(K)[:40].mean(), "ibd": np.diag(D)[:40].mean()}

    def share(v):
        parts = {name: v[f"id[{name}]: sd"] ** 2 * scale for name, scale in mean.items()}
        total = sum(parts.values()) + v["house: sd(Intercept)"] ** 2 + v["Residual: sd"] ** 2
        return parts["kin"] / total

    expected = two.delta(share)
    assert two.ratio("id[kin]").to_numpy()[:2] == pytest.approx(expected.to_numpy()[:2], rel=ROUNDING, nan_ok=True)
    assert two.pve()["estimate"].sum() == pytest.approx(1.0)


def test_a_slope_that_covaries_with_a_known_matrix(people):
    """Σ ⊗ K with two records of each id: the covariance written out, and no better point near it by SciPy."""
    fit = lmm.fit("y ~ x + (1 + t | id)", people, kinship={"id": K}, method="ML")
    z, t = indicator(people, K), people["t"].to_numpy()
    columns, x, y = (
        np.column_stack([np.ones(80), t]),
        np.column_stack([np.ones(80), people["x"]]),
        people["y"].to_numpy(),
    )

    def covariance(parameters):
        sd0, sd1, corr, sigma = parameters
        within = np.array([[sd0**2, corr * sd0 * sd1], [corr * sd0 * sd1, sd1**2]])
        wide = np.concatenate([z * columns[:, [0]], z * columns[:, [1]]], axis=1)
        return wide @ np.kron(within, K.to_numpy()) @ wide.T + sigma**2 * np.eye(80)

    at = fit.variance()["estimate"].to_numpy()
    assert fit.marginal_cov().to_numpy() == pytest.approx(covariance(at), abs=ROUNDING)
    assert fit.loglik == pytest.approx(loglik(y, x, covariance(at)), abs=ROUNDING)

    def objective(v):
        return -2 * loglik(y, x, covariance([*np.exp(v[:2]), np.tanh(v[2]), np.exp(v[3])]))

    start = [*np.log(at[:2]), np.arctanh(at[2] * 0.999), np.log(at[3])]
    assert minimize(objective, start, method="L-BFGS-B").fun >= fit.deviance - OPTIMUM


def test_ids_without_a_row_against_explicit_matrices(people, two):
    """Modes and conditional deviations of all ids, and predictions, from Cov(b, y) and V."""
    v = two.marginal_cov().to_numpy()
    rest = (people["y"] - two.fitted("marginal")).to_numpy()
    total = np.zeros(8)
    for name, matrix in (("kin", K), ("ibd", D)):
        variance = two.variance("variance").loc[f"id[{name}]: var", "estimate"]
        cross = variance * matrix.to_numpy() @ indicator(people, matrix).T
        mode = cross @ np.linalg.solve(v, rest)
        sd = np.sqrt(variance * np.diag(matrix) - np.einsum("ij,ij->i", cross, np.linalg.solve(v, cross.T).T))
        ours = two.ranef(f"id[{name}]").loc[matrix.index, "Intercept"]
        assert ours.to_numpy() == pytest.approx(mode, abs=ROUNDING)
        assert two.ranef_sd(f"id[{name}]").loc[matrix.index, "Intercept"].to_numpy() == pytest.approx(sd, abs=1e-7)
        z, modes = two.random_matrix(f"id[{name}]"), two.ranef(f"id[{name}]")
        assert z.columns.get_level_values(0).equals(modes.index)
        assert z.matrix @ modes.to_numpy().ravel() == pytest.approx(indicator(people, matrix) @ mode, abs=ROUNDING)
        total += mode[40:]
    new = pd.DataFrame({"id": K.index[40:], "x": 2.0, "house": "another"})
    at = two.fixef()["Intercept"] + 2.0 * two.fixef()["x"]
    assert np.abs(total).max() > 1e-2
    found = two.predict(new, new_levels="zero")["estimate"].to_numpy()
    assert found == pytest.approx(at + total, abs=ROUNDING)
    assert two.predict(new.drop(columns="house"), re_form="~ (1 | id)")["estimate"].to_numpy() == pytest.approx(found)


# ---- invariances -----------------------------------------------------------------------------------------------------


def same(one, other, scale=1.0):
    assert one.deviance == pytest.approx(other.deviance, abs=ROUNDING)
    table, expected = one.variance(), other.variance()
    ratio = np.where(table["group"] == "Residual", 1.0, 1.0 / np.sqrt(scale))
    assert table["estimate"].to_numpy() == pytest.approx(expected["estimate"].to_numpy() * ratio, rel=OPTIMUM)
    assert one.coef().to_numpy() == pytest.approx(other.coef().to_numpy(), rel=OPTIMUM)


@pytest.fixture(scope="module")
def one_known(people):
    return lmm.fit("y ~ x + (1 | id)", people, kinship={"id": K})


def test_the_order_of_the_labels_does_not_matter(people, one_known):
    order = np.random.default_rng(0).permutation(len(K))
    turned = K.iloc[order].iloc[:, np.random.default_rng(1).permutation(len(K))]
    again = lmm.fit("y ~ x + (1 | id)", people, kinship={"id": turned})
    same(again, one_known)
    assert again.ranef("id").loc[K.index].to_numpy() == pytest.approx(one_known.ranef("id").loc[K.index].to_numpy())


def test_names_and_scale_do_not_matter(people, one_known):
    number = {label: 1000 - place for place, label in enumerate(K.index)}
    text = K.rename(index=number, columns=number).rename(index=str, columns=str)
    renamed = people.assign(id=people["id"].map(number))
    same(lmm.fit("y ~ x + (1 | id)", renamed, kinship={"id": text}), one_known)  # 12345 is "12345"
    for scale in (1e-6, 2.0, 1e6):
        same(lmm.fit("y ~ x + (1 | id)", people, kinship={"id": scale * K}), one_known, scale)


def test_frames_and_relationships_are_the_same(people, one_known):
    one, other = np.tril_indices(len(K))
    pairs = pd.DataFrame({"id1": K.index[one], "id2": K.index[other], "value": K.to_numpy()[one, other]})
    for matrix in (lmm.genetics.relationship(K), lmm.genetics.relationship(pairs)):
        same(lmm.fit("y ~ x + (1 | id)", people, kinship={"id": matrix}), one_known)


def test_identical_twins_make_a_singular_matrix(people):
    twins = K.copy()
    twins.loc["p001"], twins["p001"] = twins.loc["p000"], twins["p000"]
    twins.loc["p001", "p001"] = twins.loc["p000", "p000"]
    fit = lmm.fit("y ~ x + (1 | id)", people, kinship={"id": twins})
    assert fit.status in ("interior", "boundary")
    assert fit.ranef("id").loc["p000"].to_numpy() == pytest.approx(fit.ranef("id").loc["p001"].to_numpy(), abs=1e-7)


# ---- many responses --------------------------------------------------------------------------------------------------


def test_fifty_traits_are_fifty_fits():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"id": K.index[:40], "x": rng.normal(size=40)})
    effects = np.linalg.cholesky(K + 1e-9 * np.eye(48))[:40] @ rng.normal(size=(48, 50))
    traits = pd.DataFrame(
        effects * rng.uniform(0, 2, 50) + rng.normal(size=(40, 50)), columns=[f"y{k}" for k in range(50)]
    )
    options = {"kinship": {"id": [K, D]}}
    many = lmm.fit_many("~ x + (1 | id)", data, responses=traits, **options)
    shares, pve = many.ratio("id[1]").set_index("response"), many.pve().set_index("response")
    for name in traits:
        fit = lmm.fit("y ~ x + (1 | id)", data.assign(y=traits[name]), **options)
        found = many.glance().set_index("response").loc[name]
        assert found["deviance"] == pytest.approx(fit.deviance, abs=OPTIMUM)
        assert found["status"] == fit.status
        ours = many.variance().query("response == @name")
        assert ours["estimate"].to_numpy() == pytest.approx(fit.variance()["estimate"].to_numpy(), rel=1e-4, abs=1e-6)
        assert shares.loc[name, "estimate"] == pytest.approx(fit.ratio("id[1]")["estimate"], abs=1e-5)
        assert shares.loc[name, "std_error"] == pytest.approx(fit.ratio("id[1]")["std_error"], rel=1e-3, nan_ok=True)
        assert pve.loc[name, "estimate"].to_numpy() == pytest.approx(fit.pve()["estimate"].to_numpy(), abs=1e-5)


# ---- size ------------------------------------------------------------------------------------------------------------


def test_a_large_matrix_of_families_stays_sparse():
    """28,000 people in families of four: 6.3 GB as one dense matrix."""
    count, four = 7_000, 0.5 * np.eye(4) + 0.5
    ids = [f"i{number}" for number in range(4 * count)]
    matrix = lmm.genetics.relationship(sparse.block_diag([four] * count, format="csr"), labels=ids)
    data = pd.DataFrame({"id": ids, "y": np.arange(4 * count) % 7.0})
    tracemalloc.start()
    design = lmm.design("y ~ 1 + (1 | id)", data, kinship={"id": matrix})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    relation = design.groupings[0].relation
    assert len(relation.blocks()) == count
    assert relation.among(relation.blocks()[5]) == pytest.approx(four)


def test_twice_the_families_are_twice_the_work():
    """Of a matrix beside households: the products of all clusters' inverses, padding included."""

    def work(count):
        sizes = np.random.default_rng(1).integers(5, 41, count)
        number = np.repeat(np.arange(count), sizes)
        data = pd.DataFrame({"id": [f"i{place}" for place in range(number.size)], "house": number // 2})
        blocks = [0.5 * np.eye(size) + 0.5 for size in sizes]
        matrix = lmm.genetics.relationship(sparse.block_diag(blocks, format="csr"), labels=data["id"])
        design = lmm.design("~ 1 + (1 | id) + (1 | house)", data, kinship={"id": matrix})
        groups = Dense.build(design).groups
        return sum(group.basis.shape[0] * group.basis.shape[2] ** 3 for group in groups)

    assert work(200) < 2.5 * work(100)


def test_a_group_is_asked_for_by_its_name_with_the_matrix(two):
    with pytest.raises(lmm.OptionError, match=r"did you mean .*id\[kin\]|[Tt]here are: id\[kin\], id\[ibd\], house"):
        two.ratio("id")


def test_files_keep_what_the_matrices_say(two, tmp_path):
    two.save(tmp_path / "two.json")
    again = lmm.load(tmp_path / "two.json")
    assert str(again.summary()) == str(two.summary())
    pd.testing.assert_frame_equal(again.ranef("id[ibd]"), two.ranef("id[ibd]"))
    new = {"id": list(K.index[-2:]), "x": [0.0, 1.0], "house": ["h1", "h2"]}
    pd.testing.assert_series_equal(again.predict(new)["estimate"], two.predict(new)["estimate"])
