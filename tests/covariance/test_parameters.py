"""What a parameter declares: values, intervals and boundaries against closed forms, and errors of its author."""

import numpy as np
import pytest
from scipy.special import expit, logit

import jaxlmm as lmm
from jaxlmm.covariance import RESIDUAL_SD, Parameter
from jaxlmm.covariance.parameters import KINDS, SCALES, declared
from jaxlmm.inference.extremes import at_extremes

ROUNDING = 1e-13
"""Closed forms in another order of the operations."""

Z = 1.959963984540054
VALUE, ERROR = np.array([[0.3, 0.9], [0.5, 0.02]]), np.array([[0.05, 0.3], [np.nan, 0.01]])


def place(x):
    """From -1 to 1 between the bounds -2 and 3."""
    return (x + 2) / 5 * 2 - 1


CLOSED = {
    "identity": (Parameter("a"), lambda v, w: v + w),
    "log": (Parameter("a", "rate"), lambda v, w: v * np.exp(w / v)),
    "log from a lower bound": (Parameter("a", "rate", lower=-1), lambda v, w: (v + 1) * np.exp(w / (v + 1)) - 1),
    "fisher-z": (Parameter("a", "correlation"), lambda v, w: np.tanh(np.arctanh(v) + w / (1 - v**2))),
    "fisher-z between bounds": (
        Parameter("a", scale="fisher-z", lower=-2, upper=3),
        lambda v, w: (np.tanh(np.arctanh(place(v)) + 0.4 * w / (1 - place(v) ** 2)) + 1) / 2 * 5 - 2,
    ),
    "logit": (Parameter("a", "proportion"), lambda v, w: expit(logit(v) + w / v / (1 - v))),
    "logit between bounds": (
        Parameter("a", "number", scale="logit", lower=-2, upper=3),
        lambda v, w: 5 * expit(logit((v + 2) / 5) + 5 * w / (v + 2) / (3 - v)) - 2,
    ),
    "cut off": (Parameter("a", upper=1.2, lower=0.0), lambda v, w: np.clip(v + w, 0.0, 1.2)),
    "rate with an upper bound": (Parameter("a", "rate", upper=1), lambda v, w: np.minimum(v * np.exp(w / v), 1.0)),
    "sd": (Parameter("a", "sd"), lambda v, w: v * np.exp(w / v)),
    "sd on another scale": (Parameter("a", "sd", scale="identity"), lambda v, w: np.maximum(v + w, 0.0)),
}


@pytest.mark.parametrize("case", list(CLOSED))
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_intervals_are_closed_forms(case, level):
    """For many responses at once; without a standard error there is none."""
    parameter, closed = CLOSED[case]
    z = {0.95: Z, 0.5: 0.6744897501960817}[level]
    limits = parameter.interval(VALUE, ERROR, level)
    for found, sign in zip(limits, (-1, 1), strict=True):
        np.testing.assert_allclose(found, closed(VALUE, sign * z * ERROR), rtol=ROUNDING, atol=ROUNDING)
        assert np.isnan(found).tolist() == [[False, False], [True, False]]
        assert ((found >= parameter.lower) & (found <= parameter.upper))[~np.isnan(found)].all()


@pytest.mark.parametrize("name", list(SCALES))
def test_a_scale_has_its_inverse_and_its_derivative(name):
    scale, bounds, values = SCALES[name], (-0.5, 2.0), np.linspace(-0.4, 1.9, 7)
    np.testing.assert_allclose(scale.inverse(scale.forward(values, *bounds), *bounds), values, rtol=ROUNDING)
    step = 1e-6
    slope = (scale.forward(values + step, *bounds) - scale.forward(values - step, *bounds)) / (2 * step)
    np.testing.assert_allclose(scale.derivative(values, *bounds), slope, rtol=1e-7)


def test_the_variance_scale_is_that_of_standard_deviations():
    """Limits of the variance are the squares of those of the standard deviation."""
    for parameter, name in [
        (Parameter(kind="sd"), "g: var"),
        (Parameter("sd", "sd"), "g: var"),
        (Parameter(kind="sd", columns="x"), "g: var(x)"),
        (Parameter("tau", "sd"), "g: var(tau)"),
        (Parameter("sdlog", "sd"), "g: var(sdlog)"),
        (Parameter("sdlog", "sd", label_squared="square"), "g: square"),
        (Parameter("tau", "sd", upper=3.0), "g: var(tau)"),
    ]:
        square = parameter.of("g").squared
        assert (square.name, square.upper, square.attained) == (name, parameter.upper**2, parameter.attained)
        of_square = square.interval(VALUE**2, 2 * VALUE * ERROR)
        for limit, root in zip(of_square, parameter.interval(VALUE, ERROR), strict=True):
            np.testing.assert_allclose(limit, root**2, rtol=1e-12)
        assert square.squared is square
    for name in set(KINDS) - {"sd"}:
        parameter = Parameter("sd(x)", name)
        assert parameter.squared is parameter


@pytest.mark.parametrize(
    ("parameter", "inside", "outside", "expected"),
    [
        (Parameter("a", "sd"), [0, 0.0, 3], [-1e-9], "a standard deviation of 0 or more, in units of the response"),
        (RESIDUAL_SD, [1e-9], [0.0, -1], "a standard deviation above 0, in units of the response"),
        (Parameter("a", "sd").of_residual(), [1], [0], "a standard deviation above 0, in units of the response"),
        (Parameter("a", "correlation"), [-1, 0, 1.0], [1.1, -2], "a correlation from -1 to 1"),
        (Parameter("a", "proportion"), [0.5], [0, 1, 2], "a number strictly between 0 and 1"),
        (Parameter("a", "rate"), [1e-9, 1e9], [0.0, -1], "a number above 0"),
        (Parameter("a", "rate", upper=10), [9.9], [0, 10], "a number strictly between 0 and 10"),
        (
            Parameter("a", "rate", upper=10, attained=(False, True)), [10], [0, 11],
            "a number from 0 to 10, without 0",
        ),
        (Parameter("a", "loading"), [-5, 5], [], "a loading, in units of the response"),
        (Parameter("a", "power", upper=2), [1.9, -9], [2], "a power below 2"),
        (Parameter("a", "power", upper=2, attained=(False, True)), [2], [2.1], "a power of 2 or less"),
        (Parameter("a"), [-1e9, 0, 1e9], [], "a number"),
        (Parameter("a", "sd", unit=None), [0], [-1], "a standard deviation of 0 or more"),
    ],
    ids=str,
)  # fmt: skip
def test_values_within_the_bounds(parameter, inside, outside, expected):
    assert parameter.expected == expected
    assert all(parameter.accepts(value) for value in [*inside, *map(np.float64, inside)])
    assert not any(parameter.accepts(value) for value in [*outside, np.nan, np.inf, -np.inf, "1", True, None, [1.0]])


def test_units_of_kinds():
    assert {kind for kind in KINDS if Parameter("a", kind).has_unit} == {"sd", "loading"}
    assert not Parameter("a", "sd", unit=None).has_unit
    assert Parameter("a", unit="response").has_unit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "a", "kind": "variance"}, "kind: expected one of 'sd', 'correlation', .*, got 'variance'"),
        ({"label": "a", "kind": "rho"}, "kind: expected one of"),
        ({"label": "a", "scale": "probit"}, "scale: expected one of 'identity', 'log', 'fisher-z', 'logit'"),
        ({"label": "a", "unit": "days"}, "expected unit='response' or unit=None, got 'days'"),
        ({"label": 3}, "expected a text as label, got 3"),
        ({"label": ""}, "expected a text as label, got ''"),
        ({"label": "a", "lower": 1, "upper": 1}, "expected a lower bound below the upper one, got 1 and 1"),
        ({"label": "a", "lower": np.nan}, "expected a lower bound below the upper one, got nan"),
        ({"label": "a", "upper": "10"}, "expected a number as upper bound, got '10'"),
        ({"label": "a", "kind": "sd", "lower": -1}, "a lower bound of 0 or more below the upper one, got -1 and inf"),
        ({"label": "a", "scale": "log"}, r"a lower bound for the scale 'log', got -inf and inf; declare lower="),
        ({"label": "a", "kind": "rate", "scale": "logit"}, "both bounds for the scale 'logit', got 0 and inf"),
        ({"label": "a", "attained": (True,)}, "expected attained="),
        ({"label": "a", "columns": (1, 2)}, "expected names of columns"),
    ],
    ids=str,
)
def test_declarations_that_cannot_be(arguments, message):
    with pytest.raises(lmm.OptionError, match=message):
        Parameter(**arguments)


def test_a_parameter_says_how_it_is_written():
    for parameter in (
        Parameter("range", "rate", upper=10.0),
        Parameter(kind="sd", columns="x"),
        Parameter("tau", "sd", unit=None, label_squared="tau²", group="g"),
        RESIDUAL_SD,
    ):
        assert eval(repr(parameter)) == parameter
        assert hash(eval(repr(parameter))) == hash(parameter)
    assert repr(Parameter("range", "rate", upper=10.0)) == "Parameter('range', 'rate', upper=10.0)"


# ---- at the end of the range -----------------------------------------------------------------------------------------


def test_ends_of_a_range():
    value = np.array([-1.0, -1 + 1e-12, 0.0, 1e-12, 1 - 1e-12, 1.0, 10.0, np.nan])
    for parameter, exact, rounded in [
        (Parameter(kind="correlation"), [0, 5, 6], [0, 1, 4, 5, 6]),
        (Parameter(kind="sd"), [0, 1, 2], [0, 1, 2]),
        (Parameter(kind="proportion"), [0, 1, 2, 5, 6], [0, 1, 2, 5, 6]),
        (Parameter(kind="rate", upper=10.0), [0, 1, 2, 6], [0, 1, 2, 6]),
        (Parameter(kind="number"), [], []),
        (Parameter(kind="number", lower=-1.0), [0], [0]),
    ]:
        assert np.flatnonzero(parameter.at_end(value)).tolist() == exact
        assert np.flatnonzero(parameter.at_end(value, 1e-9)).tolist() == rounded


def test_what_is_at_a_boundary():
    """A number has no end at zero; where the active set determines it, it has no freedom."""
    kinds = ["sd", "correlation", "number", "number", "rate", "correlation"]
    parameters = [Parameter(str(number), kind) for number, kind in enumerate(kinds)]
    report = np.array([[0.0, 1.0 - 1e-12, 0.0, 0.0, 2.0, np.nan]])
    derivative = np.ones((1, 6, 3))
    derivative[0, 3, 1:] = 0.0  # of the first entry of theta alone
    free = np.array([True, True])
    assert at_extremes(report, derivative, free, parameters).tolist() == [[True, False, False, False, False, True]]
    free = np.array([False, True])
    assert at_extremes(report, derivative, free, parameters).tolist() == [[True, True, False, True, False, True]]


@pytest.mark.parametrize("structure", [
    lmm.covariance.CompoundSymmetry(), lmm.covariance.CompoundSymmetry(hom=True), lmm.covariance.Toeplitz(),
    lmm.covariance.AR1(hom=False), lmm.covariance.AnteDependence(), lmm.covariance.Matern(nugget=True),
    lmm.covariance.ByLevel(lmm.covariance.CompoundSymmetry(), ("r", "s")),
], ids=repr)  # fmt: skip
def test_structures_keep_the_kinds_that_they_declare(structure):
    """A class that has a ``report`` of its own, and no ``parameters``, has plain numbers."""
    columns = [f"{name}[{level}]" for level in "rs" for name in "ab"]
    parameters = declared(structure, columns)
    assert parameters == structure.parameters(columns)
    assert parameters[0].is_sd
