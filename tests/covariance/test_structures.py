"""Built-in structures: their covariance by a plain formula in NumPy, and the property test that authors get."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import block_diag, toeplitz
from scipy.special import gamma, kv

import jaxlmm as lmm
from jaxlmm.testing import check_covariance

ROUNDING = 1e-12  # of a matrix with entries of the order of 1
ROUNDING_OF_ROOTS = 2e-11  # elimination stops at pivots of rounding, near which a smooth kernel's matrix is singular

covariance = lmm.covariance
STEPS = np.array([[1.0], [2.0], [4.0], [7.0]])
PLANE = np.random.default_rng(0).normal(size=(5, 2))
SDS = np.array([1.0, 0.5, 2.0, 1.2])
ROOTS = np.sqrt(SDS)


def gaps(coords):
    return np.sqrt(((coords[:, None] - coords[None]) ** 2).sum(-1))


def exchangeable(q, rho):
    return (1.0 - rho) * np.eye(q) + rho


def angle_of(rho, q):
    """The angle of compound symmetry: cos²u − sin²u / (q − 1) is rho."""
    return np.arccos(np.sqrt((rho * (q - 1) + 1) / q))


def from_partial(partial):
    """Autocorrelations with given partial ones: the last entry of each inverse, solved for lag by lag."""
    rho = [1.0]
    for k, alpha in enumerate(partial, start=1):
        if k == 1:
            rho.append(alpha)
            continue
        known = toeplitz(rho[:k])[: k - 1, : k - 1]
        ahead, back = np.array(rho[1:k]), np.array(rho[1:k])[::-1]
        solved = np.linalg.solve(known, back)
        rho.append(alpha * (1.0 - back @ solved) + ahead @ solved)
    return np.array(rho)


def moving(phi, theta, lags):
    """Autocorrelations from the weights of a long moving average."""
    weights = [1.0]
    for k in range(1, 3000):
        own = theta[k - 1] if k <= len(theta) else 0.0
        weights.append(own + sum(phi[j] * weights[k - 1 - j] for j in range(len(phi)) if k > j))
    weights = np.array(weights)
    found = np.array([weights[: len(weights) - k] @ weights[k:] for k in range(lags)])
    return found / found[0]


def matern(distance, nu):
    x = np.where(distance > 0, distance, 1.0)
    return np.where(distance > 0, 2.0 ** (1.0 - nu) / gamma(nu) * x**nu * kv(nu, x), 1.0)


LOADINGS = np.array([[0.8, 0.0], [0.5, 0.6], [-0.3, 0.2], [0.1, -0.7]])
KNOWN = exchangeable(4, 0.3)
PRODUCTS = np.array([[np.prod([0.5, 0.3, 0.8][min(i, j) : max(i, j)]) for j in range(4)] for i in range(4)])
NUMBERS = np.arange(4.0)[:, None]
CASES = {
    "cs, hom": (covariance.CompoundSymmetry(hom=True), [1.3, angle_of(-0.2, 4)], NUMBERS, 1.69 * exchangeable(4, -0.2)),
    "cs": (
        covariance.CompoundSymmetry(), [*ROOTS, angle_of(0.6, 4)], NUMBERS, np.outer(SDS, SDS) * exchangeable(4, 0.6)
    ),
    "cs at its upper end": (covariance.CompoundSymmetry(hom=True), [1.0, 0.0], NUMBERS, np.ones((4, 4))),
    "cs at its lower end": (covariance.CompoundSymmetry(hom=True), [1.0, np.pi / 2], NUMBERS, exchangeable(4, -1 / 3)),
    "ar1": (covariance.AR1(), [1.3, np.arccos(0.6)], STEPS, 1.69 * 0.6 ** gaps(STEPS)),
    "ar1, negative": (covariance.AR1(), [1.0, np.arccos(-0.5)], STEPS, np.power(-0.5, gaps(STEPS))),
    "ar1, nearly 1": (covariance.AR1(), [1.0, 1e-5], STEPS, np.cos(1e-5) ** gaps(STEPS)),
    "ar1 at 1": (covariance.AR1(), [1.0, 0.0], STEPS, np.ones((4, 4))),
    "ar1, het": (covariance.AR1(hom=False), [*ROOTS, 1.0], STEPS, np.outer(SDS, SDS) * np.cos(1.0) ** gaps(STEPS)),
    "ad": (
        covariance.AnteDependence(), [*ROOTS, *np.arccos([0.5, 0.3, 0.8])], NUMBERS, np.outer(SDS, SDS) * PRODUCTS
    ),
    "toep, hom": (
        covariance.Toeplitz(hom=True), [1.5, *np.arccos([0.5, 0.2, -0.3])], NUMBERS,
        2.25 * toeplitz(from_partial([0.5, 0.2, -0.3])),
    ),
    "toep with a gap": (
        covariance.Toeplitz().placed(STEPS[:3]), [1.0, 1.0, 1.0, *np.arccos([0.5, 0.2, -0.3])], STEPS[:3],
        from_partial([0.5, 0.2, -0.3])[gaps(STEPS[:3]).astype(int)],
    ),
    "arma(1, 1)": (
        covariance.ARMA(), [1.0, np.arccos(0.6), np.arccos(-0.4)], NUMBERS, toeplitz(moving([0.6], [0.4], 4))
    ),
    "arma(2, 1) with gaps": (
        covariance.ARMA(p=2, q=1).placed(STEPS), [1.0, *np.arccos([0.5, -0.3, 0.4])], STEPS,
        moving([0.65, -0.3], [-0.4], 7)[gaps(STEPS).astype(int)],
    ),
    "ou": (covariance.OU(), [1.2, 0.3], STEPS, 1.44 * np.exp(-np.exp(0.3) * gaps(STEPS))),
    "exp, nugget": (
        covariance.Exponential(nugget=True), [1.2, 0.3, 0.5], PLANE,
        1.44 * np.where(np.eye(5) > 0, 1.0, 0.8 * np.exp(-gaps(PLANE) / np.exp(0.3))),
    ),
    "gau": (covariance.Gaussian(), [1.2, -0.3], PLANE, 1.44 * np.exp(-((gaps(PLANE) / np.exp(-0.3)) ** 2))),
    "mat": (
        covariance.Matern(), [1.2, 0.3, np.log(2.3)], PLANE, 1.44 * matern(gaps(PLANE) / np.exp(0.3), 2.3)
    ),
    "rr": (
        covariance.ReducedRank(d=2), [0.8, 0.5, -0.3, 0.1, 0.6, 0.2, -0.7], NUMBERS, LOADINGS @ LOADINGS.T
    ),
    "fa": (
        covariance.FactorAnalytic(d=1), [0.8, 0.5, -0.3, 0.1, *SDS], NUMBERS,
        np.outer(LOADINGS[:, 0], LOADINGS[:, 0]) + np.diag(SDS**2),
    ),
    "diag, hom": (covariance.Diagonal(hom=True), [1.5], NUMBERS, 2.25 * np.eye(4)),
    "known": (covariance.Known(KNOWN), [2.0], NUMBERS, 4.0 * KNOWN),
    "sum": (
        covariance.Sum(covariance.Known(KNOWN), covariance.AR1()), [2.0, 0.5, np.arccos(0.6)], NUMBERS,
        4.0 * KNOWN + 0.25 * 0.6 ** gaps(NUMBERS),
    ),
    "kron": (
        covariance.Kron(covariance.AR1(), covariance.Unstructured(), size=2), [2.0, np.arccos(0.6), 0.5, 0.7], NUMBERS,
        np.kron(4.0 * 0.6 ** gaps(NUMBERS[:2]), [[1.0, 0.5], [0.5, 0.74]]),
    ),
    "by level": (
        covariance.ByLevel(covariance.AR1(), ("a", "b")), [2.0, np.arccos(0.6), 0.5, np.arccos(0.1)], NUMBERS,
        block_diag(4.0 * 0.6 ** gaps(NUMBERS[:2]), 0.25 * 0.1 ** gaps(NUMBERS[:2])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_covariance_is_that_of_its_formula(name):
    structure, theta, coords, expected = CASES[name]
    with jax.enable_x64(True):
        theta, coords = jnp.asarray(theta, float), jnp.asarray(coords)
        assert structure.n_params(len(coords)) == theta.size == structure.start(np.asarray(coords)).size
        found, root = structure.covariance(theta, coords), structure.cholesky(theta, coords)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(root @ root.T, expected, rtol=0, atol=ROUNDING_OF_ROOTS)


TRIED = ("cs", "ar1, het", "ad", "toep, hom", "arma(1, 1)", "exp, nugget", "mat", "rr", "fa", "kron", "by level")


@pytest.mark.parametrize("name", TRIED)
def test_property_test_of_authors(name):
    """Compiled and mapped: values, first and second derivatives, also with parameters at zero; names and report."""
    structure, _, coords, _ = CASES[name]
    check_covariance(structure, coords=coords)


NATURAL = {
    "cs": [2.0, 1.0, 4.0, 2.4, 0.6],
    "ar1, negative": [2.0, -0.5],
    "ad": [2.0, 1.0, 4.0, 2.4, 0.5, 0.3, 0.8],
    "toep, hom": [3.0, *from_partial([0.5, 0.2, -0.3])[1:]],
    "arma(2, 1) with gaps": [2.0, 0.65, -0.3, -0.4],
    "exp, nugget": [2.4, np.exp(0.3), 0.2],
    "mat": [2.4, np.exp(0.3), 2.3],
    "rr": [1.6, 1.0, -0.6, 0.2, 1.2, 0.4, -1.4],
    "kron": [4.0, 0.6, np.sqrt(0.74), 0.5 / np.sqrt(0.74)],
    "by level": [4.0, 0.6, 1.0, 0.1],
}
"""What a table shows at sigma = 2, in units of the response."""


@pytest.mark.parametrize("name", NATURAL)
def test_natural_parameters(name):
    structure, theta, coords, _ = CASES[name]
    with jax.enable_x64(True):
        theta, coords = jnp.asarray(theta, float), jnp.asarray(coords)
        factor = structure.cholesky(theta, coords)
        found = structure.report(theta, factor, jnp.asarray(2.0))
        names = structure.parameters([f"c{k}" for k in range(len(coords))])
    assert len(names) == found.size
    np.testing.assert_allclose(found, NATURAL[name], rtol=1e-10)


@pytest.mark.parametrize("name", ["cs", "ar1 at 1", "ad", "exp, nugget", "rr", "fa", "by level"])
def test_boundary_candidates_near_the_boundary_are_simpler_points(name):
    """Each valid one but the last has parameters at an end, has moved little, and has a covariance of lower rank."""
    structure, theta, coords, _ = CASES[name]
    with jax.enable_x64(True):
        theta, coords = jnp.asarray(theta, float), jnp.asarray(coords)
        point = theta.at[-1].set(0.01 if name != "ad" else np.pi - 0.01)
        size = 1 if name == "exp, nugget" else len(coords)
        found = structure.boundary_candidates(point, jnp.eye(size), jnp.eye(size), coords)
        assert found.theta.shape == found.active_set.shape == (len(found.valid), theta.size)
        assert bool(found.valid[-1])
        assert bool(jnp.all(found.theta[-1] == point))
        assert not found.active_set[-1].any()
        simpler = [k for k in range(len(found.valid) - 1) if found.valid[k]]
        for k in simpler:
            assert bool(jnp.any(found.active_set[k] > 0))
            near, far = structure.covariance(found.theta[k], coords), structure.covariance(point, coords)
            assert float(jnp.max(jnp.abs(near - far))) < 0.1
    assert bool(simpler) == (name != "rr")  # one loading near zero leaves its rank as it is


def test_structures_that_do_not_fit_say_so():
    with pytest.raises(lmm.OptionError, match="d from 1 to the 3 columns"):
        covariance.ReducedRank(d=4).check(np.zeros((3, 1)))
    with pytest.raises(lmm.OptionError, match="no more parameters than a covariance"):
        covariance.FactorAnalytic(d=2).check(np.zeros((3, 1)))
    with pytest.raises(lmm.OptionError, match="symmetric"):
        covariance.Known(np.array([[1.0, 0.2], [0.4, 1.0]])).check(np.zeros((2, 1)))
    with pytest.raises(lmm.OptionError, match="positive semidefinite"):
        covariance.Known(np.array([[1.0, 2.0], [2.0, 1.0]])).check(np.zeros((2, 1)))
    with pytest.raises(lmm.OptionError, match="multiple of size=2"):
        covariance.Kron(covariance.AR1(), covariance.AR1(), size=2).check(np.zeros((3, 1)))
    with pytest.raises(lmm.OptionError, match="ou"):
        covariance.AR1().check(np.array([[0.0], [1.5]]))


class Neither(covariance.AbstractCovariance):
    def n_params(self, q):
        return 1


def test_a_class_writes_a_factor_or_a_covariance():
    with pytest.raises(TypeError, match="cholesky and covariance"):
        Neither()


def test_a_sum_reports_from_the_positions_that_it_acts_along():
    """A part without a report of its own has the standard deviations at these, not at 0, 1, …"""
    walk = covariance.Custom(lambda theta, coords: theta[0] ** 2 * jnp.minimum(coords, coords.T), 1)
    both = covariance.Sum(covariance.Diagonal(hom=True), walk).placed(STEPS)
    with jax.enable_x64(True):
        theta = jnp.array([1.0, 0.5])
        report = both.report(theta, both.cholesky(theta, jnp.asarray(STEPS)), jnp.asarray(2.0))
    np.testing.assert_allclose(report[1:5], 2.0 * 0.5 * np.sqrt(STEPS[:, 0]), rtol=1e-10)


def test_a_kronecker_product_has_no_positions():
    with pytest.raises(lmm.OptionError, match="within the columns"):
        covariance.Kron(covariance.AR1(), covariance.AR1(), size=2).placed(NUMBERS)


@pytest.mark.parametrize("hom", [True, False])
def test_a_start_of_compound_symmetry_among_columns(hom):
    formula, data = f"angle ~ temp + cs(0 + recipe | replicate, hom={hom})", lmm.datasets.cake()
    fit = lmm.fit(formula, data)
    started = lmm.fit(formula, data, start={"replicate: rho": 0.3, "Residual: sd": 6.0})
    assert fit.status == started.status
    assert started.deviance == pytest.approx(fit.deviance, abs=1e-6)
