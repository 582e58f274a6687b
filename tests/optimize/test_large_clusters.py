"""One large cluster: quasi-Newton steps find the optimum of Newton's method, whose Hessian would be dear.

Tolerance: both stop where nothing is left to win, 1e-7 in the deviance; standard errors come from the same exact
Hessian at points that differ by 1e-4 of them.
"""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.solvers import clusters
from jaxlmm.solvers.dense import dense

OPTIMUM = 1e-7
AT_THE_OPTIMUM = 1e-3
N = 264


def genomic(seed):
    counts = np.random.default_rng(seed).binomial(2, 0.3, (N, 800)).astype(float)
    centered = counts - counts.mean(axis=0)
    ids = [f"i{number}" for number in range(N)]
    matrix = centered @ centered.T
    return pd.DataFrame(matrix / np.trace(matrix) * N, index=ids, columns=ids)


ONE, OTHER = genomic(1), genomic(2)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    found = pd.DataFrame({"id": ONE.index, "x": rng.normal(size=N)})
    for name, variances in {"y": (0.8, 0.6), "boundary": (0.8, 0.0)}.items():
        root = np.linalg.cholesky(variances[0] * ONE + variances[1] * OTHER + 0.4 * np.eye(N))
        found[name] = 0.2 * found["x"] + root @ rng.normal(size=N)
    return found


@pytest.mark.parametrize("name", ["y", "boundary"])
def test_steps_on_a_learned_hessian_find_the_same_optimum(data, name, monkeypatch):
    def fit():
        return lmm.fit(f"{name} ~ x + (1 | id)", data, kinship={"id": [ONE, OTHER]})

    learned = fit()
    monkeypatch.setattr(dense, "EXPENSIVE_SIZE", N + 32)
    exact = fit()
    assert learned.status == exact.status == {"y": "interior", "boundary": "boundary"}[name]
    assert learned.deviance == pytest.approx(exact.deviance, abs=OPTIMUM)
    for column in ("estimate", "std_error"):
        found, wanted = (one.variance()[column].to_numpy() for one in (learned, exact))
        assert np.allclose(found, wanted, rtol=AT_THE_OPTIMUM, equal_nan=True)
    assert abs(learned.certificate.gradient) < 1e-6


def test_a_weak_structure_along_positions_is_not_lost():
    """Its range has no curvature that is known beforehand: exact steps find the optimum, learned ones ended at zero."""
    rng = np.random.default_rng(3)
    time = np.sort(rng.uniform(0.0, 100.0, N))
    root = np.linalg.cholesky(np.exp(-np.abs(time[:, None] - time) / 5.0) + 1e-10 * np.eye(N))
    data = pd.DataFrame({"id": ONE.index, "h": rng.integers(0, 12, N), "x": rng.normal(size=N)})
    data["y"] = 0.4 * root @ rng.normal(size=N) + rng.normal(size=N) + 0.7 * rng.normal(size=12)[data["h"]]
    field = {"id": lmm.covariance.OU(coords=pd.DataFrame({"time": time}, index=ONE.index))}
    found = lmm.fit("y ~ x + (1 | id) + (1 | h)", data, kinship=field)
    sds = {"id: sd": 0.4, "id: rho": 0.8, "h: sd(Intercept)": 0.7}
    begun = lmm.fit("y ~ x + (1 | id) + (1 | h)", data, kinship=field, start=sds)
    assert found.deviance <= begun.deviance + OPTIMUM


@pytest.mark.parametrize("digits", [None, 7])
def test_roots_of_matrices_that_are_semidefinite_but_for_rounding(digits):
    """As read from files of single precision, or of few digits: a root is that of the matrix but for this rounding."""
    counts = np.random.default_rng(5).binomial(2, 0.3, (200, 50)).astype(float)
    centered = counts - counts.mean(axis=0)
    matrix = centered @ centered.T / 50
    rough = matrix.astype(np.float32).astype(float) if digits is None else matrix.round(digits)
    root, regular = clusters._root(rough)
    assert not regular
    assert np.abs(root @ root.T - rough).max() < 10.0 * np.abs(np.linalg.eigvalsh(rough)[:140]).max()
