"""Markov chains along positions: against dense algebra, ``dense``, response by response, and long simulated series."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import cho_factor, cho_solve

import jaxlmm as lmm
from jaxlmm.likelihood import likelihood_of
from jaxlmm.solvers import SOLVERS, Chain, select
from jaxlmm.testing import check_solver

import models

pytestmark = pytest.mark.usefixtures("double_precision")

AGREE = 1e-9
"""Two exact solvers at one theta: the rounding errors of inverses with condition numbers up to 1e4."""

SAME_OPTIMUM = 1e-6
"""Two searches stop at points whose deviances differ by less than 1e-9: parameters agree to the root of it, nearly."""

STANDARD_ERRORS = 4.0
"""Estimates from simulated data are within so many standard errors of the truth; the seed is fixed."""


def series(n, count=1, seed=0, rate=0.05, noise=1.0, sd=2.0, repeated=False):
    """``count`` series of n rows at irregular times, a covariate, weights, and a chain of standard deviation ``sd``."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat(np.arange(count), n), "x": rng.normal(size=n * count)})
    times = np.sort(rng.uniform(0.0, n, (count, n)), axis=1)
    frame["t"] = (np.floor(times / 3.0) if repeated else times).reshape(-1)
    gaps = frame["t"].diff().to_numpy()
    decay = np.where(np.arange(n * count) % n == 0, 0.0, np.exp(-rate * gaps))
    draws, u = rng.normal(size=n * count), np.zeros(n * count)
    for k in range(n * count):
        u[k] = decay[k] * u[k - 1] + np.sqrt(1.0 - decay[k] ** 2) * draws[k]
    frame["w"] = rng.uniform(0.5, 2.0, n * count)
    frame["o"] = rng.normal(size=n * count)
    frame["z"] = rng.normal(size=n * count)
    frame["k"] = np.where(frame["g"] < count / 2, "a", "b")
    frame["y"] = 1.0 + 0.5 * frame["x"] + sd * u + noise * rng.normal(size=n * count)
    return frame.sample(frac=1.0, random_state=1).reset_index(drop=True)


OPTIONS = {"weights": "w", "offset": "o"}
KINDS = {
    "one series": (series(60), "y ~ x + ou(t | 1)", {}, (1.5, -2.0)),
    "several series": (series(12, 5), "y ~ x + ou(t | g)", OPTIONS, (1.5, -2.0)),
    "repeated positions": (series(20, 4, repeated=True), "y ~ x + ou(t | g)", OPTIONS, (1.5, -2.0)),
    "repeated, columns of series": (
        series(20, 4, repeated=True), "y ~ x + ou(t | g) + (1 + z | g)", OPTIONS, (1.5, -2.0, 0.5, 0.2, 0.4),
    ),
    "columns of several series": (
        series(12, 6), "y ~ x + ou(t | g) + (1 | k) + (0 + z | k)", OPTIONS, (1.5, -2.0, 0.5, 0.4),
    ),
    "residuals of one series": (series(60, noise=0.0), "y ~ x", {"residual": "ou(t | 1)"}, (-2.0,)),
    "residuals, weights": (series(12, 5, noise=0.0), "y ~ x", {"residual": "ou(t | g)", **OPTIONS}, (-2.0,)),
    "residuals, columns": (
        series(12, 6, noise=0.0), "y ~ x + (1 + z | k)", {"residual": "ou(t | g)", **OPTIONS}, (0.5, 0.2, 0.4, -2.0),
    ),
}  # fmt: skip


def deviance_of(name, solver, method="REML"):
    frame, formula, options, theta = KINDS[name]
    design = lmm.design(formula, frame, **options)
    likelihood = likelihood_of(design, SOLVERS[solver].build(design), method)
    response = likelihood.observe(likelihood.padded(frame["y"].to_numpy()))
    return lambda theta: likelihood.deviance(likelihood.layout.factors(theta), response), jnp.array(theta)


@pytest.mark.parametrize("name", KINDS)
def test_deviance_and_derivatives_are_those_of_dense_matrices(name):
    values = {}
    for solver in ("chain", "dense"):
        f, theta = deviance_of(name, solver)
        values[solver] = models.quickly(lambda t, f=f: (f(t), jax.grad(f)(t), jax.jacfwd(jax.grad(f))(t)))(theta)
    for ours, dense in zip(values["chain"], values["dense"], strict=True):
        np.testing.assert_allclose(ours, dense, rtol=AGREE, atol=AGREE * np.abs(dense).max())


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("name", ["repeated, columns of series", "residuals, columns"])
def test_deviance_is_that_of_the_definition(name, method):
    frame, _, _, theta = KINDS[name]
    f, at = deviance_of(name, "chain", method)
    x, pair = (np.column_stack([np.ones(len(frame)), frame[own]]) for own in ("x", "z"))

    def same(column):
        return frame[column].to_numpy()[:, None] == frame[column].to_numpy()[None, :]

    gaps = np.abs(frame["t"].to_numpy()[:, None] - frame["t"].to_numpy()[None, :])
    lower = np.array([[theta[-3], 0.0], [theta[-2], theta[-1]]])
    if name.startswith("residuals"):
        lower = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
        v = np.exp(-np.exp(theta[3]) * gaps) * same("g") / np.sqrt(np.outer(frame["w"], frame["w"]))
        v = v + pair @ lower @ lower.T @ pair.T * same("k")
    else:
        v = (theta[0] ** 2 * np.exp(-np.exp(theta[1]) * gaps) + pair @ lower @ lower.T @ pair.T) * same("g")
        v = v + np.diag(1.0 / frame["w"])
    factor = cho_factor(v, lower=True)
    information = x.T @ cho_solve(factor, x)
    y = (frame["y"] - frame["o"]).to_numpy()
    rest = y - x @ np.linalg.solve(information, x.T @ cho_solve(factor, y))
    count = len(frame) - (2 if method == "REML" else 0)
    expected = 2.0 * np.log(np.diag(factor[0])).sum() + count * (
        1.0 + np.log(2.0 * np.pi * (rest @ cho_solve(factor, rest)) / count)
    )
    expected += np.linalg.slogdet(information)[1] if method == "REML" else 0.0
    assert float(f(at)) == pytest.approx(expected, rel=AGREE)


def test_the_contract_of_a_solver():
    """At variances of zero and large ones, reweighted, with all modes."""
    frame, formula, options, _ = KINDS["repeated, columns of series"]
    check_solver(Chain, lmm.design(formula, frame, **options))


@pytest.mark.parametrize("name", ["several series", "residuals, columns"])
def test_nothing_cancels(name):
    """Variance ratios of 1e-10 and 1e10, and correlations of almost 0 and 1: against a derivative by differences."""
    f, theta = deviance_of(name, "chain")
    whole = models.quickly(lambda t: (f(t), jax.grad(f)(t), jax.jacfwd(jax.grad(f))(t)))
    rate = 1 if name == "several series" else 3
    for size in (1e-5, 1e5):
        for log_rate in (-12.0, 4.0):
            at = (theta * size).at[rate].set(log_rate)
            parts = jax.tree.map(np.asarray, whole(at))
            assert all(np.isfinite(part).all() for part in parts)
            step = 1e-5 * size * np.eye(len(theta))[0]
            above, below = (whole(at + sign * step) for sign in (1.0, -1.0))
            slope = (np.asarray(above[0]) - np.asarray(below[0])) / (2.0 * step[0])
            rounding = 1e-12 * abs(parts[0]) / step[0]
            assert parts[1][0] == pytest.approx(slope, rel=1e-5, abs=rounding + 1e-6)


@pytest.mark.parametrize("name", ["several series", "residuals, weights", "repeated, columns of series"])
def test_fits_are_those_of_dense_matrices(name):
    """Estimates, standard errors, modes, fitted values, residuals, predictions; and Kenward–Roger, by matrices."""
    frame, formula, options, _ = KINDS[name]
    ours, dense = (lmm.fit(formula, frame, solver=solver, **options) for solver in ("chain", "dense"))
    assert (ours.solver, dense.solver) == ("chain", "dense")
    assert ours.deviance == pytest.approx(dense.deviance, abs=1e-8)
    for table in ("coef", "variance"):
        for column in ("estimate", "std_error"):
            np.testing.assert_allclose(
                getattr(ours, table)()[column], getattr(dense, table)()[column], rtol=SAME_OPTIMUM
            )
    if ours.status == "interior":  # with a singular covariance there is none
        ours_df, dense_df = (fit.coef("kenward-roger")["df"] for fit in (ours, dense))
        np.testing.assert_allclose(ours_df, dense_df, rtol=SAME_OPTIMUM)
    for kind in ("response", "normalized"):
        np.testing.assert_allclose(ours.residuals(kind), dense.residuals(kind), rtol=0.0, atol=SAME_OPTIMUM)
    np.testing.assert_allclose(ours.predict(frame), dense.predict(frame), rtol=SAME_OPTIMUM)
    for group in ours.estimates.labels.groups:
        np.testing.assert_allclose(ours.ranef(group), dense.ranef(group), rtol=0.0, atol=SAME_OPTIMUM)


def test_many_responses_and_missing_values():
    frame, formula, options, _ = KINDS["repeated, columns of series"]
    rng = np.random.default_rng(5)
    y = frame[["y"]].to_numpy() + rng.normal(size=(len(frame), 3))
    y[::7, 2] = np.nan
    right = formula.partition("~")[2]
    many = lmm.fit_many("~" + right, frame, responses=y, solver="chain", **options)
    for number in range(3):
        one = lmm.fit(formula, frame.assign(y=y[:, number]), solver="chain", **options)
        found = many[f"y{number + 1}"]
        assert found.deviance == pytest.approx(one.deviance, abs=1e-7)
        np.testing.assert_allclose(found.coef()["estimate"], one.coef()["estimate"], rtol=SAME_OPTIMUM)


def test_profiles_of_many_responses():
    frame = series(30, 4, noise=0.0)
    y = frame[["y"]].to_numpy() + np.random.default_rng(5).normal(size=(len(frame), 2))
    y[7, 1] = np.nan
    many = lmm.fit_many("~ x", frame, responses=y, residual="ou(t | g)", solver="chain")
    limits = many.confint("Residual: rho", method="profile").set_index("response")[["conf_low", "conf_high"]]
    one = lmm.fit("y ~ x", frame.assign(y=y[:, 1]), residual="ou(t | g)", solver="chain")
    own = one.confint("Residual: rho", method="profile")[["conf_low", "conf_high"]]
    np.testing.assert_allclose(limits.iloc[[1]], own, rtol=1e-3)


def test_a_model_of_dispersion():
    frame = series(12, 5)
    ours, dense = (lmm.fit("y ~ x + ou(t | g)", frame, dispersion="~ z", solver=s) for s in ("chain", "dense"))
    assert ours.deviance == pytest.approx(dense.deviance, abs=1e-8)
    np.testing.assert_allclose(ours.variance()["estimate"], dense.variance()["estimate"], rtol=SAME_OPTIMUM)


@pytest.mark.parametrize(
    ("formula", "options", "why"),
    [
        ("y ~ x + (1 | g)", {}, "nothing along positions"),
        ("y ~ x + ou(t | g)", {"residual": "ou(t | g)"}, "2 structures along positions"),
        ("y ~ x + ou(t | g) + (1 | k) + (1 | g)", {}, "columns on 2 grouping factors"),
        ("y ~ x + ou(t | k) + (1 | g)", {}, "columns on a group whose levels cut series in parts"),
    ],
)
def test_what_it_cannot_do(formula, options, why):
    design = lmm.design(formula, series(12, 6, noise=0.0), **options)
    assert Chain.unsuitable(design).startswith(why)
    with pytest.raises(lmm.OptionError, match=why):
        select(design, "chain")


def test_it_is_chosen_for_series_that_are_not_short():
    for n, solver in ((10, "dense"), (40, "chain")):
        assert select(lmm.design("y ~ x + ou(t | g)", series(n, 3))).name == solver


@pytest.mark.parametrize("kind", ["term", "residual"])
def test_a_long_series(kind):
    """20,000 rows: estimates near the truth, modes near the process; what needs matrices says so."""
    noise = 1.0 if kind == "term" else 0.0
    frame = series(20_000, noise=noise, seed=3)
    options = {"residual": "ou(t | 1)"} if kind == "residual" else {}
    fit = lmm.fit("y ~ x + t" + (" + ou(t | 1)" if kind == "term" else ""), frame, **options)
    assert (fit.solver, fit.status) == ("chain", "interior")
    found = fit.variance()
    truth = [2.0, np.exp(-0.05), 1.0] if kind == "term" else [2.0, np.exp(-0.05)]
    assert (np.abs(found["estimate"] - truth) < STANDARD_ERRORS * found["std_error"]).all()
    coef = fit.coef()
    assert (np.abs(coef["estimate"] - [1.0, 0.5, 0.0]) < STANDARD_ERRORS * coef["std_error"]).all()
    if kind == "term":
        assert fit.ranef("1").shape == (1, 20_000)
        np.testing.assert_allclose(fit.predict().iloc[:, 0], fit.fitted(), rtol=SAME_OPTIMUM)
    with pytest.raises(lmm.OptionError, match="clusters of up to 3,000 dependent rows"):
        fit.coef("kenward-roger")


@pytest.mark.parametrize("kind", ["term", "residual", "term and known matrix"])
def test_draws_of_long_chains_have_their_covariance(kind):
    """By their links, level by level: two series of 80 and 70 positions, in no order of rows, weighted; a known matrix
    across levels needs matrices."""
    frame = series(80, 2, seed=4).iloc[:150].sample(frac=1.0, random_state=1)
    known = pd.DataFrame([[1.0, 0.5], [0.5, 1.0]], index=frame["g"].unique(), columns=frame["g"].unique())
    options = {
        "term": {}, "residual": {"residual": "ou(t | g)"}, "term and known matrix": {"kinship": {"g": known}},
    }[kind]  # fmt: skip
    theta, right = ([-1.0], "~ 1") if kind == "residual" else ([2.0, -1.0], "~ 1 + ou(t | g)")
    draws = lmm.simulate(
        right, frame, beta=[0.0], theta=theta, sigma=1.5, nsim=4000, seed=2, weights="w", **options
    ).to_numpy()
    t, g = frame["t"].to_numpy(), frame["g"].to_numpy()
    levels = np.where(g[:, None] == g, 1.0, 0.5 if "kinship" in options else 0.0)
    v, white = np.exp(-np.exp(-1.0) * np.abs(t[:, None] - t)) * levels, 1.0 / np.sqrt(frame["w"].to_numpy())
    expected = 2.25 * (v * np.outer(white, white) if kind == "residual" else 4.0 * v + np.diag(white**2))
    assert np.abs(np.cov(draws) - expected).max() < 5.0 * np.sqrt(2.0 / 4000) * expected.max()
