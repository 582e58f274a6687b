"""Deviance residuals, quantile residuals and limits of means by their definitions, for every link and any unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from jaxlmm import families
from jaxlmm.families import FittedRows, ZeroInflated, deviance_residuals, limits_of_mean, quantile_residuals
from jaxlmm.families.links import LINKS

pytestmark = pytest.mark.usefixtures("double_precision")

CLOSE = 1e-7
"""Relative: the largest density is found by a search, the expected one by another, or in closed form."""

UNITS = (1.0, 1000.0)

SATURATED = {
    "gaussian": (families.Gaussian, [2.0], [-3.0, 0.5, 9.0], 2.0),
    "student_t": (families.StudentT, [2.0, 0.25], [-3.0, 0.5, 9.0], 2.0),
    "gamma": (families.Gamma, [0.5], [0.2, 1.0, 9.0], 2.0),
    "inverse_gaussian": (families.InverseGaussian, [0.5], [0.2, 1.0, 9.0], 2.0),
    "tweedie": (families.Tweedie, [0.8, 1.4], [0.2, 1.0, 9.0], 2.0),
    "poisson": (families.Poisson, [], [1.0, 3.0, 12.0], 2.0),
    "nbinom2": (families.NegativeBinomial, [0.4], [1.0, 3.0, 12.0], 2.0),
}
"""Families whose density is largest where the mean is the observation: parameters, observations, a mean."""


@pytest.mark.parametrize("name", SATURATED)
def test_deviance_residuals_where_the_mean_is_the_observation(name):
    family, dispersion, y, mean = SATURATED[name]
    plain = family(link="identity")
    for unit in UNITS if plain.link in family.links else ():
        ys, mu, scale = np.array(y) * unit, mean * unit, list(dispersion)
        if name in ("gaussian", "student_t"):
            scale[0] *= unit
        at_y, at_mean = (plain.log_density(ys, jnp.asarray(eta), jnp.array(scale)) for eta in (ys, mu + 0.0 * ys))
        expected = np.sign(ys - mu) * np.sqrt(2.0 * np.asarray(at_y - at_mean))
        for link in family.links:
            eta = np.full(ys.shape, float(LINKS[link].predictor(jnp.asarray(mu))))
            found = deviance_residuals(FittedRows(family(link=link), eta, np.array(scale), None), ys)
            np.testing.assert_allclose(found, expected, rtol=CLOSE, err_msg=f"{link} in units of {unit}")


def searched(family, y, eta, dispersion, to_mean):
    """The residual by a bounded search over means, whatever the link is."""
    of_mean = [float(family.log_density(jnp.asarray(y), jnp.asarray(eta), dispersion))]

    def value(place):
        return -float(family.log_density(jnp.asarray(y), jnp.asarray(float(to_mean(place))), dispersion))

    best = scipy.optimize.minimize_scalar(value, bounds=(-12.0, 12.0), method="bounded", options={"xatol": 1e-10})
    return np.sqrt(2.0 * max(-best.fun - of_mean[0], 0.0)) * np.sign(to_mean(best.x) - eta)


def test_deviance_residuals_of_other_families():
    cases = [
        (families.NegativeBinomial(quadratic=False), [0.7], [0.0, 1.0, 9.0], lambda place: place),
        (families.Poisson(truncated=True), [], [2.0, 9.0], lambda place: place),
        (families.Beta(), [6.0], [0.02, 0.4, 0.95], lambda place: place),
        (ZeroInflated(families.Poisson()), [0.3], [2.0, 9.0], lambda place: place),
        (ZeroInflated(families.Poisson("sqrt")), [0.3], [2.0, 9.0], lambda place: np.exp(0.5 * place)),
    ]
    for family, dispersion, y, to_eta in cases:
        dispersion, eta = np.array(dispersion), np.full(len(y), 0.8)
        found = deviance_residuals(FittedRows(family, eta, dispersion, None), np.array(y))
        expected = [searched(family, one, 0.8, jnp.asarray(dispersion), to_eta) for one in y]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=repr(family))


def test_deviance_residuals_whose_largest_density_is_at_an_end():
    """As of a count of zero, of all successes, of a zero far from its mean in a mixture; in closed form."""
    one = np.array([1.0])
    cases = [
        (families.Poisson("sqrt"), 0.0, 3.0, [], None, -np.sqrt(2.0 * 9.0)),
        (families.Binomial("log"), 1.0, -5.0, [], one, np.sqrt(10.0)),
        (families.Binomial("identity"), 1.0, 0.2, [], one, np.sqrt(-2.0 * np.log(0.2))),
        (families.Binomial(), 0.0, 1.0, [], one, -np.sqrt(2.0 * np.log1p(np.exp(1.0)))),
        (ZeroInflated(families.Poisson()), 0.0, np.log(800.0), [0.3], None, -np.sqrt(-2.0 * np.log(0.3))),
        (families.Gamma("inverse"), 0.001, 1.0, [1.0], None, -np.sqrt(2.0 * (np.log(1000.0) + 0.001 - 1.0))),
    ]
    for family, y, eta, dispersion, row_data, expected in cases:
        rows = FittedRows(family, np.array([eta]), np.array(dispersion), row_data)
        assert deviance_residuals(rows, np.array([y]))[0] == pytest.approx(expected, rel=CLOSE), family


@pytest.mark.parametrize("link", ["sqrt", "inverse", "log", "identity", "logit", "cloglog"])
def test_limits_are_the_least_and_the_largest_mean_between_predictors(link):
    proportion = link in ("logit", "cloglog")
    family = (families.Binomial if proportion else families.Gaussian if link == "inverse" else families.Tweedie)(link)
    dispersion = np.ones(0 if proportion else 1) if link == "inverse" or proportion else np.array([1.0, 1.5])
    low, high = np.array([-2.0, -1.2, 0.3, 0.4]), np.array([-0.5, 0.7, 0.9, 0.4])
    found = limits_of_mean(family, low, high, dispersion)
    for number, (start, end) in enumerate(zip(low, high, strict=True)):
        eta = np.concatenate([np.linspace(start, end, 20_001), [0.0, -0.0] if start < 0.0 < end else []])
        with np.errstate(divide="ignore"):
            means = np.asarray(LINKS[link].mean(jnp.asarray(eta)).value)
        means = np.clip(means, *family.range)
        np.testing.assert_allclose([found[0][number], found[1][number]], [means.min(), means.max()], rtol=1e-6)


def test_limits_of_means_that_are_positive_end_where_predictors_do():
    low, high = limits_of_mean(families.Gamma(link="inverse"), np.array([-0.1]), np.array([0.5]), np.ones(1))
    assert low[0] == 2.0
    assert high[0] == np.inf
    inflated = ZeroInflated(families.Poisson("sqrt"))
    low, high = limits_of_mean(inflated, np.array([-1.2]), np.array([-0.7]), np.array([0.25]))
    np.testing.assert_allclose([low[0], high[0]], [0.75 * 0.49, 0.75 * 1.44])


class Normal(families.AbstractFamily):
    """Of a user, whose distribution has no upper tail of its own."""

    def log_density(self, y, eta, dispersion):
        return -0.5 * (y - eta) ** 2 - 0.5 * jnp.log(2.0 * jnp.pi)

    def distribution(self, eta, dispersion, trials=None):
        return type("Frozen", (), {"cdf": lambda self, x: scipy.stats.norm.cdf(x, eta)})()


def test_quantile_residuals_reach_as_far_up_as_down():
    rng = np.random.default_rng(1)
    far = quantile_residuals(FittedRows(families.Gaussian(), np.zeros(2), np.ones(1), None), np.array([9.0, -9.0]), rng)
    np.testing.assert_allclose(far, [9.0, -9.0], rtol=1e-9)
    own = quantile_residuals(FittedRows(Normal(), np.zeros(2), np.ones(0), None), np.array([3.0, -9.0]), rng)
    np.testing.assert_allclose(own, [3.0, -9.0], rtol=1e-9)
    cases = [
        (families.Poisson(), [], 60.0), (families.NegativeBinomial(), [0.1], 60.0),
        (families.Poisson(truncated=True), [], 60.0), (families.Tweedie(), [0.3, 1.5], 60.0),
        (ZeroInflated(families.Poisson()), [0.4], 60.0), (ZeroInflated(families.Tweedie()), [0.3, 1.5, 0.4], 60.0),
    ]  # fmt: skip
    for family, dispersion, y in cases:
        rows = FittedRows(family, np.full(4, 0.3), np.array(dispersion), None)
        tail = quantile_residuals(rows, np.array([y, 2.0 * y, 1.0, 3.0]), rng)
        assert np.isfinite(tail).all(), family
        assert 8.0 < tail[0] < tail[1], family
        distribution = family.distribution(rows.eta, rows.dispersion)
        x = np.array([-1.0, 0.0, 1.0, 4.0])
        np.testing.assert_allclose(distribution.sf(x), 1.0 - distribution.cdf(x), rtol=1e-9, atol=1e-14)


def test_a_family_on_an_open_scale_has_the_same_densities():
    eta = jnp.array([0.2, 0.7])
    for family, dispersion, y in (
        (families.Gamma("inverse"), [0.5], [1.0, 2.0]),
        (families.Poisson("sqrt", truncated=True), [], [1.0, 4.0]),
        (families.Binomial("identity"), [], [[1.0, 3.0], [2.0, 2.0]]),
        (ZeroInflated(families.NegativeBinomial("identity")), [0.4, 0.2], [0.0, 3.0]),
        (Normal(), [], [0.0, 1.0]),
    ):
        plain, own = family.on_open_scale(eta)
        one, other = (f.log_density(jnp.array(y), e, jnp.array(dispersion)) for f, e in ((family, eta), (plain, own)))
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert jax.numpy.all(jnp.isfinite(own))
