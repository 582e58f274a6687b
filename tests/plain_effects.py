"""Correlated effects of one grouping factor in plain NumPy: data, the criterion, its optimum under equations, by SciPy.

The criterion is a normal density at a covariance of the effects; SciPy's SLSQP minimizes it over lower triangular
factors under the equations of what is held, from an optimum of ours and from elsewhere.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm

SAME = 1e-8
"""The same function by other arithmetic: rounding of a deviance of about 700."""
OPTIMUM = 2e-6
"""SLSQP with differences for gradients is this far from an optimum at most; ours may be lower, not higher."""
EXACT = 1e-12
"""What is held is reported as given."""

NAMES = ("Intercept", "a", "b", "c")
RESIDUAL = "Residual: sd"


def simulated(q, seed=4, levels=24, rows=9):
    """Rows of groups with q correlated effects."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(rng.normal(size=(levels * rows, 3)), columns=list("abc"))
    data["g"] = np.repeat(np.arange(levels), rows).astype(str)
    z = np.column_stack([np.ones(len(data)), data[list("abc")]])[:, :q]
    root = np.linalg.cholesky(0.5 * np.eye(q) + 0.5) * np.array([1.2, 0.8, 0.6, 0.9])[:q, None]
    effects = rng.normal(size=(levels, q)) @ root.T
    data["y"] = (
        1.0 + 0.5 * data["a"] + np.sum(z * np.repeat(effects, rows, axis=0), axis=1) + rng.normal(size=len(data))
    )
    return data


def formula(q):
    return "y ~ a + (" + " + ".join(("1", "a", "b", "c")[:q]) + " | g)"


def parameters(q):
    names = NAMES[:q]
    sds = [f"g: sd({name})" for name in names]
    return sds + [f"g: corr({one}, {other})" for one, other in itertools.combinations(names, 2)]


def covariance(theta, q):
    lower = np.zeros((q, q))
    lower[np.tril_indices(q)] = theta
    return lower @ lower.T


def natural(v):
    sd = np.sqrt(np.diag(v))
    rows, columns = np.triu_indices(len(sd), 1)
    return np.append(sd, v[rows, columns] / (sd[rows] * sd[columns]))


def matrix(values, q):
    """The covariance of the effects from a fit's natural parameters; an undefined correlation is 0."""
    sd = np.array([values[name] for name in parameters(q)[:q]])
    corr = np.eye(q)
    for (i, j), name in zip(itertools.combinations(range(q), 2), parameters(q)[q:], strict=True):
        corr[i, j] = corr[j, i] = np.nan_to_num(values[name])
    return corr * np.outer(sd, sd)


def deviance(data, v, sigma, method="REML"):
    """The plain criterion at a covariance v of the effects of a group, and a residual standard deviation."""
    q, levels = len(v), data["g"].nunique()
    z = np.column_stack([np.ones(len(data)), data[list("abc")]])[:, :q].reshape(levels, -1, q)
    x = np.column_stack([np.ones(len(data)), data["a"]]).reshape(levels, -1, 2)
    y = data["y"].to_numpy().reshape(levels, -1, 1)
    blocks = z @ v @ z.swapaxes(1, 2) + sigma**2 * np.eye(z.shape[1])
    inverse = np.linalg.inv(blocks)
    information, score = np.sum(x.swapaxes(1, 2) @ inverse @ x, 0), np.sum(x.swapaxes(1, 2) @ inverse @ y, 0)
    square = np.sum(y.swapaxes(1, 2) @ inverse @ y) - (score.T @ np.linalg.solve(information, score)).item()
    n = len(data) - (2 if method == "REML" else 0)
    extra = np.linalg.slogdet(information)[1] if method == "REML" else 0.0
    return np.sum(np.linalg.slogdet(blocks)[1]) + extra + square + n * np.log(2.0 * np.pi)


def constrained(data, q, fixed, starts, method="REML"):
    """The lowest plain criterion at which the ``fixed`` parameters have their values, from some covariances."""
    names = parameters(q)
    held = [(names.index(name), value) for name, value in fixed.items() if name in names]

    def objective(x):
        sigma = fixed.get(RESIDUAL, np.exp(np.clip(x[-1], -5.0, 5.0)))
        return deviance(data, covariance(np.clip(x[:-1], -50.0, 50.0), q), sigma, method)

    def errors(x):
        found = natural(covariance(x[:-1], q))
        return np.array([found[number] - value for number, value in held])

    ends = []
    for v, sigma in starts:
        root = np.linalg.cholesky(v + 1e-10 * np.eye(q))[np.tril_indices(q)]
        options = {"maxiter": 500, "ftol": 1e-13}
        found = minimize(
            objective, np.append(root, np.log(sigma)), method="SLSQP", options=options,
            constraints=[{"type": "eq", "fun": errors}] if held else [],
        )  # fmt: skip
        if np.abs(errors(found.x)).max(initial=0.0) < 1e-7:
            ends.append(found.fun)
    return min(ends)


def lowest_near(data, q, fixed, values, method="REML"):
    """The plain optimum from natural parameters ``values``, and from effects that are independent there."""
    v, sigma = matrix(values, q), values[RESIDUAL]
    spread = np.diag(np.diag(v)) + 0.05 * np.eye(q)
    return constrained(data, q, fixed, [(v, sigma), (spread, 1.1 * sigma)], method)


def check(q, data, fixed, method="REML"):
    """A fit with parameters ``fixed``, held against the plain criterion and its constrained optimum."""
    fit = lmm.fit(formula(q), data, fixed=fixed, method=method)
    values = fit.variance()["estimate"].to_dict()
    assert fit.deviance == pytest.approx(deviance(data, matrix(values, q), values[RESIDUAL], method), abs=SAME)
    for name, value in fixed.items():
        assert values[name] == pytest.approx(value, rel=EXACT, abs=EXACT)
    lowest = lowest_near(data, q, fixed, values, method)
    assert fit.deviance <= lowest + OPTIMUM
    assert fit.deviance == pytest.approx(lowest, abs=1e-3)
    assert fit.status in ("interior", "boundary")
    table = fit.variance()
    assert table["fixed"].sum() == len(fixed)
    assert table["std_error"][list(fixed)].isna().all()
    assert fit.n_params == 2 + len(table) - len(fixed)
    return fit
