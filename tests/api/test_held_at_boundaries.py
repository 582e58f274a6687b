"""Held parameters at the ends of their ranges, and free ones that vanish beside them: against plain optima."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm

from plain_effects import OPTIMUM, SAME, deviance, formula, simulated

THREE = simulated(3)
CORRELATION = "g: corr(Intercept, a)"


def without_slopes():
    """Rows of groups that differ in their level alone."""
    rng = np.random.default_rng(8)
    return THREE.assign(y=rng.normal(size=len(THREE)) + np.repeat(rng.normal(size=24), 9))


def test_a_standard_deviation_held_at_zero():
    """As the model without the column; no boundary, because it was asked for."""
    fit = lmm.fit(formula(3), THREE, fixed={"g: sd(b)": 0.0})
    without = lmm.fit(formula(2), THREE)
    assert fit.deviance == pytest.approx(without.deviance, abs=SAME)
    assert fit.status == without.status == "interior"
    assert fit.n_params == without.n_params
    assert fit.variance()["fixed"].sum() == 1  # its correlations are not defined, and nobody fixed them
    undefined = fit.variance().loc[["g: corr(Intercept, b)", "g: corr(a, b)"], ["estimate", "std_error"]]
    assert undefined.isna().all(axis=None)
    kept = ["g: sd(Intercept)", "g: sd(a)", CORRELATION, "Residual: sd"]
    for column in ("estimate", "std_error"):
        mine, theirs = fit.variance()[column][kept], without.variance()[column][kept]
        assert mine.to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-6)


@pytest.mark.parametrize("correlation", [1.0, -1.0])
def test_a_correlation_held_at_its_end(correlation):
    """As one effect of two columns, b ± its share of a: against the plain optimum over the two lengths."""
    fit = lmm.fit(formula(2), THREE, fixed={CORRELATION: correlation})
    sign = np.sign(correlation)

    def objective(x):
        root = np.array([x[0], sign * x[1]])
        return deviance(THREE, np.outer(root, root), np.exp(x[2]))

    starts = [(1.0, 0.5, 0.0), (0.3, 0.0, 0.2), (0.0, 0.8, 0.3)]
    bounds = [(0, None), (0, None), (None, None)]
    lowest = min(minimize(objective, start, method="L-BFGS-B", bounds=bounds).fun for start in starts)
    assert fit.deviance <= lowest + OPTIMUM
    assert fit.deviance == pytest.approx(lowest, abs=1e-4)
    assert fit.status in ("interior", "boundary")


def test_a_perfect_correlation_leaves_the_standard_errors_of_the_two_lengths():
    ends, near = (lmm.fit(formula(2), THREE, fixed={CORRELATION: held}) for held in (1.0, 1.0 - 1e-7))
    assert ends.n_params == near.n_params == 5
    assert ends.deviance == pytest.approx(near.deviance, abs=1e-3)
    for row in ("g: sd(Intercept)", "g: sd(a)", "Residual: sd"):
        mine, theirs = (fit.variance()["std_error"][row] for fit in (ends, near))
        assert mine == pytest.approx(theirs, rel=1e-2)


def test_a_free_standard_deviation_that_vanishes_beside_a_held_correlation():
    """Its multiplier is the slope of the deviance in it, relative to sigma and with its column of mean square 1."""
    data = without_slopes()
    fits = {held: lmm.fit(formula(2), data, fixed={CORRELATION: held}) for held in (0.6, -0.6)}
    vanished = {held: fit for held, fit in fits.items() if fit.variance()["estimate"]["g: sd(a)"] == 0.0}
    assert vanished  # on one side of zero at least
    alone = lmm.fit("y ~ a + (1 | g)", data)
    for correlation, found in vanished.items():
        assert found.status == "boundary"
        assert found.deviance == pytest.approx(alone.deviance, abs=SAME)
        sd, sigma = found.variance()["estimate"][["g: sd(Intercept)", "Residual: sd"]]

        def at(small, correlation=correlation, sd=sd, sigma=sigma):
            between = correlation * sd * small
            return deviance(data, np.array([[sd**2, between], [between, small**2]]), sigma)

        step = 1e-4
        slope = (4.0 * at(step) - at(2.0 * step) - 3.0 * at(0.0)) / (2.0 * step)
        (multiplier,) = found.certificate.multipliers.to_numpy()
        assert multiplier > 0
        assert multiplier == pytest.approx(slope * sigma / np.sqrt(np.mean(data["a"] ** 2)), rel=1e-4)


def test_the_first_of_two_that_vanishes_beside_a_held_correlation():
    """In either order of the columns."""
    data = without_slopes().assign(one=1.0)
    fits = [
        lmm.fit(f"y ~ a + (0 + {columns} | g)", data, fixed={f"g: corr({names})": 0.6})
        for columns, names in (("one + a", "one, a"), ("a + one", "a, one"))
    ]
    assert [fit.status for fit in fits] == ["boundary", "boundary"]
    assert fits[0].deviance == pytest.approx(fits[1].deviance, abs=SAME)


def test_a_process_that_vanishes_beside_a_decay_that_is_held():
    rng = np.random.default_rng(2)
    wave = np.tile([1.0, -1.0, 1.0, -1.0], 20) + 0.1 * rng.normal(size=80)
    data = pd.DataFrame({"y": wave, "t": np.tile(np.arange(4.0), 20), "g": np.repeat(np.arange(20), 4).astype(str)})
    fit = lmm.fit("y ~ 1 + ou(t | g)", data, fixed={"g: rho": 0.5})
    assert fit.status == "boundary"
    assert fit.variance()["estimate"]["g: sd"] == 0.0
    assert fit.variance()["at_boundary"]["g: sd"]
