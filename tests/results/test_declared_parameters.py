"""Parameters of users' structures are what is declared of them, in fits, files, tables and errors.

The structure decays with the distance of its columns; it reports its standard deviation, the range, the logarithm of
the range and the correlation of neighbors, by names that sound like something else.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.covariance import AbstractCovariance, Parameter

ROUNDING = 1e-12
Z = 1.959963984540054
MODEL = "~ x + (0 + t | g)"
NAMES = ("s", "sdlog", "range", "corr(a)")
STRANGE = ("corr(a, b)", "rho", "sd", "theta[1]")


class Decay(AbstractCovariance):
    """Var = s² exp(−|i − j| / range), theta is (s, log range)."""

    names: tuple[str, ...] = lmm.covariance.static(default=NAMES)
    longest: float = lmm.covariance.static(default=np.inf)

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        rho = jnp.exp(-jnp.exp(-theta[1]))
        lag = coords - coords.T
        power = jnp.where(lag >= 0, rho ** jnp.maximum(lag, 0.0), 0.0)
        return theta[0] * power * jnp.where(coords.T == 0, 1.0, jnp.sqrt(1.0 - rho**2))

    def parameters(self, columns):
        s, reach, log_reach, neighbors = self.names
        return (
            Parameter(s, "sd"), Parameter(reach, "rate", upper=self.longest), Parameter(log_reach), Parameter(neighbors)
        )  # fmt: skip

    def report(self, theta, factor, sigma):
        return jnp.stack([sigma * jnp.abs(theta[0]), jnp.exp(theta[1]), theta[1], jnp.exp(-jnp.exp(-theta[1]))])


def numbers():
    """Two responses that decay, one in which nothing does."""
    rng = np.random.default_rng(4)
    levels, q = 40, 4
    data = pd.DataFrame({"g": np.repeat(np.arange(levels), 2 * q), "t": np.tile(list("abcd"), 2 * levels)})
    root = np.linalg.cholesky(np.exp(-np.abs(np.subtract.outer(np.arange(q), np.arange(q))) / 2.0))
    data["x"] = rng.normal(size=len(data)).round(6)
    for name in ("y1", "y2"):
        effects = np.repeat(rng.normal(size=(levels, q)) @ root.T, 2, axis=0).reshape(-1)
        data[name] = (1.5 * effects + rng.normal(size=len(data))).round(6)
    centered = rng.normal(size=len(data))
    data["flat"] = centered - pd.Series(centered).groupby(data["g"]).transform("mean")
    return data


DATA = numbers()


@pytest.fixture(scope="module")
def single():
    return lmm.fit("y1 " + MODEL, DATA, covariance={"g": Decay()})


@pytest.fixture(scope="module")
def many():
    return lmm.fit_many(MODEL, DATA, responses=["y1", "y2", "flat"], covariance={"g": Decay()})


def test_each_has_the_interval_of_its_scale(single):
    table = single.variance()
    assert list(table.index) == ["g: s", "g: sdlog", "g: range", "g: corr(a)", "Residual: sd"]
    value, error = table["estimate"].to_numpy(), table["std_error"].to_numpy()
    assert (error > 0).all()
    for place, closed in enumerate([True, True, False, False, True]):
        width = Z * error[place] * np.array([-1, 1])
        expected = value[place] * np.exp(width / value[place]) if closed else value[place] + width
        np.testing.assert_allclose(table.iloc[place][["conf_low", "conf_high"]].astype(float), expected, rtol=ROUNDING)
    assert not table["at_boundary"].any()


def test_the_variance_scale(single):
    sds, variances = single.variance(), single.variance("variance")
    assert list(variances.index) == ["g: var(s)", "g: sdlog", "g: range", "g: corr(a)", "Residual: var"]
    for column in ("estimate", "conf_low", "conf_high"):
        expected = sds[column].to_numpy() ** np.array([2, 1, 1, 1, 2])
        np.testing.assert_allclose(variances[column], expected, rtol=ROUNDING)


def test_a_summary_shows_all(single):
    titles = ("Random effects", "Covariance parameters")
    random, others = (str(single.summary()).split(f"{title}:\n")[1].split("\n\n")[0] for title in titles)
    assert [line.split()[0] for line in random.splitlines()[1:]] == ["g", "Residual"]
    assert [line.split()[-3] for line in others.splitlines()[1:]] == ["sdlog", "range", "corr(a)"]


def test_many_responses_have_the_same(single, many):
    table = many.variance().query("response == 'y1'")
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        np.testing.assert_allclose(table[column], single.variance()[column], rtol=1e-4)
    variances = many.variance("variance").query("response == 'y2'")
    assert list(variances["parameter"]) == list(single.variance("variance").index)
    for limit in ("conf_low", "conf_high"):
        roots = many.variance().query("response == 'y2'")[limit].to_numpy()
        np.testing.assert_allclose(variances[limit], roots ** np.array([2, 1, 1, 1, 2]), rtol=ROUNDING)


def test_files_keep_what_is_declared(single, many, tmp_path):
    for number, fit in enumerate((single, many)):
        fit.save(tmp_path / f"{number}.json")
        again = lmm.load(tmp_path / f"{number}.json")
        assert again.estimates.labels.natural == fit.estimates.labels.natural
        for scale in ("sd", "variance"):
            pd.testing.assert_frame_equal(again.variance(scale), fit.variance(scale), check_exact=True)
    bounded = lmm.fit("y1 " + MODEL, DATA, covariance={"g": Decay(longest=50.0)})
    bounded.save(tmp_path / "bounded.json")
    natural = lmm.load(tmp_path / "bounded.json").estimates.labels.natural
    assert (natural[1].upper, natural[1].attained, natural[-1].upper) == (50.0, (False, False), np.inf)


def test_names_change_nothing(single, many, tmp_path):
    structure = {"g": Decay(names=STRANGE)}
    strange = lmm.fit("y1 " + MODEL, DATA, covariance=structure)
    strange_many = lmm.fit_many(MODEL, DATA, responses=["y1", "y2", "flat"], covariance=structure)
    assert (strange.status, strange.deviance) == (single.status, single.deviance)
    assert strange_many.glance()["status"].tolist() == many.glance()["status"].tolist()
    for scale in ("sd", "variance"):
        mine, theirs = strange.variance(scale), single.variance(scale)
        assert list(mine.index)[1:4] == ["g: rho", "g: sd", "g: theta[1]"]
        np.testing.assert_array_equal(mine.iloc[:, 1:].astype(float), theirs.iloc[:, 1:].astype(float))
        columns = ["estimate", "std_error", "conf_low", "conf_high", "at_boundary", "fixed"]
        mine, theirs = strange_many.variance(scale)[columns], many.variance(scale)[columns]
        np.testing.assert_array_equal(mine.astype(float), theirs.astype(float))
    assert strange.ratio("g").equals(single.ratio("g"))


def test_what_hangs_on_a_variance_of_zero_has_no_standard_error(many):
    """The range of what does not vary is not known; its residual is."""
    table = many.variance().query("response == 'flat'").set_index("parameter")
    assert table["status"].unique().tolist() == ["boundary"]
    assert table["estimate"]["g: s"] == 0.0
    assert table["at_boundary"].tolist() == [True, True, True, True, False]
    assert table[["std_error", "conf_low", "conf_high"]].isna().all(axis=1).tolist() == [True] * 4 + [False]


# ---- start and fixed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["start", "fixed"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("g: s", -1.0, "expected a standard deviation of 0 or more, in units of the response for 'g: s', got -1.0"),
        ("g: sdlog", 0.0, "expected a number strictly between 0 and 50 for 'g: sdlog', got 0.0"),
        ("g: sdlog", 50, "expected a number strictly between 0 and 50 for 'g: sdlog', got 50"),
        ("g: range", np.inf, "expected a number for 'g: range', got inf"),
        ("Residual: sd", 0.0, "expected a standard deviation above 0, in units of the response"),
    ],
)
def test_values_out_of_bounds(option, name, value, message):
    with pytest.raises(lmm.OptionError, match=f"{option}: {message}"):
        lmm.fit("y1 " + MODEL, DATA, covariance={"g": Decay(longest=50.0)}, **{option: {name: value}})


class Relative(AbstractCovariance):
    """A standard deviation relative to the residual's, as a number."""

    unit: str | None = lmm.covariance.static(default=None)
    scaled: bool = lmm.covariance.static(default=False)

    def n_params(self, q):
        return 1

    def cholesky(self, theta, coords):
        return theta[0] * jnp.eye(coords.shape[0])

    def parameters(self, columns):
        return (Parameter("relative", unit=self.unit),)

    def report(self, theta, factor, sigma):
        return (sigma if self.scaled else 1.0) * jnp.abs(theta)


def test_a_number_without_a_unit_is_not_scaled_with_the_response():
    fixed = {"g: relative": 0.8}
    found = lmm.fit("y1 ~ x + (1 | g)", DATA, covariance={"g": Relative()}, fixed=fixed)
    design = lmm.design("y1 ~ x + (1 | g)", DATA)
    with jax.enable_x64(True):
        expected = lmm.deviance(design)(jnp.array([0.8]), jnp.asarray(DATA["y1"].to_numpy()))
    assert found.deviance == pytest.approx(float(expected), abs=1e-8)
    assert found.variance()["estimate"]["g: relative"] == 0.8
    larger = lmm.fit("y ~ x + (1 | g)", DATA.assign(y=1e3 * DATA["y1"]), covariance={"g": Relative()}, fixed=fixed)
    assert larger.sigma == pytest.approx(1e3 * found.sigma, rel=1e-9)
    assert larger.variance()["estimate"]["g: relative"] == 0.8


def test_a_parameter_in_units_of_the_response_is_declared_as_such():
    model, fixed = "y1 ~ x + (1 | g)", {"g: relative": 0.8}
    with pytest.raises(lmm.OptionError, match=r"fixed: .* 'g: relative' has no unit.*unit='response'"):
        lmm.fit(model, DATA, covariance={"g": Relative(scaled=True)}, fixed=fixed)
    found = lmm.fit(model, DATA, covariance={"g": Relative(scaled=True, unit="response")}, fixed=fixed)
    same = lmm.fit(model, DATA, fixed={"g: sd(Intercept)": 0.8})
    assert found.deviance == pytest.approx(same.deviance, abs=1e-8)


def test_what_is_relative_to_sigma_is_not_held_beside_a_standard_deviation(single):
    """Beside a fixed residual theta is not relative to sigma; a range, and a plain number times sigma, do not mind."""
    model, held = "y1 ~ x + (1 | g)", {"Residual: sd": 1.0}
    with pytest.raises(lmm.OptionError, match=r"cannot be fixed beside 'g: relative', .* times sigma"):
        lmm.fit(model, DATA, covariance={"g": Relative()}, fixed=held)
    unscaled = lmm.covariance.Custom(lambda theta, coords: (1.0 + 0.0 * theta[0]) * jnp.eye(len(coords)), 1)
    with pytest.raises(lmm.OptionError, match=r"beside Custom, whose covariance is a multiple of the residual's"):
        lmm.fit(model, DATA, covariance={"g": unscaled}, fixed=held)
    plain = lmm.fit(model, DATA, fixed=held)
    found = lmm.fit(model, DATA, covariance={"g": Relative(scaled=True)}, fixed=held)
    assert found.deviance == pytest.approx(plain.deviance, abs=1e-6)
    np.testing.assert_allclose(found.variance()["estimate"], plain.variance()["estimate"], rtol=1e-4)
    sigma = {"Residual: sd": single.sigma}
    same = lmm.fit("y1 " + MODEL, DATA, covariance={"g": Decay()}, fixed=sigma)
    np.testing.assert_allclose(same.variance()["estimate"], single.variance()["estimate"], rtol=1e-3)
