"""Held parameters of structures that a user wrote: against plain optima in their own parameters."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm
from jaxlmm.linalg import semidefinite_cholesky

from plain_effects import EXACT, OPTIMUM, RESIDUAL, deviance, formula, simulated
from references import Exchangeable

THREE = simulated(3)


def exchangeable(sd, corr, sigma):
    return deviance(THREE, sd**2 * (corr + (1.0 - corr) * np.eye(3)), sigma)


def lowest(objective, *starts):
    return min((minimize(objective, s, method="Nelder-Mead", tol=1e-10) for s in starts), key=lambda found: found.fun)


@pytest.fixture(scope="module")
def best():
    """The plain optimum of equal standard deviations and correlations: its value, and both."""
    found = lowest(lambda x: exchangeable(np.exp(x[0]), np.tanh(x[1]), np.exp(x[2])), [0.0, 0.3, 0.0], [-0.5, 0.0, 0.3])
    return found.fun, {"g: sd": np.exp(found.x[0]), "g: corr": np.tanh(found.x[1])}


@pytest.mark.parametrize("name", ["g: sd(a)", "g: corr(a, b)"])
def test_a_structure_of_ones_own_by_name(best, name):
    """One standard deviation determines those of all columns, one correlation all correlations."""
    kind = name.split("(")[0]
    for factor in (1.0, 0.8):
        held = float(best[1][kind]) * factor
        fit = lmm.fit(formula(3), THREE, covariance={"g": Exchangeable()}, fixed={name: held})
        found = fit.variance()["estimate"]
        assert found[name] == pytest.approx(held, rel=EXACT)
        alike = [other for other in found.index if other.startswith(kind)]
        assert len(alike) == 3
        assert found[alike].to_numpy() == pytest.approx(held, rel=1e-8)
        other = next(one for one in found.index if not one.startswith((kind, "Residual")))
        sd, corr = (found[name], found[other]) if kind.endswith("sd") else (found[other], found[name])
        assert fit.deviance == pytest.approx(exchangeable(sd, corr, found[RESIDUAL]), abs=1e-8)

        def objective(x, held=held, kind=kind):
            sd, corr = (held, np.tanh(x[0])) if kind.endswith("sd") else (np.exp(x[0]), held)
            return exchangeable(sd, corr, np.exp(x[1]))

        plain = best[0] if factor == 1.0 else lowest(objective, [0.0, 0.0], [0.5, 0.2]).fun
        assert fit.deviance == pytest.approx(plain, abs=OPTIMUM)
        assert fit.n_params == 4  # two coefficients, and two of three variance parameters


def test_values_that_a_structure_cannot_have():
    with pytest.raises(lmm.OptionError, match="expected values that"):
        lmm.fit(formula(3), THREE, covariance={"g": Exchangeable()}, fixed={"g: sd(a)": 0.7, "g: sd(b)": 0.9})
    with pytest.raises(lmm.OptionError, match="eigenvalue"):
        lmm.fit(
            formula(3), THREE, fixed={"g: corr(a, b)": 0.9, "g: corr(Intercept, a)": 0.9, "g: corr(Intercept, b)": -0.9}
        )


class Factor(lmm.covariance.AbstractCovariance):
    """One latent factor: loadings of the columns, and a standard deviation that all share."""

    def n_params(self, q):
        return q + 1

    def cholesky(self, theta, coords):
        q = coords.shape[0]
        return semidefinite_cholesky(jnp.outer(theta[:q], theta[:q]) + theta[q] ** 2 * jnp.eye(q))

    def parameters(self, columns):
        loadings = (lmm.covariance.Parameter(f"loading({one})", "loading", columns=one) for one in columns)
        return *loadings, lmm.covariance.Parameter("unique", "sd")

    def report(self, theta, factor, sigma):
        return sigma * jnp.append(theta[:-1], jnp.abs(theta[-1]))


def test_a_loading_at_zero_is_no_row_at_zero():
    fit = lmm.fit(formula(3), THREE, covariance={"g": Factor()}, fixed={"g: loading(a)": 0.0})
    values = fit.variance()["estimate"]
    assert values["g: loading(a)"] == 0.0
    assert abs(values["g: loading(b)"]) > 0.1

    def objective(x):
        loadings = np.array([x[0], 0.0, x[1]])
        return deviance(THREE, np.outer(loadings, loadings) + x[2] ** 2 * np.eye(3), np.exp(x[3]))

    starts = ([1.0, 0.5, 0.5, 0.0], [0.5, -0.5, 0.3, 0.2])
    plain = min(minimize(objective, start, method="BFGS").fun for start in starts)
    assert fit.deviance == pytest.approx(plain, abs=1e-4)
    assert fit.deviance <= plain + OPTIMUM
