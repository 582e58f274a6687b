"""Kenward and Roger's formulas by dense matrices, for models whose covariance is not linear in its parameters.

The information on the variance parameters is the expected one, with a residual structure the observed one, as in SAS.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm

DATA = lmm.datasets.sleepstudy()[np.random.default_rng(0).random(180) < 0.6]
DAYS = DATA["Days"].to_numpy(float)
SAME = (DATA["Subject"].to_numpy()[:, None] == DATA["Subject"].to_numpy()[None, :]).astype(float)
LAG = np.abs(DAYS[:, None] - DAYS[None, :])
EXACT = 1e-9


class Moving(lmm.covariance.AbstractCovariance):
    """A structure of a user's own, whose covariance [[1, s], [s, 1 + s²]] is not linear in s."""

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        return theta[0] * jnp.array([[1.0, 0.0], [theta[1], 1.0]])

    def parameters(self, columns):
        return lmm.covariance.Parameter(kind="sd"), lmm.covariance.Parameter("s", kind="number")

    def report(self, theta, factor, sigma):
        return jnp.stack([sigma * jnp.abs(theta[0]), theta[1]])


def slopes(a, ab, b):
    return SAME * (a + ab * (DAYS[:, None] + DAYS[None, :]) + b * DAYS[:, None] * DAYS[None, :])


def neighbors(p):
    """Ante-dependence over days: ten variances, then the correlations of neighbors."""
    links = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.log(p[10:]))])
    within = jnp.exp(-jnp.abs(links[:, None] - links[None, :]))
    sds = jnp.sqrt(p[:10])
    at = DAYS.astype(int)
    return (sds[:, None] * sds[None, :] * within)[at[:, None], at[None, :]] * SAME


EYE = np.eye(len(DATA))
HALVES = (DAYS > 4).astype(int)
BOTH = HALVES[:, None] + HALVES[None, :]
MODELS = {
    # formula, options, V of natural parameters with variances, these from the reported ones
    "positions": ("Reaction ~ Days + ou(Days | Subject)", {}, lambda p: p[0] * p[1] ** LAG * SAME + p[2] * EYE,
                  lambda v: (v[0] ** 2, v[1], v[2] ** 2)),
    "residual": ("Reaction ~ Days + (1 | Subject)", {"residual": "ou(Days | Subject)"},
                 lambda p: (p[0] + p[1] * p[2] ** LAG) * SAME, lambda v: (v[0] ** 2, v[1] ** 2, v[2])),
    "marginal": ("Reaction ~ Days", {"residual": "ou(Days | Subject)"}, lambda p: p[0] * p[1] ** LAG * SAME,
                 lambda v: (v[0] ** 2, v[1])),
    "neighbors": ("Reaction ~ Days", {"residual": "ad(Days | Subject)"}, neighbors,
                  lambda v: (*(v[:10] ** 2), *v[10:])),
    "equal": ("Reaction ~ Days", {"residual": "cs(Days | Subject, hom=True)"},
              lambda p: p[0] * SAME + p[1] * EYE, lambda v: (v[0] ** 2 * v[1], v[0] ** 2 * (1 - v[1]))),
    "dispersion": ("Reaction ~ Days + (Days | Subject)", {"dispersion": "~ Days"},
                   lambda p: slopes(*p[:3]) + p[3] * jnp.diag(jnp.exp(2.0 * p[4] * DAYS)),
                   lambda v: (v[0] ** 2, v[2] * v[0] * v[1], v[1] ** 2, v[3] ** 2, v[4])),
    "own class": ("Reaction ~ Days + (0 + C(half) | Subject)", {"covariance": {"Subject": Moving()}},
                  lambda p: p[0] * SAME * jnp.where(BOTH == 0, 1.0, jnp.where(BOTH == 1, p[1], 1.0 + p[1] ** 2))
                  + p[2] * EYE, lambda v: (v[0] ** 2, v[1], v[2] ** 2)),
}  # fmt: skip


def criterion(covariance, phi, x, y):
    v = covariance(phi)
    half = jnp.linalg.solve(v, x)
    _, logdet = jnp.linalg.slogdet(v)
    error = y - x @ jnp.linalg.solve(x.T @ half, half.T @ y)
    return logdet + jnp.linalg.slogdet(x.T @ half)[1] + error @ jnp.linalg.solve(v, error)


def dense(covariance, phi, x, y, *, observed):
    """Covariances with and without second derivatives of V, and degrees of freedom of each coefficient."""
    v, dv = covariance(phi), jax.jacfwd(covariance)(phi)
    ddv = jax.jacfwd(jax.jacfwd(covariance))(phi)
    inverse, s = np.linalg.inv(v), range(len(phi))
    half = inverse @ x
    vcov = np.linalg.inv(x.T @ half)
    p = [-half.T @ dv[..., i] @ half for i in s]
    q = [[half.T @ dv[..., i] @ inverse @ dv[..., j] @ half for j in s] for i in s]
    expected = np.array([
        [0.5 * np.trace(inverse @ dv[..., i] @ inverse @ dv[..., j]) - np.trace(vcov @ q[i][j])
         + 0.5 * np.trace(vcov @ p[i] @ vcov @ p[j]) for j in s] for i in s
    ])  # fmt: skip
    curvature = 0.5 * np.asarray(jax.hessian(lambda phi: criterion(covariance, phi, x, y))(phi))
    w = np.linalg.inv(curvature if observed else expected)
    linear = sum(w[i, j] * (q[i][j] - p[i] @ vcov @ p[j]) for i in s for j in s)
    second = sum(w[i, j] * half.T @ ddv[..., i, j] @ half for i in s for j in s)
    g = np.array([np.diag(vcov @ own @ vcov) for own in p]) / np.diag(vcov)
    return (
        vcov + 2 * vcov @ (linear - 0.25 * second) @ vcov,
        vcov + 2 * vcov @ linear @ vcov,
        2 / np.einsum("ic,ij,jc->c", g, w, g),
    )


@pytest.mark.parametrize("name", MODELS)
def test_formulas_are_those_of_dense_matrices(name, double_precision):
    formula, options, covariance, parameters = MODELS[name]
    fit = lmm.fit(formula, DATA.assign(half=HALVES), **options)
    phi = jnp.array(parameters(fit.variance()["estimate"].to_numpy()))
    np.testing.assert_allclose(covariance(phi), fit.marginal_cov(), atol=1e-6)
    x, y = fit.model_matrix().to_numpy(), DATA["Reaction"].to_numpy()
    adjusted, linear, df = dense(covariance, phi, x, y, observed="residual" in options)
    for word, expected in (("kenward-roger", adjusted), ("kenward-roger-linear", linear)):
        table = fit.coef(word)
        np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(expected)), rtol=1e-7)
        np.testing.assert_allclose(table["df"], df, rtol=1e-7)
    # The second derivatives count, but where the covariance is linear.
    assert (np.abs(adjusted / linear - 1).max() > 1e-4) == (name != "equal")


def test_with_a_residual_structure_one_contrast_has_satterthwaites_degrees_of_freedom():
    fit = lmm.fit("Reaction ~ Days", DATA, residual="cs(Days | Subject)")
    np.testing.assert_allclose(fit.coef("kenward-roger")["df"], fit.coef()["df"], rtol=1e-7)


def test_both_are_one_where_the_covariance_is_linear():
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", DATA)
    assert fit.coef("kenward-roger").equals(fit.coef("kenward-roger-linear"))


def test_at_a_boundary_a_term_of_zero_variance_has_no_part():
    residual = {"residual": "ou(Days | Subject)"}
    noise = np.linalg.cholesky(0.6**LAG * SAME) @ np.random.default_rng(1).normal(size=len(DATA))
    data = DATA.assign(noise=noise - 0.5 * SAME @ noise / SAME.sum(axis=0))
    flat, without = (lmm.fit(f"noise ~ Days{term}", data, **residual) for term in (" + (1 | Subject)", ""))
    assert (flat.status, without.status) == ("boundary", "interior")
    for word in ("kenward-roger", "kenward-roger-linear"):
        np.testing.assert_allclose(flat.coef(word), without.coef(word), rtol=1e-6)


def test_where_there_is_none():
    both = lmm.fit("Reaction ~ Days", DATA, residual="ou(Days | Subject)", dispersion="~ Days")
    with pytest.raises(lmm.OptionError, match="df: 'kenward-roger' needs a model"):
        both.coef("kenward-roger")


def test_where_a_correlation_is_one_nothing_is_made_up():
    """Its covariance matrix is singular but for rounding, and V is not linear in the dispersion."""
    singular = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        subject = np.unique(DATA["Subject"], return_inverse=True)[1]
        lines = rng.normal(size=18)[subject] * (1.0 + 0.3 * DAYS)
        data = DATA.assign(y=lines + rng.normal(size=len(DATA)) * np.exp(0.05 * DAYS))
        fit = lmm.fit("y ~ Days + (Days | Subject)", data, dispersion="~ Days")
        if fit.status == "boundary":
            singular += 1
            with pytest.raises(lmm.OptionError, match="no singular"):
                fit.coef("kenward-roger")
    assert singular >= 2
