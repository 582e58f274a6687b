"""Families: densities, links and their derivatives against SciPy, mpmath and finite differences."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxlmm import OptionError, families
from jaxlmm.families import FAMILIES, LINKS, family_of, row_derivatives
from jaxlmm.families.words import ELSEWHERE

pytestmark = pytest.mark.usefixtures("double_precision")

ROUNDING = 1e-11
"""Relative to 1 plus the size of a log-density: its parts are a few hundred, in double precision."""

SLOPE = 1e-6
"""Of central differences with steps of 1e-5 of functions of size up to 100: rounding leaves 1e-9, curvature 1e-8."""

ETA = np.array([-1.5, -0.3, 0.2, 1.1])
TRIALS = np.array([3.0, 1.0, 20.0, 7.0])
COUNTS = np.array([0.0, 1.0, 4.0, 30.0])
POSITIVE = np.array([0.2, 1.0, 3.7, 25.0])

# word: observations, dispersion, and SciPy's logarithm of density or probability
CASES = {
    "gaussian": (POSITIVE - 1, [1.7], lambda y, mean, d: scipy.stats.norm.logpdf(y, mean, d[0])),
    "student_t": (POSITIVE - 1, [1.7, 0.3], lambda y, mean, d: scipy.stats.t.logpdf(y, 1 / d[1], mean, d[0])),
    "binomial": (
        np.stack([[0.0, 1.0, 12.0, 7.0], TRIALS], axis=1), [],
        lambda y, mean, d: scipy.stats.binom.logpmf(y[:, 0], y[:, 1], mean),
    ),
    "poisson": (COUNTS, [], lambda y, mean, d: scipy.stats.poisson.logpmf(y, mean)),
    "nbinom2": (COUNTS, [0.7], lambda y, mean, d: scipy.stats.nbinom.logpmf(y, 1 / d[0], 1 / (1 + d[0] * mean))),
    "nbinom1": (COUNTS, [0.7], lambda y, mean, d: scipy.stats.nbinom.logpmf(y, mean / d[0], 1 / (1 + d[0]))),
    "gamma": (POSITIVE, [0.3], lambda y, mean, d: scipy.stats.gamma.logpdf(y, 1 / d[0], scale=mean * d[0])),
    "inverse_gaussian": (
        POSITIVE, [0.3], lambda y, mean, d: scipy.stats.invgauss.logpdf(y, mean * d[0], scale=1 / d[0]),
    ),
    "beta": (
        np.array([0.01, 0.4, 0.9, 0.999]), [6.0],
        lambda y, mean, d: scipy.stats.beta.logpdf(y, mean * d[0], (1 - mean) * d[0]),
    ),
    "tweedie": (np.array([0.0, 0.3, 2.0, 9.0]), [1.2, 1.6], None),
}  # fmt: skip


def observations(word):
    y, dispersion, log_density = CASES[word]
    return family_of(word), jnp.array(y), jnp.array(dispersion, float), log_density


def every_link():
    return [(word, link) for word in CASES for link in type(family_of(word)).links]


@pytest.mark.parametrize("word", [word for word in CASES if CASES[word][2]])
def test_log_density_is_that_of_scipy(word):
    family, y, dispersion, log_density = observations(word)
    expected = log_density(np.asarray(y), np.asarray(family.mean(jnp.array(ETA), dispersion)), np.asarray(dispersion))
    found = family.log_density(y, jnp.array(ETA), dispersion)
    np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(("word", "link"), every_link())
def test_score_and_curvature_are_those_of_differences(word, link):
    family, y, dispersion, _ = observations(word)
    family = family.replace(link=link)
    mean = {"binomial": 0.4, "beta": 0.4}.get(word, 2.0) + 0.05 * jnp.arange(4.0)
    eta, step = LINKS[link].predictor(mean), 1e-5
    found = row_derivatives(family, y, eta, dispersion)
    above, below = (row_derivatives(family, y, eta + sign * step, dispersion) for sign in (1.0, -1.0))
    np.testing.assert_allclose(found.value, family.log_kernel(y, eta, dispersion), rtol=ROUNDING)
    whole = found.value + family.normalizer(y, dispersion)
    np.testing.assert_allclose(whole, family.log_density(y, eta, dispersion), rtol=ROUNDING)
    size = 1.0 + np.abs(found.value).max()
    np.testing.assert_allclose(found.score, (above.value - below.value) / (2 * step), rtol=SLOPE, atol=SLOPE * size)
    slope = -(above.score - below.score) / (2 * step)
    np.testing.assert_allclose(found.curvature, slope, rtol=SLOPE, atol=SLOPE * size)


@pytest.mark.parametrize("word", [word for word in CASES if CASES[word][1]])
def test_derivatives_in_dispersion_are_those_of_differences(word):
    family, y, dispersion, _ = observations(word)
    theta = jnp.array(family.searched(np.asarray(dispersion)))
    np.testing.assert_allclose(family.natural(theta), dispersion, rtol=1e-13)

    @jax.jit
    def total(theta):
        return jnp.sum(family.log_density(y, jnp.array(ETA), family.natural(theta)))

    slope = jax.jit(jax.grad(total))
    gradient, hessian = slope(theta), jax.jit(jax.hessian(total))(theta)
    for k in range(theta.size):
        step = jnp.zeros_like(theta).at[k].set(1e-5)
        difference = (total(theta + step) - total(theta - step)) / 2e-5
        np.testing.assert_allclose(gradient[k], difference, rtol=SLOPE, atol=10 * SLOPE)
        difference = (slope(theta + step) - slope(theta - step)) / 2e-5
        np.testing.assert_allclose(hessian[k], difference, rtol=SLOPE, atol=100 * SLOPE)


@pytest.mark.parametrize("word", ["nbinom1", "nbinom2"])
def test_overdispersion_of_zero_is_poisson_and_near_zero_smooth(word):
    family, y, _, _ = observations(word)
    eta = jnp.array(ETA)
    poisson = family_of("poisson").log_density(y, eta, jnp.zeros(0))
    np.testing.assert_allclose(family.log_density(y, eta, jnp.zeros(1)), poisson, rtol=ROUNDING)
    values = [float(jnp.sum(family.log_density(y, eta, jnp.array([a])))) for a in (0.0, 1e-6, 2e-6)]
    slope = jax.grad(lambda a: jnp.sum(family.log_density(y, eta, a)))(jnp.zeros(1))[0]
    np.testing.assert_allclose((4 * values[1] - values[2] - 3 * values[0]) / 2e-6, slope, rtol=1e-5)


def test_density_of_t_tends_to_the_normal_one():
    y, eta = jnp.array(POSITIVE), jnp.array(ETA)
    normal = family_of("gaussian").log_density(y, eta, jnp.array([1.7]))
    for inverse, apart in ((0.0, ROUNDING), (1e-9, 1e-5)):
        found = family_of("student_t").log_density(y, eta, jnp.array([1.7, inverse]))
        np.testing.assert_allclose(found, normal, rtol=apart)


@pytest.mark.parametrize("a", [0.0, 1e-12, 1e-4, 0.049, 0.051, 3.0, 1e6])
def test_negative_binomial_is_exact_at_any_overdispersion(a):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        for y, mean in ((0, 0.3), (7, 2.0), (2000, 1500.0)):
            rising = sum(mpmath.log1p(mpmath.mpf(a) * i) for i in range(y))
            a_mean = mpmath.mpf(a) * mpmath.mpf(mean)
            tail = (mpmath.mpf(y) + 1 / mpmath.mpf(a)) * mpmath.log1p(a_mean) if a else mpmath.mpf(mean)
            expected = rising - mpmath.loggamma(y + 1) + y * mpmath.log(mean) - tail
            found = families.NegativeBinomial(link="identity").log_density(
                jnp.array(float(y)), jnp.array(mean), jnp.array([a])
            )
            # Of sums that cancel: y log mean and log y! are 15,000 for a count of 2,000.
            np.testing.assert_allclose(float(found), float(expected), rtol=ROUNDING, atol=1e-10)


@pytest.mark.parametrize("link", list(LINKS))
def test_links_keep_their_digits_at_extreme_means(link):
    mpmath = pytest.importorskip("mpmath")
    inverse = {
        "logit": lambda x: 1 / (1 + mpmath.exp(-x)),
        "probit": mpmath.ncdf,
        "cloglog": lambda x: 1 - mpmath.exp(-mpmath.exp(x)),
        "cauchit": lambda x: mpmath.atan(x) / mpmath.pi + mpmath.mpf(1) / 2,
        "log": mpmath.exp,
        "identity": lambda x: x,
        "sqrt": lambda x: x**2,
        "inverse": lambda x: 1 / x,
    }[link]
    bounded = link in ("logit", "probit", "cloglog", "cauchit")
    with mpmath.workdps(250):
        for eta in (-30.0, -5.0, -0.01, 0.3, 3.0, 30.0) if bounded else (0.01, 0.3, 3.0, 30.0):
            if link == "cloglog" and eta > 4.0:
                eta = 3.3
            exact, found = inverse(mpmath.mpf(eta)), LINKS[link].mean(jnp.array(eta))
            np.testing.assert_allclose(float(found.value), float(exact), rtol=ROUNDING)
            np.testing.assert_allclose(float(found.log), float(mpmath.log(exact)), rtol=ROUNDING, atol=1e-15)
            if bounded:
                complement = float(mpmath.log1p(-exact))
                np.testing.assert_allclose(float(found.log_complement), complement, rtol=ROUNDING, atol=1e-15)
            if abs(eta) < 5.0 and not (bounded and exact > 0.99):  # where the mean keeps the digits of eta
                np.testing.assert_allclose(LINKS[link].predictor(found.value), eta, rtol=1e-8)


@pytest.mark.parametrize("word", [word for word in CASES if word != "student_t"])
def test_distribution_has_mean_variance_and_probabilities_of_the_density(word):
    family, _, dispersion, _ = observations(word)
    eta, d = np.full(4, -0.4), np.asarray(dispersion)
    distribution = family.distribution(eta, d, trials=TRIALS) if word == "binomial" else family.distribution(eta, d)
    draws = distribution.rvs(size=(40_000, 4), random_state=1)
    mean = np.asarray(family.mean(jnp.array(eta), dispersion)) * (TRIALS if word == "binomial" else 1.0)
    error = np.sqrt(distribution.var() / 40_000)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * error)
    np.testing.assert_allclose(draws.var(axis=0), distribution.var(), rtol=0.2)
    at = np.quantile(draws[:, 0], 0.7)
    share = np.mean(draws[:, 0] <= at)
    assert abs(float(np.ravel(distribution.cdf(at))[0]) - share) < 5 * np.sqrt(0.25 / 40_000)


def test_families_say_what_they_allow():
    allowed = {
        "poisson": ([0.0, 3.0], [-1.0, 0.5, np.inf, np.nan]),
        "gamma": ([0.1, 5.0], [0.0, -1.0, np.inf]),
        "tweedie": ([0.0, 5.0], [-1.0, np.nan]),
        "beta": ([0.1, 0.9], [0.0, 1.0, -0.1]),
        "gaussian": ([-3.0, 2.0], [np.nan, np.inf]),
        "binomial": ([[0.0, 1.0], [3.0, 3.0]], [[4.0, 3.0], [-1.0, 3.0], [0.5, 1.0], [1.0, 1.5]]),
    }
    for word, (yes, no) in allowed.items():
        family = family_of(word)
        assert family.allows(np.array(yes)).all(), word
        assert not family.allows(np.array(no)).any(), word


def test_rough_predictors_are_finite():
    for word in CASES:
        family, y, _, _ = observations(word)
        for link in type(family).links:
            start = family.replace(link=link).start(y if word != "gaussian" else jnp.abs(y))
            assert np.isfinite(start).all(), (word, link)
            assert start.shape == (4,)


def test_curvature_of_the_logit_keeps_its_digits_in_the_tail():
    y, eta = jnp.array([[1.0, 1.0], [0.0, 1.0]]), jnp.array([-40.0, 40.0])
    found = row_derivatives(family_of("binomial"), y, eta, jnp.zeros(0))
    np.testing.assert_allclose(found.curvature, np.exp(-40.0), rtol=ROUNDING)


def test_complement_of_the_log_link_keeps_its_digits():
    eta = jnp.array([-1e-17, -1e-10, -0.1, -3.0, -50.0])
    expected = np.log(-np.expm1(np.asarray(eta)))
    np.testing.assert_allclose(LINKS["log"].mean(eta).log_complement[:4], expected[:4], rtol=ROUNDING)
    np.testing.assert_allclose(LINKS["log"].mean(eta).log_complement[4], -np.exp(-50.0), rtol=ROUNDING)


def test_a_density_that_is_summed_is_refused():
    class Summed(families.AbstractFamily):
        def log_density(self, y, eta, dispersion):
            return jnp.sum(-((y - eta) ** 2))

    with pytest.raises(OptionError, match="expected one value for each linear predictor"):
        row_derivatives(Summed(), jnp.ones(3), jnp.zeros(3), jnp.zeros(0))


def test_words_and_links_are_checked():
    assert {type(family_of(word)) for word in FAMILIES} == {
        one for _, one in inspect.getmembers(families, inspect.isclass)
        if issubclass(one, families.AbstractFamily) and one not in (families.AbstractFamily, families.ZeroInflated)
    }  # fmt: skip
    with pytest.raises(OptionError, match="did you mean poisson"):
        family_of("poison")
    for word, hint in {
        "normal": "write 'gaussian'",
        "nb": "write 'nbinom2'",
        "negbin": "write 'nbinom2'",
        "negative_binomial": "write 'nbinom2'",
        "beta_family": "write 'beta'",
        "t": "write 'student_t'",
        "t_family": "write 'student_t'",
        "lognormal": "take the logarithm",
        "quasipoisson": "no likelihood; write 'nbinom1'",
        "betabinomial": "is not available; write 'binomial' with a random intercept of each row",
        "genpois": "is not available; write 'nbinom2', or, .* a family of your own",
        "compois": "is not available; write 'nbinom2', or, .* a family of your own",
        "ordbeta": "is not available; write 'beta'",
    }.items():
        with pytest.raises(OptionError, match=f"got '{word}'; .*{hint}"):
            family_of(word)
    named = {text for hint in ELSEWHERE.values() for text in re.findall(r"'([a-z]\w+)'", hint)}
    assert named <= FAMILIES.keys()
    assert not ELSEWHERE.keys() & FAMILIES.keys()
    with pytest.raises(OptionError, match="made by its class"):
        family_of(families.Poisson)
    with pytest.raises(OptionError, match="link of Poisson: expected one of 'log'"):
        families.Poisson(link="logit")


def test_a_family_of_ones_own_is_one_function():
    class Geometric(families.AbstractFamily):
        def log_density(self, y, eta, dispersion):
            return y * eta - (y + 1.0) * jnp.log1p(jnp.exp(eta))

    y, eta = jnp.array(COUNTS), jnp.array(ETA)
    own, built_in = Geometric(), families.NegativeBinomial()
    for found, expected in zip(
        row_derivatives(own, y, eta, jnp.zeros(0)), row_derivatives(built_in, y, eta, jnp.ones(1)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert own.start(y).shape == (4,)
    assert own.parameters == ()
    with pytest.raises(NotImplementedError, match="Geometric has no mean"):
        own.mean(eta, jnp.zeros(0))
