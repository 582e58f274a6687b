"""Densities and distributions of truncated and zero-inflated families: SciPy's, their digits, the contract, moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxlmm as lmm
from jaxlmm.families import Gamma, NegativeBinomial, Poisson, Tweedie, ZeroInflated, family_of

DENSITY = 1e-10
"""Of log-densities of size up to 100."""

COUNTS, ETA = np.array([0.0, 1.0, 4.0, 30.0]), np.array([-1.5, -0.3, 0.2, 1.1])
SCIPY = {
    "poisson": (Poisson, [], lambda mean: scipy.stats.poisson(mean)),
    "nbinom2": (NegativeBinomial, [0.7], lambda mean: scipy.stats.nbinom(1 / 0.7, 1 / (1 + 0.7 * mean))),
    "nbinom1": (
        lambda **own: NegativeBinomial(quadratic=False, **own), [0.7],
        lambda mean: scipy.stats.nbinom(mean / 0.7, 1 / 1.7),
    ),
}  # fmt: skip


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", SCIPY)
def test_densities_are_those_of_scipy(name):
    of_class, dispersion, exact = SCIPY[name]
    frozen, gamma = exact(np.exp(ETA)), np.array([0.3, -0.8])
    truncated = family_of(f"truncated_{name}")
    assert repr(truncated) == repr(of_class(truncated=True))
    whole = frozen.logpmf(COUNTS)
    positive = whole[1:] - np.log(frozen.sf(0)[1:])
    found = truncated.log_density(jnp.array(COUNTS[1:]), jnp.array(ETA[1:]), jnp.array(dispersion))
    np.testing.assert_allclose(found, positive, atol=DENSITY)
    columns = np.column_stack([np.ones(4), [0.5, -1.0, 2.0, 0.0]])
    share = scipy.special.expit(columns @ gamma)
    y = jnp.array(np.column_stack([COUNTS, columns]))
    inflated = ZeroInflated(of_class(), ("a", "b"))
    expected = np.log((1 - share) * np.exp(whole) + share * (COUNTS == 0))
    found = inflated.log_density(y, jnp.array(ETA), jnp.array([*dispersion, *gamma]))
    np.testing.assert_allclose(found, expected, atol=DENSITY)
    hurdle = ZeroInflated(truncated, ("a", "b"))
    expected = np.r_[np.log(share[0]), np.log1p(-share[1:]) + positive]
    found = hurdle.log_density(y, jnp.array(ETA), jnp.array([*dispersion, *gamma]))
    np.testing.assert_allclose(found, expected, atol=DENSITY)
    for share in (0.0, 0.3):
        found = ZeroInflated(of_class()).log_density(jnp.array(COUNTS), jnp.array(ETA), jnp.array([*dispersion, share]))
        expected = np.log((1 - share) * np.exp(whole) + share * (COUNTS == 0))
        np.testing.assert_allclose(found, expected, atol=DENSITY)


@pytest.mark.usefixtures("double_precision")
def test_truncated_counts_lose_no_digits_where_means_are_small():
    """log f(1) = log m − log(exp(m) − 1) = −m/2 − m²/24 + m⁴/2880 − …; its derivatives in log m to the fourth."""
    log_density = Poisson(truncated=True).log_density
    for eta in (-3.0, -10.0, -30.0):
        function, mean = lambda eta: log_density(jnp.array(1.0), eta, jnp.zeros(0)), np.exp(eta)
        for order in range(5):
            exact = -mean / 2 - 2.0**order * mean**2 / 24 + 4.0**order * mean**4 / 2880 - 6.0**order * mean**6 / 181440
            np.testing.assert_allclose(float(function(jnp.array(eta))), exact, rtol=1e-6, atol=1e-14)
            function = jax.grad(function)


@pytest.mark.usefixtures("double_precision")
def test_densities_keep_the_contract_of_families():
    for family in (Poisson(truncated=True), Tweedie()):
        lmm.testing.check_family(ZeroInflated(family), [0.0, 2.0, 3.0])
    lmm.testing.check_family("truncated_nbinom2", [1.0, 2.0, 7.0])
    lmm.testing.check_family(ZeroInflated(Gamma(), ("Intercept", "x")), [[0.0, 1.0, 0.3], [2.5, 1.0, -1.0]])
    with pytest.raises(lmm.OptionError, match="counts of at least 1; zero_inflated="):
        lmm.testing.check_family("truncated_poisson", [0.0, 2.0])


@pytest.mark.usefixtures("double_precision")
def test_distributions_have_the_moments_of_their_probabilities():
    eta, k = np.array([-8.0, -0.4, 1.2]), np.arange(400.0)[:, None]
    for family, dispersion in (
        (Poisson(truncated=True), []), (NegativeBinomial(truncated=True), [0.7]), (ZeroInflated(Poisson()), [0.3]),
        (ZeroInflated(NegativeBinomial(quadratic=False, truncated=True)), [0.7, 0.3]),
    ):  # fmt: skip
        distribution = family.distribution(eta, np.array(dispersion))
        y = jnp.array(np.broadcast_to(k, (400, 3)))
        log = family.log_density(y, jnp.broadcast_to(jnp.array(eta), (400, 3)), jnp.array(dispersion))
        mass = np.where(family.allows(np.asarray(y)), np.exp(np.asarray(log)), 0.0)
        mean = np.sum(mass * k, axis=0)
        np.testing.assert_allclose(mass.sum(axis=0), 1.0, rtol=1e-9)
        np.testing.assert_allclose(family.mean(jnp.array(eta), jnp.array(dispersion)), mean, rtol=1e-9)
        np.testing.assert_allclose(distribution.var(), np.sum(mass * k**2, axis=0) - mean**2, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(distribution.cdf(k[:20]), np.cumsum(mass, axis=0)[:20], rtol=1e-7, atol=1e-12)
        draws = distribution.rvs(size=(40_000, 3), random_state=1)
        assert np.all(np.abs(draws.mean(axis=0) - mean) <= 5 * np.sqrt(distribution.var() / 40_000) + 1e-12)
