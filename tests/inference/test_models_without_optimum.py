"""No number without an optimum: responses without residual, tests by status, structures that run to their end.

Kinds and neighbors that are tried: a response that is the same in all rows of a group, under each solver, by REML and
ML, with a column that varies within the groups, as an exact sum of nested effects or of lines, scaled, beside other
responses, with missing values; residuals from 1e-5 to 1e-11 of the groups' standard deviation; the same under a known
matrix, where the limit means something else, and a person who stands twice; the status of every table; a range that
grows without end with the standard deviation, and one that does so alone, in another parameterization; a correlation
that goes to one, in another parameterization and by a factor that does not exist at the end.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxlmm as lmm
from jaxlmm.linalg import semidefinite_cholesky

import models

RNG = np.random.default_rng(11)
GROUPS = 14
CODES = np.repeat(np.arange(GROUPS), RNG.integers(3, 7, GROUPS))
ROWS = CODES.size
ARM = np.arange(GROUPS) % 2
DONOR = RNG.normal(size=GROUPS) + 0.9 * ARM
NOISE = RNG.normal(size=ROWS)
DATA = pd.DataFrame(
    {"g": [f"d{code:02d}" for code in CODES], "arm": ARM[CODES], "x": RNG.normal(size=ROWS), "y": DONOR[CODES]}
)
BETWEEN = stats.linregress(ARM, DONOR)  # least squares of one value per group
TIGHT = 1e-7
"""The limit is evaluated at a residual of 1e-5, which costs 1e-10; rounding is as small."""


def t_test(slope, std_error, df):
    return 2 * stats.t.sf(abs(slope / std_error), df)


@pytest.fixture(scope="module")
def many():
    """Responses of a donor, of a cell, of both, and of the rounding of a computer, beside one with missing values."""
    responses = DATA[["y"]].assign(
        scaled=1e6 * DATA["y"] + 1e7, cell=DATA["y"] + NOISE, none=1.0, part=DATA["y"].mask(DATA.index % 9 == 0)
    )
    return lmm.fit_many("~ arm + (1 | g)", DATA, responses=responses)


@pytest.mark.parametrize("solver", ["moments", "blocked", "dense"])
def test_values_of_donors_are_tested_between_donors(solver):
    fit = lmm.fit("y ~ arm + (1 | g)", DATA, solver=solver)
    row = fit.coef().loc["arm"]
    assert fit.status == "boundary"
    assert row["estimate"] == pytest.approx(BETWEEN.slope, rel=TIGHT)
    assert row["std_error"] == pytest.approx(BETWEEN.stderr, rel=TIGHT)
    assert row["df"] == pytest.approx(GROUPS - 2, rel=TIGHT)
    assert row["p_value"] == pytest.approx(BETWEEN.pvalue, rel=TIGHT)


def test_what_the_limit_says_of_everything_else(tmp_path):
    fit = lmm.fit("y ~ arm + (1 | g)", DATA)
    variance = fit.variance()
    spread = np.sqrt(np.sum((DONOR - BETWEEN.intercept - BETWEEN.slope * ARM) ** 2) / (GROUPS - 2))
    assert variance.loc["g: sd(Intercept)", "estimate"] == pytest.approx(spread, rel=TIGHT)
    assert variance.loc["Residual: sd", "estimate"] == 0.0
    assert variance["at_boundary"].tolist() == [False, True]
    assert np.isnan(variance.loc["Residual: sd", "std_error"])
    assert (fit.deviance, fit.loglik, fit.aic) == (-np.inf, np.inf, -np.inf)
    assert (fit.sigma, fit.glance().loc[0, "sigma"], fit.ratio("g")["estimate"]) == (0.0, 0.0, 1.0)
    assert "no log-likelihood" in fit.certificate.help
    assert "boundary" in str(fit.summary())
    fit.save(tmp_path / "fit.json")
    again = lmm.load(tmp_path / "fit.json")
    assert again.deviance == -np.inf
    assert again.coef().equals(fit.coef())


@pytest.mark.parametrize("sizes", [np.full(GROUPS, 3), np.bincount(CODES)], ids=["equal", "unequal"])
@pytest.mark.parametrize("size", [0.0, 1e-7])
def test_effects_of_groups_are_what_the_groups_have(sizes, size):
    """Fixed effects of the optimum and of least squares differ where groups are of unequal size."""
    codes = np.repeat(np.arange(GROUPS), sizes)
    noise = size * np.random.default_rng(1).normal(size=codes.size)
    data = pd.DataFrame({"g": codes, "arm": ARM[codes], "x": np.sin(np.arange(codes.size)), "y": DONOR[codes] + noise})
    for formula in ("y ~ arm + (1 | g)", "y ~ arm + x + (1 | g)"):
        fit = lmm.fit(formula, data)
        beta = fit.fixef()
        assert fit.residuals().abs().max() < max(1e-8, 10 * size)
        effects = DONOR - beta["Intercept"] - beta["arm"] * ARM
        np.testing.assert_allclose(fit.ranef()["g"]["Intercept"], effects, atol=max(1e-8, 10 * size))


@pytest.mark.parametrize("solver", ["moments", "blocked"])
def test_no_residual_beside_a_standard_deviation_that_is_held(solver):
    """The limit is a test between groups of a known variance; a residual of 1e-9 is an optimum still."""
    held, size = 0.7, 1e-9
    responses = DATA[["y"]].assign(centered=DATA["y"] - DATA["y"].mean(), small=DATA["y"] + size * NOISE)
    many = lmm.fit_many("~ arm + (1 | g)", DATA, responses=responses, fixed={"g: sd(Intercept)": held}, solver=solver)
    table = many.tidy().query("term == 'arm'").set_index("response")
    assert table["status"].tolist() == ["boundary", "boundary", "interior"]
    assert table["reason"].tolist() == ["no_residual", "no_residual", ""]
    assert table["estimate"].to_numpy() == pytest.approx(BETWEEN.slope, rel=1e-6)
    std_error = held * np.sqrt(sum(1 / np.bincount(ARM)))
    assert table["std_error"].to_numpy() == pytest.approx(std_error, rel=TIGHT)
    assert table["p_value"].to_numpy() == pytest.approx(2 * stats.norm.sf(BETWEEN.slope / std_error), rel=1e-5)
    within = size * (NOISE - pd.Series(NOISE).groupby(CODES).transform("mean"))
    sigma = many.glance().set_index("response")["sigma"]
    assert sigma.iloc[:2].tolist() == [0.0, 0.0]
    assert sigma["small"] == pytest.approx(np.sqrt(np.sum(within**2) / (ROWS - GROUPS)), rel=1e-4)


def test_maximum_likelihood_divides_by_all_groups():
    row = lmm.fit("y ~ arm + (1 | g)", DATA, method="ML").coef().loc["arm"]
    assert row["std_error"] == pytest.approx(BETWEEN.stderr * np.sqrt((GROUPS - 2) / GROUPS), rel=TIGHT)


def test_a_column_within_groups_is_determined_exactly():
    data = DATA.assign(y=DATA["y"] + 2.5 * DATA["x"])
    table = lmm.fit("y ~ arm + x + (1 | g)", data).coef()
    assert table.loc["x", "estimate"] == pytest.approx(2.5, rel=1e-9)
    assert table.loc["x", "std_error"] == 0.0
    assert table.loc["x", ["df", "statistic", "p_value"]].isna().all()
    assert table.loc["arm", "p_value"] == pytest.approx(BETWEEN.pvalue, rel=TIGHT)


@pytest.mark.parametrize("size", [1e-7, 1e-8])
def test_a_small_residual_beside_a_column_within_groups_keeps_its_digits(size):
    data = DATA.assign(y=DATA["y"] + 2.5 * DATA["x"] + size * NOISE)
    fit = lmm.fit("y ~ arm + x + (1 | g)", data)
    dummies = np.column_stack([pd.get_dummies(DATA["g"]).to_numpy(float), DATA["x"]])
    slope, rest = (np.linalg.lstsq(dummies, NOISE)[k] for k in (0, 1))
    assert fit.status == "interior"
    assert fit.sigma == pytest.approx(size * np.sqrt(rest[0] / (ROWS - GROUPS - 1)), rel=1e-6)
    assert fit.fixef()["x"] == pytest.approx(2.5 + size * slope[-1], abs=1e-6 * size)
    assert fit.coef().loc["arm", "p_value"] == pytest.approx(BETWEEN.pvalue, rel=100 * size)


def test_lines_are_tested_between_their_coefficients():
    """An intercept and a slope of each group, without residual: a multivariate model of the groups' coefficients."""
    slopes = RNG.normal(size=GROUPS)
    fit = lmm.fit("y ~ 1 + x + (x | g)", DATA.assign(y=DATA["y"] + slopes[CODES] * DATA["x"]))
    table = fit.coef()
    assert fit.status == "boundary"
    assert table.loc["Intercept", "estimate"] == pytest.approx(DONOR.mean(), rel=1e-6)
    assert table.loc["x", "std_error"] == pytest.approx(slopes.std(ddof=1) / np.sqrt(GROUPS), rel=1e-6)
    assert table.loc["x", "df"] == pytest.approx(GROUPS - 1, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))  # rounding leaves more than nothing of the residual, nothing, or less
def test_nested_effects_without_residual_are_the_model_of_their_means(seed):
    """What is left between samples of a donor takes the residual's place."""
    sample = DATA.groupby("g").cumcount().to_numpy() // 2
    name = DATA["g"] + "." + sample.astype(str)
    values = pd.Series(np.random.default_rng(seed).normal(size=name.nunique()), index=name.unique())
    data = DATA.assign(s=name, y=DATA["y"] + values[name].to_numpy())
    fit = lmm.fit("y ~ arm + (1 | g) + (1 | s)", data)
    means = lmm.fit("y ~ arm + (1 | g)", data.drop_duplicates("s"))
    assert (fit.status, means.status) == ("boundary", "interior")
    pd.testing.assert_frame_equal(fit.coef(), means.coef(), rtol=1e-5)
    ours, theirs = fit.variance()["estimate"], means.variance()["estimate"]
    assert ours["s: sd(Intercept)"] == pytest.approx(theirs["Residual: sd"], rel=1e-6)
    assert ours["g: sd(Intercept)"] == pytest.approx(theirs["g: sd(Intercept)"], rel=1e-6)


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("solver", ["moments", "blocked"])
def test_a_small_residual_is_what_it_is(size, solver):
    fit = lmm.fit("y ~ arm + (1 | g)", DATA.assign(y=DATA["y"] + size * NOISE), solver=solver)
    within = size * (NOISE - pd.Series(NOISE).groupby(CODES).transform("mean"))
    assert fit.status == "interior"
    assert fit.sigma == pytest.approx(np.sqrt(np.sum(within**2) / (ROWS - GROUPS)), rel=1e-4)
    assert fit.coef().loc["arm", "p_value"] == pytest.approx(BETWEEN.pvalue, rel=max(10 * size, 1e-4))


def test_many_responses_say_the_same(many):
    table = many.tidy().query("term == 'arm'").set_index("response")
    assert table["status"].to_dict() == {
        "y": "boundary", "scaled": "boundary", "cell": "interior", "none": "failed", "part": "boundary"
    }  # fmt: skip
    assert table["reason"].to_dict() == {
        "y": "no_residual", "scaled": "no_residual", "cell": "", "none": "constant", "part": "no_residual"
    }  # fmt: skip
    for name in ("y", "scaled", "part"):  # missing values of a donor leave his value as it is
        assert table.loc[name, "p_value"] == pytest.approx(BETWEEN.pvalue, rel=1e-6)
    assert many.glance().set_index("response").loc[["y", "scaled", "part"], "sigma"].tolist() == [0.0, 0.0, 0.0]
    assert table.loc["scaled", "std_error"] == pytest.approx(1e6 * BETWEEN.stderr, rel=1e-6)
    single = lmm.fit("y ~ arm + (1 | g)", DATA.assign(y=DATA["y"] + NOISE)).coef().loc["arm"]
    assert table.loc["cell", "p_value"] == pytest.approx(single["p_value"], rel=1e-7)


def test_discoveries_are_counted_among_those_that_have_a_test(many):
    table = many.tidy().query("term == 'arm'").set_index("response")
    tested = table["p_value"].dropna()
    assert tested.index.tolist() == ["y", "scaled", "cell", "part"]
    expected = stats.false_discovery_control(tested)
    np.testing.assert_allclose(table.loc[tested.index, "q_value"], expected)
    assert np.isnan(table.loc["none", "q_value"])
    np.testing.assert_allclose(many.anova()["p_value"], table["p_value"].to_numpy(), rtol=1e-9)


def related(levels, seed=5):
    root = np.random.default_rng(seed).normal(size=(len(levels), 3 * len(levels)))
    return pd.DataFrame(root @ root.T / (3 * len(levels)), index=levels, columns=levels)


def test_under_a_known_matrix_there_is_no_limit_to_report():
    """Without residual all variance would be the matrix's, whatever it is: a copy, not an estimate."""
    kinship = {"g": related(sorted(DATA["g"].unique()))}
    alike = lmm.fit("y ~ arm + (1 | g)", DATA, kinship=kinship)
    once = DATA.drop_duplicates("g").assign(y=lambda data: RNG.normal(size=len(data)))
    copied = pd.concat([once, once.iloc[[3]]], ignore_index=True)
    twice = lmm.fit("y ~ x + (1 | g)", copied, kinship=kinship)
    assert (alike.status, twice.status) == ("not_converged", "not_converged")
    for fit in (alike, twice):
        assert fit.coef().drop(columns="estimate").isna().all(axis=None)
        assert fit.variance()["std_error"].isna().all()
        assert fit.ranef_sd("g").isna().all(axis=None)
        assert "repeat others" in fit.certificate.help
    many = lmm.fit_many("~ x + (1 | g)", copied, responses=["y"], kinship=kinship)
    assert many.glance()[["status", "reason"]].to_numpy().tolist() == [["not_converged", "unbounded"]]
    assert many.tidy().drop(columns=["response", "n", "term", "estimate", "status", "reason"]).isna().all(axis=None)


def test_what_is_not_identified_has_no_test():
    """A person each has one row: the residual and the person's variance are one number."""
    once = DATA.drop_duplicates("g").assign(y=DONOR + np.linspace(-1, 1, GROUPS) ** 2)
    levels = once["g"].tolist()
    fit = lmm.fit("y ~ arm + (1 | g)", once, kinship={"g": pd.DataFrame(np.eye(GROUPS), index=levels, columns=levels)})
    table = fit.coef()
    assert fit.status == "not_identified"
    assert np.isfinite(table[["estimate", "std_error"]]).all(axis=None)
    assert table[["df", "p_value", "conf_low", "conf_high"]].isna().all(axis=None)
    assert fit.coef("normal")["p_value"].isna().all()


def test_an_estimate_inside_a_function_is_not_called_an_optimum_either():
    with jax.enable_x64(True):
        design = lmm.design("~ arm + (1 | g)", DATA)
        status = models.quickly(lambda y: lmm.estimate(design, y).status)(jnp.asarray(DATA["y"].to_numpy()))
    assert lmm.STATUS[int(status)] == "not_converged"


class Exponential(lmm.covariance.AbstractCovariance):
    """Correlation falls with distance, by a range that is a parameter, or its logarithm."""

    log: bool = lmm.covariance.static(default=True)

    def n_params(self, q):
        return 2

    def range(self, theta):
        return jnp.exp(theta[1]) if self.log else jnp.abs(theta[1]) + 1e-3

    def cholesky(self, theta, coords):
        gap = coords[:, None, :] - coords[None, :, :]
        distance = jnp.sqrt(jnp.sum(gap**2, axis=-1) + 1e-300)
        return theta[0] * semidefinite_cholesky(jnp.exp(-distance / self.range(theta)))

    def param_names(self, columns):
        return ("sd", "range")

    def report(self, theta, factor, sigma):
        return jnp.stack([sigma * jnp.abs(theta[0]), self.range(theta)])


def test_a_range_that_runs_to_its_end_is_a_boundary():
    """A smooth surface: standard deviation and range grow together, towards a linear variogram."""
    rng = np.random.default_rng(2)
    sites = np.arange(24)
    place = pd.DataFrame(rng.uniform(size=(24, 2)), index=sites, columns=["u", "v"])
    distance = np.linalg.norm(place.to_numpy()[:, None] - place.to_numpy()[None], axis=-1)
    surface = np.linalg.cholesky(np.exp(-distance / 50) + 1e-10 * np.eye(24)) @ rng.normal(size=24)
    site = np.repeat(sites, 3)
    data = pd.DataFrame({"site": site, "y": 9 * surface[site] + rng.normal(size=site.size)})
    kinship = {"site": Exponential(coords=place)}
    fit = lmm.fit("y ~ 1 + (1 | site)", data, kinship=kinship)
    assert fit.status == "boundary"
    variance = fit.variance()
    assert variance.loc["site: range", "at_boundary"]
    assert variance.loc[["site: sd", "site: range"], "std_error"].isna().all()
    assert variance.loc["Residual: sd", "std_error"] > 0
    assert "limit" in fit.certificate.help
    many = lmm.fit_many("~ 1 + (1 | site)", data, responses=["y"], kinship=kinship)
    assert many.glance().loc[0, "status"] == "boundary"
    assert many.glance().loc[0, "deviance"] == pytest.approx(fit.deviance, abs=1e-4)

    # The limit: covariances −distance, known up to a constant that the intercept takes, in any large multiple of it.
    z = np.eye(24)[site]
    a = np.linalg.svd(np.ones((1, site.size)))[2][1:]  # contrasts

    def deviance(log_slope, log_sigma):
        v = a @ (np.exp(2 * log_sigma) * np.eye(site.size) - np.exp(log_slope) * z @ distance @ z.T) @ a.T
        sign, logdet = np.linalg.slogdet(v)
        rest = a @ data["y"]
        value = rest @ np.linalg.solve(v, rest) + logdet + (site.size - 1) * np.log(2 * np.pi) + np.log(site.size)
        return value if sign > 0 else np.inf

    from scipy.optimize import minimize

    best = minimize(lambda p: deviance(*p), [3.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert best.fun - 1e-5 < fit.deviance < best.fun + 2e-3


@pytest.fixture(scope="module")
def alternating():
    """Effects of a group that are equal at all times, errors that alternate, and the fit of one effect per group."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 8), "t": np.tile(np.arange(4), 24).astype(str)})
    steps = np.diff(rng.normal(size=(24, 5)), axis=1).reshape(-1)
    data["y"] = 2 * rng.normal(size=12)[data["g"]] + steps
    return data, lmm.fit("y ~ 1 + (1 | g)", data)


def test_a_range_that_grows_alone_is_a_boundary(alternating):
    """Nothing speaks for a decay."""
    data, intercept = alternating
    fit = lmm.fit("y ~ 1 + (0 + t | g)", data, covariance={"g": Exponential(log=False)})
    assert fit.status == "boundary"
    assert fit.deviance == pytest.approx(intercept.deviance, abs=1e-6)
    assert fit.variance()["at_boundary"].to_dict() == {"g: sd": False, "g: range": True, "Residual: sd": False}
    assert fit.fixef()["Intercept"] == pytest.approx(intercept.fixef()["Intercept"], rel=1e-6)
    assert fit.coef().loc["Intercept", "p_value"] == pytest.approx(
        intercept.coef().loc["Intercept", "p_value"], rel=1e-4
    )


class Equal(lmm.covariance.AbstractCovariance):
    """Equal correlations, by a logistic function or a hyperbolic tangent of a parameter."""

    tanh: bool = lmm.covariance.static(default=False)
    pivots: bool = lmm.covariance.static(default=True)

    def n_params(self, q):
        return 2

    def correlation(self, theta):
        return jnp.tanh(theta[1]) if self.tanh else jax.nn.sigmoid(theta[1])

    def cholesky(self, theta, coords):
        q, rho = coords.shape[0], self.correlation(theta)
        matrix = (1.0 - rho) * jnp.eye(q) + rho * jnp.ones((q, q))
        return jnp.exp(theta[0]) * (semidefinite_cholesky if self.pivots else jnp.linalg.cholesky)(matrix)

    def param_names(self, columns):
        return ("sd", "correlation")

    def report(self, theta, factor, sigma):
        return jnp.stack([sigma * jnp.exp(theta[0]), self.correlation(theta)])


@pytest.mark.parametrize("structure", [Equal(tanh=True), Equal(pivots=False)])
def test_a_correlation_that_goes_to_one_is_a_boundary(structure, alternating):
    """At one there is a single effect of a group."""
    data, intercept = alternating
    fit = lmm.fit("y ~ 1 + (0 + t | g)", data, covariance={"g": structure})
    variance, alone = fit.variance(), intercept.variance()
    assert fit.status == "boundary"
    assert fit.deviance == pytest.approx(intercept.deviance, abs=1e-6)
    assert variance["at_boundary"].to_dict() == {"g: sd": False, "g: correlation": True, "Residual: sd": False}
    assert variance.loc["g: correlation", "estimate"] == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(variance.loc["g: correlation", "std_error"])
    for ours, theirs in (("g: sd", "g: sd(Intercept)"), ("Residual: sd", "Residual: sd")):
        columns = ["estimate", "std_error"]
        assert variance.loc[ours, columns].tolist() == pytest.approx(alone.loc[theirs, columns].tolist(), rel=1e-5)
