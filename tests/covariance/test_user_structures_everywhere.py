"""A structure of one's own goes through everything that takes a structure, with the results of one that is built in.

``Decay`` is ``lmm.covariance.OU`` in other parameters: within columns, among residuals and across levels.

Tolerances: both searches end within 1e-7 of the lowest deviance, where estimates differ by 1e-5 and what depends on
second derivatives by 1e-4 of themselves. Draws: five standard errors of a covariance. The percentile interval of 60
refits has a relative standard error of about 0.1 (order statistics of normal draws).
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats

import jaxlmm as lmm
from jaxlmm.covariance import OU, AbstractCovariance, Parameter

SITES, MONTHS = 40, 4
WHERE = pd.Series(np.linspace(0.0, 12.0, SITES), index=[f"s{k:02}" for k in range(SITES)])


class Decay(AbstractCovariance):
    """Correlations that decay exponentially: theta are the standard deviation and the logarithm of the rate."""

    def n_params(self, q):
        return 2

    def covariance(self, theta, coords):
        distance = jnp.abs(coords[:, 0][:, None] - coords[:, 0][None, :])
        return theta[0] ** 2 * jnp.exp(-jnp.exp(theta[1]) * distance)

    def parameters(self, columns):
        return Parameter("sd", "sd"), Parameter("rho", "correlation", lower=0.0)

    def report(self, theta, factor, sigma):
        return jnp.stack([sigma * jnp.abs(theta[0]), jnp.exp(-jnp.exp(theta[1]))])


def table():
    """Sites × months; every ninth row is missing, and the order of rows is no order of sites or months."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame(
        {"site": np.repeat([f"s{k:02}" for k in range(SITES)], MONTHS), "month": np.tile(np.arange(MONTHS), SITES)}
    )
    data["x"], data["z"], data["marker"] = (
        rng.normal(size=len(data)),
        rng.normal(size=len(data)),
        np.repeat(rng.integers(0, 3, SITES), MONTHS),
    )
    decay = 0.6 ** np.abs(np.subtract.outer(np.arange(MONTHS), np.arange(MONTHS)))
    near = np.exp(-0.5 * np.abs(np.subtract.outer(WHERE.to_numpy(), WHERE.to_numpy())))
    place = np.repeat(rng.multivariate_normal(np.zeros(SITES), 3.0 * near), MONTHS)
    for name in ("y", "y1", "y2"):
        own = rng.multivariate_normal(np.zeros(MONTHS), 2.0 * decay, SITES).reshape(-1)
        data[name] = 1.0 + 0.5 * data["x"] + own + place + rng.normal(size=len(data))
    data["m"] = pd.Categorical(data["month"].astype(str))
    return data.drop(index=range(0, len(data), 9)).sample(frac=1.0, random_state=1).reset_index(drop=True)


DATA = table()


def model(place, kind):
    """The right side of a model with a structure of this ``kind`` in its place, and the options."""
    return {
        "columns": ("~ x + z + (0 + m | site)", {"covariance": {"site": kind()}}),
        "residual": ("~ x + z + (1 | site)", {"residual": kind.along("month | site")}),
        "levels": ("~ x + z + (1 | site)", {"kinship": {"site": kind(coords=WHERE)}}),
    }[place]


@pytest.fixture(scope="module", params=["columns", "residual", "levels"])
def place(request):
    """Our model on the right of ~, its options, our fit, and that of the structure that is built in."""
    right, options = model(request.param, Decay)
    ours = lmm.fit("y " + right, DATA, **options)
    return right, options, ours, lmm.fit("y " + right, DATA, **model(request.param, OU)[1])


def close(found, expected, rtol=1e-5, atol=1e-7):
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rtol, atol=atol)


def test_fit(place):
    *_, ours, theirs = place
    assert ours.status == theirs.status == "interior"
    close(ours.deviance, theirs.deviance, rtol=1e-9)
    columns = ["estimate", "std_error", "df"]
    close(ours.coef(df="satterthwaite")[columns], theirs.coef(df="satterthwaite")[columns])
    assert list(ours.variance().index) == list(theirs.variance().index)
    close(ours.variance()[["estimate", "std_error"]], theirs.variance()[["estimate", "std_error"]], rtol=1e-4)


def test_rows(place):
    *_, ours, theirs = place
    close(ours.marginal_cov(), theirs.marginal_cov(), atol=1e-5)
    new = DATA.iloc[:5].assign(x=0.0)
    close(ours.predict(new, interval="prediction"), theirs.predict(new, interval="prediction"), atol=1e-5)


def test_draws(place):
    _, _, ours, _ = place
    draws = ours.simulate(nsim=4000, seed=2)
    expected = ours.marginal_cov(DATA.index[:25]).to_numpy()
    assert np.abs(np.cov(draws.to_numpy()[:25]) - expected).max() < 5.0 * np.sqrt(2.0 / 4000) * expected.max()
    estimates = ours.bootstrap(60, seed=3).confint()
    spread = (estimates["conf_high"] - estimates["conf_low"]).loc["x"] / 3.92
    assert spread == pytest.approx(ours.coef().loc["x", "std_error"], rel=0.35)


def test_many_responses(place):
    right, options, ours, _ = place
    many = lmm.fit_many(right, DATA, responses=["y", "y1", "y2"], **options)
    close(many["y"].deviance, ours.deviance, rtol=1e-9)
    assert set(many.glance()["status"]) <= {"interior", "boundary"}


def test_markers(place):
    """With variances of the null model, generalized least squares by its covariance; with refitted ones, a fit."""
    right, options, ours, _ = place
    markers = DATA[["marker"]]
    if "kinship" in options:  # ids are those of its levels
        markers = DATA.groupby("site")[["marker"]].first()

    def hit(variances):
        return lmm.scan("y " + right, DATA, genotypes=markers, variances=variances, **options).tidy().iloc[0]

    x = np.column_stack([ours.model_matrix().to_numpy(), DATA["marker"]])
    inverse = np.linalg.inv(x.T @ np.linalg.solve(ours.marginal_cov().to_numpy(), x))
    beta = inverse @ x.T @ np.linalg.solve(ours.marginal_cov().to_numpy(), DATA["y"])
    close(hit("null")["estimate"], beta[-1])
    refitted = lmm.fit(f"y {right.replace('z', 'z + marker', 1)}", DATA, **options).coef().loc["marker"]
    close(hit("refit")[["estimate", "std_error"]], refitted[["estimate", "std_error"]], rtol=1e-4)


def test_limits_by_profile_start_and_what_is_fixed(place):
    """With a parameter at a limit of its profile, the deviance is that of the likelihood ratio test's size.

    Across levels it is held at a value that is no limit, which costs.
    """
    ours = place[2].update(method="ML")
    name = next(name for name in ours.variance().index if name.endswith("rho"))
    if "kinship" in place[1]:
        held = ours.update(fixed={name: 0.9}, start={"Residual: sd": 1.1})
        theirs = place[3].update(method="ML", fixed={name: 0.9})
        assert held.deviance > ours.deviance
        assert held.deviance == pytest.approx(theirs.deviance, abs=1e-6)
        return
    limits = ours.confint(name, method="profile").iloc[0]
    high = limits["conf_high"] if limits["conf_high"] < 1.0 else limits["conf_low"]
    held = ours.update(fixed={name: high}, start={"Residual: sd": 1.1})
    assert held.deviance - ours.deviance == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), rel=1e-4)
    assert held.variance().loc[name, "estimate"] == pytest.approx(high, abs=1e-9)


def test_a_saved_fit(place, tmp_path):
    _, _, ours, _ = place
    ours.save(tmp_path / "fit")
    back = lmm.load(tmp_path / "fit")
    pd.testing.assert_frame_equal(back.variance(), ours.variance())
    pd.testing.assert_frame_equal(back.coef(), ours.coef())
