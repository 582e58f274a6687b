"""Structures of other authors: what is not what it says is refused with the property that fails, before any fit.

Neighbors: as a class and as a function (``Custom``, both kinds of result), among columns, across levels, in ``fit``,
``fit_many``, ``design``, ``replace`` and the test that authors call; a structure of one column; one that is right.
"""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm._util.struct import static
from jaxlmm.covariance import AbstractCovariance, Custom, Parameter
from jaxlmm.linalg import semidefinite_cholesky, semidefinite_root
from jaxlmm.testing import check_covariance

import models
from references import Exchangeable

DATA = models.data()
FORMULA = "y ~ x + (0 + f | g)"


def exchangeable(theta, coords):
    q = coords.shape[0]
    return theta[0] ** 2 * jnp.ones((q, q)) + theta[1] ** 2 * jnp.eye(q)


def structure(cholesky, n_params=2, **members):
    """An object of a class with these methods and fields, as a user writes one."""
    members = {"n_params": lambda self, q: n_params, "cholesky": cholesky, **members}
    return type("Mine", (AbstractCovariance,), {"__module__": "theirs", **members})


def of(function, n_params=2, **members):
    return structure(lambda self, theta, coords: function(theta, coords), n_params, **members)()


def reporting(parameter, value):
    """A structure with one natural parameter, and its value at theta and sigma."""
    return of(
        lambda theta, coords: semidefinite_cholesky(exchangeable(theta, coords)),
        parameters=lambda self, columns: (parameter,),
        report=lambda self, theta, factor, sigma: value(theta, sigma)[None],
    )


def lower(theta, coords):
    return semidefinite_cholesky(exchangeable(theta, coords))


def counter():
    """A function that counts how often it is called."""
    calls = iter(range(1000))
    return lambda theta, coords: lower(theta, coords) * (1.0 + next(calls))


def python_branch(theta, coords):
    return lower(theta, coords) if theta[0] > 0 else -lower(theta, coords)


def loop(theta, coords):
    def body(state):
        return state[0] + 1.0, state[1] * 0.9

    return jax.lax.while_loop(lambda state: state[0] < theta[1], body, (0.0, lower(theta, coords)))[1]


@jax.custom_vjp
def squared(x):
    return x * x


squared.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))

WRONG = {
    # what it returns
    "the covariance": (of(exchangeable), "no lower triangular factor.*probably the covariance itself"),
    "an upper triangle": (of(lambda t, c: lower(t, c).T), "no lower triangular factor.*return factor.T"),
    "neither": (of(lambda t, c: jnp.ones((c.shape[0],) * 2) * t[0] + jnp.tril(lower(t, c)) * t[1]), "no lower tri"),
    "Custom, an upper factor": (Custom(lambda t, c: lower(t, c).T, 2, returns="factor"), "return factor.T"),
    "Custom, covariance as factor": (Custom(exchangeable, 2, returns="factor"), "probably the covariance itself"),
    "Custom, a variance of any sign": (
        Custom(lambda t, c: t[0] * jnp.ones((c.shape[0],) * 2) + t[1] ** 2 * jnp.eye(c.shape[0]), 2),
        "positive semidefinite matrix at any theta.*an eigenvalue of -.*unconstrained",
    ),
    "Custom, a correlation beyond one": (
        Custom(lambda t, c: t[0] ** 2 * (t[1] + (1 - t[1]) * jnp.eye(c.shape[0])), 2), "positive semidefinite",
    ),
    "Custom, asymmetric": (Custom(lambda t, c: jnp.eye(3).at[0, 1].set(t[0]), 1), "expected a symmetric cov"),
    "Custom, a factor as covariance": (Custom(lower, 2), "expected a symmetric covariance"),
    "a tuple": (of(lambda t, c: (lower(t, c), t)), r"returns a tuple of 2: expected one array of shape \(3, 3\)"),
    "Custom, a tuple": (Custom(lambda t, c: (exchangeable(t, c),), 2), "returns a tuple of 1"),
    "a list": (of(lambda t, c: [[t[0]] * 3] * 3), "returns a list of 3"),
    "nothing": (of(lambda t, c: None), "returns nothing"),
    "a vector": (of(lambda t, c: t), r"a finite factor of shape \(3, 3\).* from Mine, got shape \(2,\)"),
    "a rectangle": (
        Custom(lambda t, c: jnp.ones((3, 2)) * t[0], 1, returns="factor"), r"from Custom, got shape \(3, 2\)",
    ),
    "single precision": (of(lambda t, c: lower(t, c).astype(jnp.float32)), "returns float32: expected float64"),
    "single precision within": (
        of(lambda t, c: lower(t.astype(jnp.float32).astype(float), c)), "not those of its values",
    ),
    "whole numbers": (of(lambda t, c: jnp.eye(3, dtype=int)), "returns int64"),
    "rounded": (of(lambda t, c: lower(jnp.round(t, 2), c)), "changes nothing at any theta"),
    "a parameter without a derivative": (
        of(lambda t, c: lower(t.at[1].set(jax.lax.stop_gradient(t[1])), c)), "not those of its values",
    ),
    "random numbers": (of(lambda t, c: lower(t, c) * np.random.default_rng().uniform()), "asked again"),
    "random arrays": (of(lambda t, c: lower(t, c) * np.random.default_rng().uniform(size=(3, 3))), "asked again"),
    "a counter": (of(counter()), "asked again"),
    # parameters
    "n_params a float": (of(lower, 2.0), r"have 2.0 parameters \(float\).*expected a whole number"),
    "Custom, n_params a float": (Custom(exchangeable, 2.0), r"2.0 parameters \(float\)"),
    "n_params negative": (of(lower, -1), "have -1 parameters"),
    "n_params nothing": (of(lower, None), "have None parameters"),
    "n_params text": (of(lower, "2"), r"have '2' parameters \(str\)"),
    "too few": (of(lower, 1), "declares 1 parameters and reads more"),
    "none": (of(lower, 0), "declares 0 parameters and reads more"),
    "too many": (of(lower, 3), r"declares 3 parameters, of which theta\[2\] changes nothing"),
    "a start of another length": (of(lower, start=lambda self, coords: np.ones(3)), "declares 2 parameters.*start"),
    "a start that is no number": (of(lower, start=lambda self, coords: np.array([1.0, np.nan])), "finite numbers"),
    "not finite at the start": (
        of(lambda t, c: lower(t, c) / (t[0] - t[1])), r"is not finite at theta = \[0.5, 0.5\], where the search starts",
    ),
    "Custom, not finite at the start": (Custom(lambda t, c: exchangeable(jnp.log(t - 0.5), c), 2), "is not finite"),
    "coordinates that do not exist": (of(lambda t, c: lower(t, c) + 0 * c[:, 1]), "reads coordinates that do not"),
    # derivatives
    "no derivative at zero": (
        of(lambda t, c: jnp.linalg.norm(t) * jnp.eye(c.shape[0])), r"not finite at theta = \[0.0, 0.0\]",
    ),
    "no derivative of one at zero": (
        Custom(lambda t, c: exchangeable(jnp.sqrt(t**2), c), 2), r"not finite at theta = \[0.5, 0.0\]",
    ),
    "no second derivative at zero": (
        of(lambda t, c: lower(jnp.abs(t) ** 1.5 + t, c)), "not finite, the second ones",
    ),
    "no way back": (of(loop), "cannot be differentiated.*scan in place of while_loop"),
    "no way forward": (of(lambda t, c: lower(squared(t), c)), "cannot be differentiated.*custom_jvp in place"),
    "a callback": (
        of(lambda t, c: jax.pure_callback(lambda x: np.eye(3) * x, jax.ShapeDtypeStruct((3, 3), float), t[0])),
        "cannot be differentiated",
    ),
    # Python and NumPy
    "NumPy": (of(lambda t, c: lower(np.exp(t), c)), "hands theta to NumPy"),
    "NumPy, one entry": (of(lambda t, c: np.diag([t[0], t[1], t[0]])), "hands theta to NumPy"),
    "math": (of(lambda t, c: math.exp(t[0]) * lower(t, c)), "makes a number of Python of theta"),
    "float": (Custom(lambda t, c: exchangeable(t, c) * float(t[0]) ** 2, 2), "makes a number of Python of theta"),
    "int": (of(lambda t, c: lower(t, c) * int(t[0])), "makes a number of Python of theta"),
    "an index": (of(lambda t, c: lower(t, c) * [1.0, 2.0][t[0].astype(int)]), "makes a number of Python of theta"),
    "a branch": (of(python_branch), "branches in Python on a value of theta"),
    "max": (of(lambda t, c: lower(t, c) * max(t[0], 0.1)), "branches in Python on a value of theta"),
    "NumPy on coords": (of(lambda t, c: lower(t, c) * np.exp(np.sum(c))), "hands coords to NumPy.*coords.shape may be"),
    "a branch on coords": (of(lambda t, c: lower(t, c) if c[0, 0] == 0 else t), "branches in Python on a value of co"),
    "a bug": (of(lambda t, c: lower(t, c) @ undefined), "cannot be evaluated: NameError: name 'undefined'"),  # noqa: F821
    # names
    "names without a report": (
        of(lower, param_names=lambda self, columns: ("sd", "rho")), r"has 2 parameters.*shape \(6,\)",
    ),
    "a report without names": (of(lower, report=lambda self, theta, factor, sigma: theta), r"has 6 parameters.*\(2,\)"),
    "a name twice": (
        of(lower, param_names=lambda self, columns: ("sd", "sd"), report=lambda self, theta, factor, sigma: theta),
        "gives a name twice",
    ),
    "values beyond what is declared": (
        reporting(Parameter("range", "rate", upper=2.0), lambda theta, sigma: jnp.exp(theta[1])),
        r"reports range = .* expected a number strictly between 0 and 2",
    ),
    "a standard deviation of any sign": (
        reporting(Parameter("total", "sd"), lambda theta, sigma: sigma * theta[0]), "reports total = -.* of 0 or more",
    ),
    "no unit": (
        reporting(Parameter("total", "rate"), lambda theta, sigma: sigma * (theta[0] ** 2 + 1.0)),
        "declares total as a number without a unit, .* expected the same",
    ),
    "a unit": (
        reporting(Parameter("total", "sd"), lambda theta, sigma: jnp.abs(theta[0])),
        "declares total as a number in units of the response, .* expected twice as much",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_not_what_it_says(case):
    wrong, message = WRONG[case]
    with pytest.raises(lmm.OptionError, match=f"covariance of us.0 . f . g.: .*{message}"):
        lmm.design(FORMULA, DATA, covariance={"g": wrong})
    with pytest.raises(lmm.OptionError, match=message):
        check_covariance(wrong, q=3)


class Set(AbstractCovariance):
    def __init__(self, power):
        self.power = power

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        return lower(theta, coords)


class Undeclared(Set):
    def __init__(self, power):
        object.__setattr__(self, "power", power)

    def cholesky(self, theta, coords):
        return lower(theta, coords) ** self.power


class SetLater(Undeclared):
    def __init__(self):
        super().__init__(3)

    def cholesky(self, theta, coords):
        self.last = theta
        return lower(theta, coords)


class UndeclaredCount(Undeclared):
    def __init__(self):
        super().__init__(2)

    def n_params(self, q):
        return self.power


class Order(AbstractCovariance):
    """The first columns share an effect; ``order`` says how many."""

    order: int = 2

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        q = coords.shape[0]
        shared = jnp.concatenate([jnp.ones(self.order), jnp.zeros(q - self.order)])
        return semidefinite_cholesky(theta[0] ** 2 * jnp.outer(shared, shared) + theta[1] ** 2 * jnp.eye(q))


class Kind(Order):
    order: int = static(default=2)
    kind: str = "a"


class Listed(Order):
    order: int = static(default=2)
    values: list = static(default=(1.0,))


class Static(Order):
    order: int = static(default=2)
    scale: float = 1.0


OBJECTS = {
    "set in __init__": (lambda: Set(3), "self.power = 3 cannot be set.*'power: int = lmm.covariance.static"),
    "set later": (lambda: SetLater(), "self.last = .* cannot be set"),
    "undeclared": (lambda: Undeclared(3), "reads self.power, which is no declared field.*'power: int = lmm.cov"),
    "undeclared, for the count": (lambda: UndeclaredCount(), "reads self.power, which is no declared field"),
    "whole number for a shape": (Order, r"uses a field that is not static \(order\).*lmm.covariance.static"),
    "text": (Kind, "has 'a' in the field kind.*'kind: str = lmm.covariance.static"),
    "a list that is static": (
        lambda: Listed(values=[1.0]),
        "static field values that cannot be hashed.*make it a tuple",
    ),
}


@pytest.mark.parametrize("case", list(OBJECTS))
def test_fields(case):
    make, message = OBJECTS[case]
    with pytest.raises(lmm.OptionError, match=message):
        check_covariance(make(), q=3)


@pytest.mark.parametrize("made", [Exchangeable(), Custom(exchangeable, 2), Static(), Static(order=3, scale=2.0)])
@pytest.mark.parametrize("q", [3, 4])
def test_what_is_right_passes(made, q):
    check_covariance(made, q)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_ours_pass(q):
    for ours in (lmm.covariance.Unstructured(), lmm.covariance.Diagonal(), lmm.covariance.OU()):
        check_covariance(ours, q)


def test_one_column_without_a_parameter_and_a_domain():
    check_covariance(Exchangeable(), q=1)
    check_covariance(Custom(lambda theta, coords: jnp.eye(coords.shape[0]), 0))
    table = np.arange(16.0).reshape(4, 4)
    check_covariance(Custom(lambda theta, coords: theta[0] ** 2 * jnp.asarray(table @ table.T), 1))
    powers = of(lambda t, c: t[0] * jnp.linalg.cholesky(jnp.tanh(t[1]) ** jnp.abs(c - c.T)))
    check_covariance(powers)  # without a second derivative at a correlation of zero, where no search ends
    closed = of(lambda t, c: t[0] * jnp.array([[1.0, 0.0], [t[1], jnp.sqrt(1.0 - t[1] ** 2)]]) + 0 * t[1])
    check_covariance(closed, q=2)  # NaN beyond a correlation of one: no step is taken there


def test_wherever_a_structure_is_taken():
    wrong, message = of(exchangeable), "no lower triangular factor"
    responses = pd.DataFrame({"a": DATA["y"], "b": DATA["z"]})
    right = lmm.design(FORMULA, DATA, covariance={"g": Exchangeable()})
    places = pd.DataFrame({"at": np.arange(14.0)}, index=sorted(DATA["g"].unique()))
    made = structure(lambda self, theta, coords: exchangeable(theta, coords))(coords=places)
    attempts = (
        lambda: lmm.fit(FORMULA, DATA, covariance={"g": wrong}),
        lambda: lmm.fit_many("~ x + (0 + f | g)", DATA, responses=responses, covariance={"g": wrong}),
        lambda: right.replace(covariance={"g": wrong}),
        lambda: lmm.fit("y ~ x + (1 | g)", DATA, kinship={"g": made}),
        lambda: lmm.fit("y ~ x + (1 | g)", DATA, kinship={"g": {"space": made}}),
    )
    for attempt in attempts:
        with pytest.raises(lmm.OptionError, match=message):
            attempt()
    with pytest.raises(lmm.OptionError, match="expected text such as"):
        lmm.fit("y ~ x", DATA, residual=wrong)
    with pytest.raises(lmm.OptionError, match="expected an object of lmm"):
        check_covariance(Exchangeable)


def test_it_costs_once():
    calls = []

    def function(theta, coords):
        calls.append(1)
        return exchangeable(theta, coords)

    check_covariance(Custom(function, 2), q=3)
    first = len(calls)
    started = time.perf_counter()
    for _ in range(20):
        check_covariance(Custom(function, 2), q=3)
    assert len(calls) == first
    assert time.perf_counter() - started < 20 * 0.1
    check_covariance(Custom(function, 2), q=4)
    assert len(calls) > first


def test_a_matrix_with_a_negative_eigenvalue_has_no_factor():
    """A smooth kernel at 60 places, of numerical rank about 20, has; its last pivots are rounding alone."""
    with jax.enable_x64(True):
        for root in (semidefinite_cholesky, semidefinite_root):
            for matrix in ([[1.0, 2.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]):
                assert np.isnan(root(jnp.array(matrix))).any()
            for matrix in (np.zeros((3, 3)), np.ones((3, 3)), np.diag([0.0, 2.0, 1e-9])):
                factor = root(jnp.asarray(matrix))
                assert np.asarray(factor @ factor.T) == pytest.approx(matrix, abs=1e-15)
        places = jnp.arange(60.0) / 9
        kernel = jnp.exp(-0.5 * (places[:, None] - places[None, :]) ** 2)
        factor = semidefinite_root(kernel)
        assert float(jnp.abs(factor @ factor.T - kernel).max()) < 1e-12


def test_the_deviance_is_that_of_the_covariance():
    """As a class, as a function, and a kernel across levels so smooth that its factor without pivots would be noise."""
    theta = np.array([0.7, 0.4])
    expected = models.plain_deviance("user's structure", DATA, theta, "REML")
    ids = sorted(DATA["g"].unique())
    at = pd.DataFrame({"at": np.arange(len(ids)) / 9.0}, index=ids)

    def smooth(theta, coords):
        return theta[0] ** 2 * jnp.exp(-0.5 * (coords - coords.T) ** 2 * jnp.exp(-2.0 * theta[1]))

    with jax.enable_x64(True):
        y = jnp.asarray(DATA["y"].to_numpy())
        for right in (Exchangeable(), Custom(exchangeable, 2)):
            deviance = lmm.deviance(lmm.design(FORMULA, DATA, covariance={"g": right}))
            assert float(models.quickly(deviance)(jnp.asarray(theta), y)) == pytest.approx(expected, abs=1e-9)
        design = lmm.design("y ~ 1 + (1 | g)", DATA, kinship={"g": Custom(smooth, 2, coords=at)})
        found = float(models.quickly(lmm.deviance(design, "ML"))(jnp.asarray(theta), y))
    codes = np.unique(DATA["g"], return_inverse=True)[1]
    apart = (codes[:, None] - codes[None, :]) / 9.0
    v = np.eye(len(DATA)) + theta[0] ** 2 * np.exp(-0.5 * apart**2 * np.exp(-2.0 * theta[1]))
    solved = np.linalg.solve(v, np.column_stack([np.ones(len(DATA)), y]))
    rest = np.asarray(y) - solved[:, 1].sum() / solved[:, 0].sum()
    square, n = rest @ np.linalg.solve(v, rest), len(DATA)
    assert found == pytest.approx(np.linalg.slogdet(v)[1] + n * (1 + np.log(2 * np.pi * square / n)), abs=1e-8)
