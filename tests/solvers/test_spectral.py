"""One known matrix: against plain formulas, ``dense``, ``fit`` response by response, and GEMMA."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.likelihood import likelihood_of
from jaxlmm.model.layout import Factors
from jaxlmm.solvers import select
from jaxlmm.solvers.clusters import not_rounding
from jaxlmm.solvers.spectral.spectral import Spectral

from references import HERE

AGREE = 1e-8
"""Two solvers stop at points whose deviances differ by less than 1e-9: parameters agree to the root of it, and after a
last Newton step far better."""

PLAIN = 1e-9
"""The plain formulas invert a matrix with a condition number of about 1e3."""

GEMMA_STOPS = 2e-5
"""GEMMA prints six digits, and stops at about 1e-5 in the variance ratio."""

GENETICS = HERE / "genetics"


def people(n, per=1, seed=0, families=None):
    """``n`` ids with ``per`` records each, a known matrix (of families, or of 3 n markers), and columns to work on."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{number:04d}" for number in range(n)])
    if families is None:
        counts = rng.binomial(2, 0.4, size=(n, 3 * n)) - 0.8
        matrix = counts @ counts.T / (0.48 * 3 * n)
    else:
        same = np.arange(n) // families
        matrix = 0.5 * (same[:, None] == same[None, :]) + 0.5 * np.eye(n)
    data = pd.DataFrame({"id": np.repeat(ids, per)})
    size = len(data)
    data["x"], data["z"] = rng.normal(size=size), rng.choice([0.0, 1.0, 2.0], size)
    data["w"] = rng.uniform(0.5, 2.0, size)
    return data, pd.DataFrame(matrix, ids, ids)


def draws(data, matrix, m, seed=1, share=0.5):
    """Responses (n, m) whose effects of the ids have the ``share`` of the variance; the rest is error."""
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(matrix.to_numpy())
    effects = (vectors * np.sqrt(np.maximum(values, 0.0))) @ rng.normal(size=(len(matrix), m))
    codes = matrix.index.get_indexer(data["id"])
    return np.sqrt(share) * effects[codes] + np.sqrt(1 - share) * rng.normal(size=(len(data), m))


def twins(matrix):
    """The matrix in which the first two are the same person."""
    matrix = matrix.copy()
    matrix.iloc[1, :] = matrix.iloc[0, :]
    matrix.iloc[:, 1] = matrix.iloc[:, 0]
    return matrix


SHAPES = {
    "one matrix": (people(40), "y ~ x + (1 | id)", False),
    "one matrix, records repeated": (people(15, per=3), "y ~ x + (1 | id)", True),
    "families, slope that is zero for some": (people(40, families=4), "y ~ x + (0 + z | id)", True),
}


@pytest.fixture(scope="module")
def fits():
    found = {}
    for name, ((data, matrix), formula, weighted) in SHAPES.items():
        matrix = twins(matrix)
        data = data.assign(y=draws(data, matrix, 1, seed=8, share=0.7)[:, 0])
        found[name] = data, matrix, lmm.fit(formula, data, **options_of(matrix, weighted))
    return found


def options_of(matrix, weighted):
    return {"kinship": {"id": matrix}, "weights": "w" if weighted else None}


def test_fit_is_that_of_dense(fits):
    shape = "families, slope that is zero for some"
    data, matrix, one = fits[shape]
    other = lmm.fit(SHAPES[shape][1], data, solver="dense", **options_of(matrix, True))
    assert (one.solver, other.solver) == ("spectral", "dense")
    assert one.solver_reason in str(one.summary())
    assert one.status == other.status == "interior"
    assert one.deviance == pytest.approx(other.deviance, abs=1e-9)
    for table in ("coef", "variance"):
        mine, theirs = (getattr(fit, table)() for fit in (one, other))
        for column in ("estimate", "std_error", "conf_low"):
            assert mine[column].to_numpy() == pytest.approx(theirs[column].to_numpy(), rel=AGREE)
    for table in ("ranef", "ranef_sd"):
        mine, theirs = (getattr(fit, table)("id").to_numpy() for fit in (one, other))
        assert mine == pytest.approx(theirs, abs=1e-7)
    assert one.fitted().to_numpy() == pytest.approx(other.fitted().to_numpy(), abs=1e-7)
    assert one.ratio("id")["std_error"] == pytest.approx(other.ratio("id")["std_error"], rel=AGREE)


@pytest.mark.parametrize("shape", SHAPES)
def test_modes_are_the_conditional_mean(shape, fits):
    """E(b | y) and Var(b | y) from the joint normal distribution; a level with z = 0 has its mode from relatives."""
    data, matrix, fit = fits[shape]
    codes = matrix.index.get_indexer(data["id"])
    z = np.zeros((len(data), len(matrix)))
    z[np.arange(len(data)), codes] = data["z"] if "0 + z" in fit.formula else 1.0
    weight = data["w"].to_numpy() if SHAPES[shape][2] else np.ones(len(data))
    prior = (fit.theta[0] * fit.sigma) ** 2 * matrix.to_numpy()
    v = z @ prior @ z.T + fit.sigma**2 * np.diag(1.0 / weight)
    rest = data["y"].to_numpy() - fit.model_matrix().to_numpy() @ fit.fixef().to_numpy()
    solved = np.linalg.solve(v, np.column_stack([rest, z @ prior]))
    modes, variance = prior @ z.T @ solved[:, 0], np.diag(prior - prior @ z.T @ solved[:, 1:])
    assert fit.ranef("id").to_numpy()[:, 0] == pytest.approx(modes, abs=PLAIN)
    assert fit.ranef_sd("id").to_numpy()[:, 0] == pytest.approx(np.sqrt(variance), abs=1e-7)


def test_eigenvalues_that_are_rounding_are_zero():
    factor = np.random.default_rng(0).normal(size=(30, 4))
    values = not_rounding(np.linalg.eigvalsh(factor @ factor.T))
    assert np.count_nonzero(values) == 4
    assert (values >= 0).all()
    assert np.count_nonzero(not_rounding(np.array([1e-9, 1.0]))) == 2


def test_padding_changes_nothing():
    data, matrix = people(40, families=4)
    design = lmm.design("~ x + (1 | id)", data, kinship={"id": matrix})
    solver = Spectral.build(design)
    bare_solver = solver.unpadded()
    assert np.size(bare_solver.values) == len(matrix) < np.size(solver.values)
    with jax.enable_x64(True):
        y = jnp.asarray(draws(data, matrix, 1)[:, 0])
        padded, bare = (
            likelihood_of(design, built, "REML").deviance(Factors((jnp.array([[0.7]]),), None), response)
            for built in (solver, bare_solver)
            for response in [likelihood_of(design, built, "REML").observe(jnp.zeros(design.n_padded).at[:40].set(y))]
        )
        assert float(padded) == pytest.approx(float(bare), rel=1e-13)


# ---- choosing it -----------------------------------------------------------------------------------------------------


def test_chosen_where_it_can_be():
    data, matrix = people(12, per=3)
    data["f"] = np.tile(list("abc"), 12)
    known = {"kinship": {"id": matrix}}
    choice = select(lmm.design("~ x + (1 | id)", data, **known))
    assert choice.name == "spectral"
    assert "one known matrix" in choice.reason
    assert select(lmm.design("~ x + (1 | id)", data, **known), "dense").name == "dense"
    assert select(lmm.design("~ x + (1 + x | id)", data, **known)).name == "dense"
    for formula, options, part in (
        ("~ x + (1 | id)", {}, "no known matrix"),
        ("~ x + (1 + x | id)", known, "a term of 2 columns"),
        ("~ x + (1 | id) + (1 | f)", known, "2 random terms"),
        ("~ x", {}, "0 random terms"),
        ("~ x + (1 | id)", {**known, "residual": "ou(x | id)"}, "a residual structure"),
    ):
        with pytest.raises(lmm.OptionError, match=f"solver='spectral' cannot do this model: {part}"):
            select(lmm.design(formula, data, **options), "spectral")


def test_too_large_a_matrix_is_an_error(monkeypatch):
    monkeypatch.setattr(sys.modules["jaxlmm.solvers.spectral.spectral"], "MAX_LEVELS_DECOMPOSED", 10)
    data, matrix = people(12)
    with pytest.raises(lmm.OptionError, match="up to 10 levels that covary; this model's has 12"):
        lmm.fit("x ~ 1 + (1 | id)", data, kinship={"id": matrix})
    data, matrix = people(12, families=3)
    assert select(lmm.design("~ 1 + (1 | id)", data, kinship={"id": matrix})).name == "spectral"


# ---- the boundary ----------------------------------------------------------------------------------------------------


def test_shares_at_both_ends():
    """No variance of the ids; none of the residual, where a matrix of full rank leaves the deviance a limit."""
    data, matrix = people(60)
    y = draws(data, matrix, 1, share=1.0)[:, 0]
    values, vectors = np.linalg.eigh(matrix.to_numpy())
    none = vectors @ (np.random.default_rng(2).normal(size=60) / values)
    low, high = (lmm.fit("y ~ 1 + (1 | id)", data.assign(y=part), kinship={"id": matrix}) for part in (none, y))
    assert (low.status, low.theta[0], low.ratio("id")["estimate"]) == ("boundary", 0.0, 0.0)
    assert low.certificate.multipliers.iloc[0] > 0
    assert high.status == "boundary"
    assert high.variance()["at_boundary"].tolist() == [False, True]
    near = draws(data, matrix, 1, share=1.0)[:, 0] + 1e-5 * np.random.default_rng(3).normal(size=60)
    for fit in (high, lmm.fit("y ~ x + (1 | id)", data.assign(y=1e8 * near), kinship={"id": matrix})):
        assert fit.variance()["at_boundary"].tolist() == [False, True]
        assert fit.ratio("id")["estimate"] == pytest.approx(1.0, abs=1e-6)
        assert np.isnan(fit.ratio("id")["std_error"])
        assert np.isnan(fit.pve().loc["Residual", "std_error"])
    # The limit itself, from K alone: sd² = eᵀK⁻¹e / (n − 1).
    one, inverse = np.ones(60), np.linalg.inv(matrix.to_numpy())
    rest = y - (one @ inverse @ y) / (one @ inverse @ one)
    sd = np.sqrt(rest @ inverse @ rest / 59)
    assert high.variance()["estimate"].iloc[0] == pytest.approx(sd, rel=1e-6)
    assert np.isfinite(high.variance()["std_error"].iloc[0])
    with jax.enable_x64(True):
        found = lmm.estimate(high.design, jnp.asarray(y))
    assert lmm.STATUS[int(found.status)] == "boundary"


def test_the_identity_leaves_a_ridge():
    """With unrelated ids and a record each, nothing tells the two variances apart."""
    data, matrix = people(20)
    unrelated = pd.DataFrame(np.eye(20), matrix.index, matrix.columns)
    fit = lmm.fit("x ~ 1 + (1 | id)", data, kinship={"id": unrelated})
    assert fit.status == "not_identified"


# ---- many responses --------------------------------------------------------------------------------------------------


def test_fifty_traits_are_fifty_fits():
    """Some have values missing, each on its own rows; one is constant."""
    data, matrix = people(40, families=10)
    share = np.linspace(0.0, 0.9, 50)
    rng = np.random.default_rng(4)
    y = draws(data, matrix, 50, share=share)
    y[:, 49] = 3.0
    for trait in range(12):
        y[rng.choice(40, 1 + trait // 2, replace=False), trait] = np.nan
    y[3, 12:20] = np.nan
    options = {"kinship": {"id": matrix}, "weights": "w"}
    many = lmm.fit_many("~ x + (1 | id)", data, responses=y, **options)
    assert many.estimates.solver == "spectral"
    glance, tidy, ratio = many.glance(), many.tidy(), many.ratio("id").set_index("response")
    assert glance["status"].iloc[49] == "failed"
    for trait in range(49):
        name = many.responses[trait]
        one = lmm.fit("y ~ x + (1 | id)", data.assign(y=y[:, trait]), **options)
        assert glance["status"].iloc[trait] == one.status
        assert glance["n"].iloc[trait] == one.n
        assert glance["deviance"].iloc[trait] == pytest.approx(one.deviance, abs=1e-9)
        mine = tidy[tidy["response"] == name]
        for column in ("estimate", "std_error", "df"):
            assert mine[column].to_numpy() == pytest.approx(one.coef()[column].to_numpy(), rel=AGREE)
        for column in ("estimate", "std_error"):
            assert ratio.loc[name, column] == pytest.approx(one.ratio("id")[column], rel=1e-6, abs=1e-8, nan_ok=True)
    modes = many.ranef("id")["y13"].dropna()
    one = lmm.fit("y ~ x + (1 | id)", data.assign(y=y[:, 12]), **options)
    theirs = one.ranef("id").iloc[:, 0]
    assert len(modes) == one.n == 39
    assert modes.to_numpy() == pytest.approx(theirs[modes.index.get_level_values("id")].to_numpy(), abs=1e-7)


def test_clusters_missing_or_batched_otherwise():
    """Clusters without a row in a response, and of sizes that are batched together on its rows alone."""
    families, _ = people(24, families=4)
    data, _ = people(56)
    blocks = np.zeros((56, 56))
    for place in (slice(0, 36), slice(36, 56)):
        blocks[place, place] = 0.5 + 0.5 * np.eye(place.stop - place.start)
    matrices = [people(24, families=4)[1], pd.DataFrame(blocks, data["id"], data["id"])]
    gone = [[range(4), range(8, 16), range(0, 24, 3)], [range(4), range(36, 50)]]
    for frame, matrix, patterns in zip((families, data), matrices, gone, strict=True):
        y = draws(frame, matrix, len(patterns))
        for trait, rows in enumerate(patterns):
            y[list(rows), trait] = np.nan
        many = lmm.fit_many("~ x + (1 | id)", frame, responses=y, kinship={"id": matrix}, method="ML")
        glance = many.glance()
        assert set(glance["status"]) <= {"interior", "boundary"}
        variance = many.variance("variance").pivot_table(index="response", columns="parameter", values="estimate")
        for trait, name in enumerate(many.responses):
            there = np.isfinite(y[:, trait])
            between, within = variance.loc[name, ["id: var(Intercept)", "Residual: var"]]
            v = between * matrix.to_numpy()[np.ix_(there, there)] + within * np.eye(there.sum())
            x = np.column_stack([np.ones(there.sum()), frame["x"][there]])
            pulled = np.linalg.solve(v, x)
            rest = y[there, trait] - x @ np.linalg.solve(x.T @ pulled, pulled.T @ y[there, trait])
            plain = rest @ np.linalg.solve(v, rest) + np.linalg.slogdet(2 * np.pi * v)[1]
            assert glance["deviance"].iloc[trait] == pytest.approx(plain, rel=PLAIN)


def test_again():
    data, matrix = people(30, per=2)
    y = draws(data, matrix, 2)
    fit = lmm.fit("y ~ x + (1 | id)", data.assign(y=y[:, 0]), kinship={"id": matrix})
    other = lmm.fit("y ~ x + (1 | id)", data.assign(y=y[:, 1]), kinship={"id": matrix})
    assert fit.refit(y[:, 1]).deviance == pytest.approx(other.deviance, abs=1e-9)
    assert fit.update("~ . - x").solver == "spectral"


def test_the_optimum_is_differentiable():
    data, matrix = people(30, per=2)
    with jax.enable_x64(True):
        y = jnp.asarray(draws(data, matrix, 1)[:, 0])
        design = lmm.design("~ x + (1 | id)", data, kinship={"id": matrix})

        def theta(y):
            found = lmm.estimate(design, y).theta
            return found, found

        both = jax.jit(jax.jacfwd(theta, has_aux=True))
        by_y, at = both(y)
        step = jnp.zeros(60).at[5].set(1e-4)
        assert float(by_y[0, 5]) == pytest.approx(float((both(y + step)[1] - both(y - step)[1])[0]) / 2e-4, rel=1e-5)
        deviance = lmm.deviance(design)
        slope = jax.grad(deviance, argnums=1)(at, y)
        difference = deviance(at, y + step) - deviance(at, y - step)
        assert float(slope[5]) == pytest.approx(float(difference) / 2e-4, rel=1e-6)


# ---- GEMMA -----------------------------------------------------------------------------------------------------------


def centered(matrix):
    """GEMMA centers the part of K that it analyzes again: REML does not see it, the ML log-likelihood does."""
    return matrix - matrix.mean(axis=0) - matrix.mean(axis=1)[:, None] + matrix.mean()


def test_gemma_on_mouse():
    folder = GENETICS / "mouse"
    markers = pd.read_csv(folder / "mouse.trait1.lmm4.assoc.txt.gz", sep="\t")["rs"]
    matrix = lmm.genetics.grm(lmm.genetics.genotypes(folder / "mouse.bed", extract=list(markers)), maf=0.0, missing=1.0)
    data = pd.read_csv(folder / "mouse.pheno.csv", dtype={"id": str})
    frame = matrix.to_frame()
    data["id"] = frame.index  # the same order; one of the ids occurs in the table as another
    data = data.dropna(subset="trait1")
    known = pd.DataFrame(centered(frame.loc[data["id"], data["id"]].to_numpy()), data["id"], data["id"])
    lines = [line[3:].split("=") for line in (folder / "mouse.trait1.null.txt").read_text().splitlines()]
    gemma = [(name.strip(), [float(value) for value in values.split()]) for name, values in lines]
    assert [name for name, _ in gemma][:2] == [
        "REMLE log-likelihood in the null model",
        "MLE log-likelihood in the null model",
    ]
    (
        (_, (reml,)),
        (_, (ml,)),
        (_, (pve,)),
        (_, (se_pve,)),
        (_, (vg,)),
        (_, (ve,)),
        (_, (se_beta,)),
        *_,
        (_, sigma2),
        (_, se_sigma2),
    ) = gemma

    fit = lmm.fit("trait1 ~ 1 + (1 | id)", data, kinship={"id": known})
    # GEMMA's REML log-likelihood counts half of log|XᵀX|, here log(n), as part of the criterion.
    assert fit.loglik + 0.5 * np.log(fit.n) == pytest.approx(reml, abs=0.005)
    assert fit.ratio("id")["estimate"] == pytest.approx(pve, rel=GEMMA_STOPS)
    assert fit.ratio("id")["std_error"] == pytest.approx(se_pve, rel=1e-3)
    variance = fit.variance(scale="variance")
    assert variance["estimate"].to_numpy() == pytest.approx([vg, ve], rel=GEMMA_STOPS)
    assert variance["estimate"].to_numpy() == pytest.approx(sigma2, rel=GEMMA_STOPS)
    assert variance["std_error"].to_numpy() == pytest.approx(se_sigma2, rel=0.03)  # average information there
    assert fit.coef()["std_error"].iloc[0] == pytest.approx(se_beta, rel=1e-5)
    assert fit.solver == "spectral"
    ml_fit = lmm.fit("trait1 ~ 1 + (1 | id)", data, kinship={"id": known}, method="ML")
    assert ml_fit.loglik == pytest.approx(ml, abs=0.005)


def test_gemma_on_bxd_is_at_the_boundary():
    """The null's share is 0.001; with the first marker the variance is zero, where GEMMA stays at a ratio of 1e-5."""
    folder = GENETICS / "bxd"
    y = pd.to_numeric(pd.Series(np.loadtxt(folder / "BXD_pheno.txt", dtype=str)), errors="coerce")
    data = pd.DataFrame(np.loadtxt(folder / "BXD_covariates2.txt"), columns=["c1", "c2"]).assign(y=y)
    data["id"] = [f"b{number}" for number in range(len(data))]
    table = pd.read_csv(folder / "BXD_geno.txt.gz", header=None, skipinitialspace=True, nrows=1)
    data["marker"] = table.iloc[0, 3:].astype(float).to_numpy()
    data = data.dropna()
    whole = pd.DataFrame(np.loadtxt(folder / "BXD.cXX.txt.gz"))
    matrix = pd.DataFrame(centered(whole.loc[data.index, data.index].to_numpy()), data["id"], data["id"])
    null = lmm.fit("y ~ c1 + c2 + (1 | id)", data, kinship={"id": matrix})
    assert (null.n, null.solver, null.status) == (67, "spectral", "interior")
    assert null.ratio("id")["estimate"] == pytest.approx(0.001, abs=5e-6)  # as it is printed

    gemma = pd.read_csv(folder / "BXD.lmm4.assoc.txt.gz", sep="\t", nrows=1).iloc[0]
    fits = [lmm.fit("y ~ c1 + c2 + marker + (1 | id)", data, kinship={"id": matrix}, method=m) for m in ("REML", "ML")]
    for fit, name in zip(fits, ("l_remle", "l_mle"), strict=True):
        assert (fit.status, fit.theta[0], gemma[name]) == ("boundary", 0.0, 1e-5)
        assert fit.certificate.multipliers.iloc[0] > 0
        with jax.enable_x64(True):
            deviance = lmm.deviance(fit.design, method=fit.method)
            there = float(deviance(jnp.array([np.sqrt(gemma[name])]), jnp.asarray(data["y"].to_numpy())))
        assert fit.deviance < there < fit.deviance + 1e-3
    estimate = fits[0].coef().loc["marker"]
    assert estimate["estimate"] == pytest.approx(gemma["beta"], rel=GEMMA_STOPS)
    assert estimate["std_error"] == pytest.approx(gemma["se"], rel=GEMMA_STOPS)
    assert fits[1].loglik == pytest.approx(gemma["logl_H1"], abs=5e-6 * 10)
