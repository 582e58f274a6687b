"""Tails of test statistics against 40-digit arithmetic, and what spans the weights of all variance ratios."""

import mpmath
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from jaxlmm.scanning.kernels.eigenbasis import NODES_PER_SIDE, ScanBasis
from jaxlmm.scanning.kernels.statistics import f_beyond, log10_tail_chi2, log10_tail_f

from scans import engine_scan, mouse

TAIL = 1e-12
"""Relative, of −log10 p."""

DENOMINATOR = 1e-8
"""Relative, of a marker's square at any variance ratio from kept weights; what is found is near 1e-13."""


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("degrees", [3, 50, 1408, 1_000_000])
def test_tails_of_f_never_underflow(columns, degrees):
    """From p = 0.5 to below 1e-400, where a p-value is zero in double precision."""
    with mpmath.workdps(40):
        for odds in (1e-3 / degrees, 10.0 / degrees, 2500.0 / degrees, 1.0, 30.0):
            statistic = odds * degrees / columns
            x = mpmath.mpf(1) / (1 + mpmath.mpf(columns) * statistic / degrees)
            p = mpmath.betainc(mpmath.mpf(degrees) / 2, mpmath.mpf(columns) / 2, 0, x, regularized=True)
            found = float(log10_tail_f(np.array(statistic), columns, float(degrees)))
            assert found == pytest.approx(float(-mpmath.log10(p)), rel=TAIL, abs=1e-14)


def test_an_f_of_a_p_value_that_underflows():
    with mpmath.workdps(60):
        x = mpmath.findroot(
            lambda x: mpmath.log10(mpmath.betainc(mpmath.mpf(704), mpmath.mpf(0.5), 0, x, regularized=True)) + 400, 0.27
        )
        statistic = float(1408 * (1 - x) / x)
    assert stats.f.sf(statistic, 1, 1408) == 0.0
    assert float(log10_tail_f(np.array(statistic), 1, 1408.0)) == pytest.approx(400.0, rel=TAIL)


def test_tails_of_chi2():
    with mpmath.workdps(40):
        expected = [float(-mpmath.log10(mpmath.erfc(mpmath.sqrt(x / 2)))) for x in (0.01, 3.84, 100.0, 4000.0)]
    np.testing.assert_allclose(log10_tail_chi2(np.array([0.01, 3.84, 100.0, 4000.0]), 1), expected, rtol=TAIL)
    np.testing.assert_allclose(log10_tail_chi2(np.array([10.0]), 2), -stats.chi2.logsf(10.0, 2) / np.log(10), rtol=TAIL)


def test_limits_are_inverse_to_tails():
    for p in (0.5, 1e-5, 1e-12, 1e-100):
        limits = f_beyond(p, 1, np.array([50.0, 1e4]))
        np.testing.assert_allclose(log10_tail_f(limits, 1, np.array([50.0, 1e4])), -np.log10(p), rtol=1e-9)


def test_few_weights_span_all_ratios():
    """On the mice's matrix, whose eigenvalues lie between 5e-5 and 28: any λ between nodes, and both ends."""
    _, K, G, _, _ = mouse()
    n = len(K)
    basis = ScanBasis.of(np.full((n, 1), n**-0.5), K)
    assert basis.kept.shape[1] <= 50
    square = (basis.rotation @ G[:, ::90]) ** 2
    inner = basis.nodes[NODES_PER_SIDE : -NODES_PER_SIDE - 1]
    ratios = np.exp(inner + np.random.default_rng(0).uniform(0, 0.2, inner.size))
    for ratio in (0.0, *ratios, np.inf):
        if np.isinf(ratio):
            exact = basis.mean / basis.values
        else:
            exact = (1.0 + ratio * basis.mean) / (1.0 + ratio * basis.values)
        found = (square.T @ basis.kept) @ basis.mixing_at(np.array([ratio]))[:, 0]
        np.testing.assert_allclose(found, square.T @ exact, rtol=DENOMINATOR)
    np.testing.assert_allclose(basis.rotation @ basis.rotation.T, np.eye(n - 1), atol=1e-12)
    np.testing.assert_allclose(basis.rotation @ np.ones(n), 0.0, atol=1e-10)


def test_the_lowest_of_several_minima_is_found():
    """In 15 samples with a matrix of wide spectrum some markers have two minima of REML in λ: the lower is found."""
    rng = np.random.default_rng(2)
    n, s = 15, 2000
    vectors, _ = np.linalg.qr(rng.normal(size=(n, n)))
    K = (vectors * np.geomspace(1e-3, 1e3, n)) @ vectors.T
    data = pd.DataFrame({"id": np.arange(n), "y": np.linalg.cholesky(K + 0.1 * np.eye(n)) @ rng.normal(size=n)})
    G = rng.binomial(2, 0.5, size=(n, s)).astype(float)
    pairs, traits = engine_scan(data, "~ 1 + (1 | id)", K, G, tests=("wald",))
    basis, y = traits.rows.basis, traits.rotated[:, 0]
    star = basis.rotation @ G

    def criterion(ratio):
        weights = 1.0 / (1.0 + ratio * basis.values)
        a, b, squares = (weights * y) @ star, weights @ star**2, weights @ y**2
        return -np.sum(np.log(weights)) + np.log(b) + (basis.degrees - 1) * np.log(squares - a * a / b)

    grid = np.array([criterion(ratio) for ratio in (0.0, *np.exp(np.linspace(np.log(1e-7), np.log(1e6), 1000)))])
    inside = np.isfinite(pairs.ratio)
    found = np.array([criterion(pairs.ratio[place])[place] for place in np.flatnonzero(inside)])
    assert (found <= grid.min(axis=0)[inside] + 1e-9).all()
    local = (grid[1:-1] < grid[:-2]) & (grid[1:-1] < grid[2:])
    several = local.sum(axis=0) + (grid[0] <= grid[1]) > 1
    assert several[inside].sum() > 20
