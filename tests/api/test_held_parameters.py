"""Parameters of larger terms, of users' structures and at boundaries that are held: against constrained plain optima.

The plain criterion is a NumPy normal density over lower triangular factors; SciPy's SLSQP minimizes it under the
equations of what is held, from our optimum and from elsewhere.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm
from jaxlmm.engine import profile
from jaxlmm.linalg import semidefinite_cholesky
from jaxlmm.model import Natural, held_layout
from jaxlmm.solvers import Moments

from references import Exchangeable

SAME = 1e-8
"""The same function by other arithmetic: rounding of a deviance of about 700."""
OPTIMUM = 2e-6
"""SLSQP with differences for gradients is this far from an optimum at most; ours may be lower, not higher."""
EXACT = 1e-12
"""What is held is reported as given."""

NAMES = ("Intercept", "a", "b", "c")


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
        sigma = fixed.get("Residual: sd", np.exp(np.clip(x[-1], -5.0, 5.0)))
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
            constraints=[{"type": "eq", "fun": errors}],
        )  # fmt: skip
        if np.abs(errors(found.x)).max() < 1e-7:
            ends.append(found.fun)
    return min(ends)


def matrix(values, q):
    """The covariance of the effects from a fit's natural parameters; an undefined correlation is 0."""
    sd = np.array([values[name] for name in parameters(q)[:q]])
    corr = np.eye(q)
    for (i, j), name in zip(itertools.combinations(range(q), 2), parameters(q)[q:], strict=True):
        corr[i, j] = corr[j, i] = np.nan_to_num(values[name])
    return corr * np.outer(sd, sd)


def check(q, data, fixed, method="REML"):
    fit = lmm.fit(formula(q), data, fixed=fixed, method=method)
    values = fit.variance()["estimate"].to_dict()
    v, sigma = matrix(values, q), values["Residual: sd"]
    assert fit.deviance == pytest.approx(deviance(data, v, sigma, method), abs=SAME)
    for name, value in fixed.items():
        assert values[name] == pytest.approx(value, rel=EXACT, abs=EXACT)
    spread = np.diag(np.diag(v)) + 0.05 * np.eye(q)
    lowest = constrained(data, q, fixed, [(v, sigma), (spread, 1.1 * sigma)], method)
    assert fit.deviance <= lowest + OPTIMUM
    assert fit.deviance == pytest.approx(lowest, abs=1e-3)
    assert fit.status in ("interior", "boundary")
    table = fit.variance()
    assert table["fixed"].sum() == len(fixed)
    assert table["std_error"][list(fixed)].isna().all()
    assert fit.n_params == 2 + len(table) - len(fixed)
    return fit


THREE, FOUR = simulated(3), simulated(4, levels=20)
VALUES = {"sd": 0.7, "corr": 0.25}


def value(name):
    return VALUES[name.split(": ")[1].split("(")[0]]


@pytest.mark.parametrize("name", parameters(3))
def test_each_parameter_of_three_columns(name):
    fit = check(3, THREE, {name: value(name)})
    others = [other for other in parameters(3) if other != name]
    assert (fit.variance()["std_error"][others] > 0).all()


@pytest.mark.parametrize("name", ["g: sd(b)", "g: corr(Intercept, c)"])
def test_a_parameter_of_four_columns(name):
    check(4, FOUR, {name: value(name)})


@pytest.mark.parametrize(
    "names",
    [
        ("g: sd(Intercept)", "g: sd(a)", "g: sd(b)"),
        ("g: corr(Intercept, a)", "g: corr(Intercept, b)", "g: corr(a, b)"),
        tuple(parameters(3)),
    ],
)
def test_several_together(names):
    values = {name: 1.1 if name == "Residual: sd" else value(name) for name in names}
    check(3, THREE, values)


def test_all_of_four_columns():
    check(4, FOUR, {name: value(name) for name in parameters(4)})


def test_standard_errors_are_those_of_the_plain_criterion_on_the_surface():
    """By the profile's own curvature: what is held beside a parameter leaves it the variance of the smaller model."""
    held = {"g: sd(a)": 0.7}
    fit = lmm.fit(formula(3), THREE, fixed=held)
    for name in ("g: sd(b)", "g: sd(Intercept)"):
        row = fit.variance().loc[name]
        step = 0.02 * row["std_error"]
        sides = [fit.update(fixed=held | {name: row["estimate"] + s}).deviance for s in (-step, step)]
        curvature = (sum(sides) - 2.0 * fit.deviance) / step**2
        assert np.sqrt(2.0 / curvature) == pytest.approx(row["std_error"], rel=2e-3)


def test_a_standard_deviation_far_below_that_of_the_residual():
    """And a response in another unit, at whose scale the start stands nowhere near what is held."""
    check(3, THREE, {"g: sd(a)": 1e-3})
    responses = THREE[["y"]].assign(large=1e4 * THREE["y"])
    many = lmm.fit_many(formula(3).replace("y ~", "~"), THREE, responses=responses, fixed={"g: sd(a)": 0.7})
    v = matrix(many.variance().query("response == 'large'").set_index("parameter")["estimate"], 3)
    sigma = many.glance()["sigma"][1]
    large = THREE.assign(y=responses["large"])
    assert many.glance()["status"].isin(["interior", "boundary"]).all()
    assert many.glance()["deviance"][1] == pytest.approx(deviance(large, v, sigma), abs=1e-6)
    lowest = constrained(THREE, 3, {"g: sd(a)": 0.7e-4}, [(v / 1e8, sigma / 1e4), (0.5 * np.eye(3), 1.0)])
    shift = 2.0 * (len(THREE) - 2) * np.log(1e4)
    assert many.glance()["deviance"][1] - shift <= lowest + OPTIMUM


def test_a_start_that_is_impossible_at_the_scale_of_one_response():
    responses = THREE[["y"]].assign(far=1e100 * THREE["y"])
    options = {"fixed": {"Residual: sd": 1.0}, "start": {"g: sd(Intercept)": 1.0, "g: sd(a)": 0.5}}
    many = lmm.fit_many(formula(2).replace("y ~", "~"), THREE, responses=responses, **options)
    assert many.glance()["status"].tolist() == ["interior", "not_converged"]


# ---- at boundaries ---------------------------------------------------------------------------------------------------


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
    kept = ["g: sd(Intercept)", "g: sd(a)", "g: corr(Intercept, a)", "Residual: sd"]
    for column in ("estimate", "std_error"):
        mine, theirs = fit.variance()[column][kept], without.variance()[column][kept]
        assert mine.to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-6)


@pytest.mark.parametrize("correlation", [1.0, -1.0])
def test_a_correlation_held_at_its_end(correlation):
    """As one effect of two columns, b ± its share of a: against the plain optimum over the two lengths."""
    fit = lmm.fit(formula(2), THREE, fixed={"g: corr(Intercept, a)": correlation})
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


def test_a_free_standard_deviation_that_vanishes_beside_a_held_correlation():
    """Its multiplier is the slope in the standard deviation, averaged over rows, in units of the residual's."""
    rng = np.random.default_rng(8)
    data = THREE.assign(y=rng.normal(size=len(THREE)) + np.repeat(rng.normal(size=24), 9))
    fit = lmm.fit(formula(2), data, fixed={"g: corr(Intercept, a)": 0.6})
    other = lmm.fit(formula(2), data, fixed={"g: corr(Intercept, a)": -0.6})
    vanished = [found for found in (fit, other) if found.variance()["estimate"]["g: sd(a)"] == 0.0]
    assert vanished  # on one side of zero at least
    for found in vanished:
        assert found.status == "boundary"
        alone = lmm.fit("y ~ a + (1 | g)", data)
        assert found.deviance == pytest.approx(alone.deviance, abs=SAME)
        (multiplier,) = found.certificate.multipliers.to_numpy()
        correlation = 0.6 if found is fit else -0.6
        sd, sigma = found.variance()["estimate"][["g: sd(Intercept)", "Residual: sd"]]
        step = 1e-5
        v = np.array([[sd**2, correlation * sd * step], [correlation * sd * step, step**2]])
        slope = (deviance(data, v, sigma) - deviance(data, np.diag([sd**2, 0.0]), sigma)) / step
        assert multiplier > 0
        assert multiplier == pytest.approx(slope * sigma / np.sqrt(np.mean(data["a"] ** 2)), rel=1e-3)


# ---- structures of one's own -----------------------------------------------------------------------------------------


def test_a_structure_of_ones_own_by_name():
    """One standard deviation determines those of all columns, one correlation all correlations."""
    best = lmm.fit(formula(3), THREE, covariance={"g": Exchangeable()})
    values = best.variance()["estimate"]
    for name in ("g: corr(a, b)",):
        same = best.update(fixed={name: float(values[name])})
        assert same.deviance == pytest.approx(best.deviance, abs=SAME)
        assert same.n_params == best.n_params - 1
        moved = float(values[name]) * 0.8
        fit = best.update(fixed={name: moved})
        found = fit.variance()["estimate"]
        assert found[name] == pytest.approx(moved, rel=EXACT)
        kind = name.split("(")[0]
        alike = [other for other in found.index if other.startswith(kind)]
        assert found[alike].to_numpy() == pytest.approx(moved, rel=1e-8)

        def objective(x, held=moved, kind=kind):
            sd, corr = (held, np.tanh(x[0])) if kind.endswith("sd") else (np.exp(x[0]), held)
            return deviance(THREE, sd**2 * (corr + (1.0 - corr) * np.eye(3)), np.exp(x[1]))

        lowest = min(
            minimize(objective, start, method="Nelder-Mead", tol=1e-10).fun for start in ([0.0, 0.0], [0.5, 0.2])
        )
        assert fit.deviance == pytest.approx(lowest, abs=1e-6)


def test_values_that_a_structure_cannot_have():
    with pytest.raises(lmm.OptionError, match="expected values that"):
        lmm.fit(formula(3), THREE, covariance={"g": Exchangeable()}, fixed={"g: sd(a)": 0.7, "g: sd(b)": 0.9})
    with pytest.raises(lmm.OptionError, match="eigenvalue"):
        lmm.fit(
            formula(3), THREE, fixed={"g: corr(a, b)": 0.9, "g: corr(Intercept, a)": 0.9, "g: corr(Intercept, b)": -0.9}
        )


def test_units_of_the_response():
    fixed = {"g: sd(a)": 0.7, "g: corr(a, b)": 0.2}
    fit = lmm.fit(formula(3), THREE, fixed=fixed)
    small = lmm.fit(formula(3), THREE.assign(y=1e-5 * THREE["y"]), fixed=fixed | {"g: sd(a)": 0.7e-5})
    count = len(THREE) - 2
    assert small.deviance - 2.0 * count * np.log(1e-5) == pytest.approx(fit.deviance, abs=1e-7)


def test_a_profile_is_the_fits_at_each_value():
    """Values of several parameters at once, some of them of one alone, some of two."""
    fit = lmm.fit(formula(3), THREE)
    labels, best = fit.frame.labels, fit.variance()["estimate"]
    grid = [{name: float(best[name]) * factor} for name in ("g: sd(a)", "g: sd(b)") for factor in (0.8, 1.0, 1.3)]
    grid += [{"g: sd(a)": 0.9, "g: sd(b)": 0.5}]
    with jax.enable_x64(True):
        held = [Natural.of(fit.design, labels.blocks, values) for values in grid]
        layouts = [held_layout(fit.design, values) for values in (held[0], held[-1])]
        assert [layout.n_estimated for layout in layouts] == [6, 5]
        assert jax.tree.structure(layouts[0]) == jax.tree.structure(layouts[1])  # one function for all
        found = profile(fit.design, THREE["y"].to_numpy(), solver=Moments, method="REML", held=held)
    assert found.converged.all()
    expected = [fit.update(fixed=values).deviance for values in grid]
    assert found.deviance == pytest.approx(np.array(expected), abs=SAME)


# ---- what a class reports, and how many parameters are left ----------------------------------------------------------


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
    lowest = min(minimize(objective, start, method="BFGS").fun for start in starts)
    assert fit.deviance == pytest.approx(lowest, abs=1e-4)
    assert fit.deviance <= lowest + OPTIMUM


def test_a_perfect_correlation_leaves_the_standard_errors_of_the_two_lengths():
    sleep = lmm.datasets.sleepstudy()
    model, name = "Reaction ~ Days + (Days | Subject)", "Subject: corr(Intercept, Days)"
    ends, near = (lmm.fit(model, sleep, method="ML", fixed={name: value}) for value in (1.0, 1.0 - 1e-7))
    assert ends.n_params == near.n_params == 5
    assert ends.deviance == pytest.approx(near.deviance, abs=1e-3)
    for row in ("Subject: sd(Intercept)", "Subject: sd(Days)", "Residual: sd"):
        mine, theirs = (fit.variance()["std_error"][row] for fit in (ends, near))
        assert mine == pytest.approx(theirs, rel=1e-2)


def test_a_process_that_vanishes_beside_a_decay_that_is_held():
    rng = np.random.default_rng(2)
    wave = np.tile([1.0, -1.0, 1.0, -1.0], 20) + 0.1 * rng.normal(size=80)
    data = pd.DataFrame({"y": wave, "t": np.tile(np.arange(4.0), 20), "g": np.repeat(np.arange(20), 4).astype(str)})
    fit = lmm.fit("y ~ 1 + ou(t | g)", data, fixed={"g: rho": 0.5})
    assert fit.status == "boundary"
    assert fit.variance()["estimate"]["g: sd"] == 0.0
    assert fit.variance()["at_boundary"]["g: sd"]


def test_the_first_of_two_that_vanishes_beside_a_held_correlation():
    """In either order of the columns."""
    rng = np.random.default_rng(8)
    data = THREE.assign(y=rng.normal(size=len(THREE)) + np.repeat(rng.normal(size=24), 9))
    fits = [
        lmm.fit(f"y ~ a + (0 + {columns} | g)", data.assign(one=1.0), fixed={f"g: corr({names})": 0.6})
        for columns, names in (("one + a", "one, a"), ("a + one", "a, one"))
    ]
    assert [fit.status for fit in fits] == ["boundary", "boundary"]
    assert fits[0].deviance == pytest.approx(fits[1].deviance, abs=SAME)
