"""R's ``ns`` and ``bs``, and what a prediction with a spline leaves out (``re_form``).

Tried: each argument, inside and beyond the knots, after JSON; ``re_form`` as lme4 and pandas write nothing.
"""

import json

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.formula import Encoding

from references import HERE
from sleep import DATA, frame_of

REFERENCE = json.loads((HERE / "splines.json").read_text())
SPLINE = 1e-12
"""Both are B-splines on the same knots; extrapolated cubics reach 1e3."""


@pytest.mark.parametrize("call", REFERENCE["columns"])
def test_splines_are_those_of_r(call):
    x, new = np.array(REFERENCE["x"]), np.array(REFERENCE["new"])
    expected = np.array(REFERENCE["columns"][call])
    frame = frame_of(f"y ~ 0 + {call}", pd.DataFrame({"x": x, "y": np.sin(x)}))
    encoding = Encoding.from_plain(json.loads(json.dumps(frame.labels.encoding.to_plain())))
    ours = np.vstack([encoding.columns({"x": x}), encoding.columns({"x": new})])
    np.testing.assert_allclose(ours, expected, rtol=SPLINE, atol=SPLINE)
    assert [name[-3:] for name in encoding.names] == [f"[{place + 1}]" for place in range(expected.shape[1])]


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        ("bs(z, df=2)", ["df of at least 3, got 2"]),
        ("ns(z, df=0)", ["df of at least 1, got 0"]),
        ("ns(z, knots=c(99))", ["knots between", "got 99"]),
        ("ns(z, df=3, knots=c(0))", ["df or knots"]),
        ("bs(Subject)", ["expected numbers, got a factor"]),
        ("bs(k, df=9)", ["as many values are equal"]),
        ("bs(z, Boundary.knots=c(1, 2, 3))", ["two boundary knots, got 3"]),
        ("bs(z, extrapolation='up')", ["'extend'", "'up'"]),
        ("bs(z, lower_bound=0, extrapolation='raise')", ["expected values from 0"]),
    ],
)
def test_splines_that_cannot_be(call, parts):
    with pytest.raises(lmm.JaxlmmError) as caught:
        frame_of(f"Reaction ~ {call}")
    assert all(part in str(caught.value) for part in ["z" if "z" in call else "(", *parts]), str(caught.value)


@pytest.fixture(scope="module")
def spline_fit():
    return lmm.fit(REFERENCE["fit"]["formula"], DATA)


def test_a_model_with_a_spline_is_lme4s(spline_fit, tmp_path):
    expected = REFERENCE["fit"]
    np.testing.assert_allclose(spline_fit.deviance, expected["deviance"], rtol=1e-9)
    np.testing.assert_allclose(spline_fit.fixef(), expected["fixef"], rtol=1e-6)
    spline_fit.save(tmp_path / "fit.json")
    for fit in (spline_fit, lmm.load(tmp_path / "fit.json")):
        predicted = fit.predict({"Days": expected["days"]}, re_form="~0")["estimate"]
        np.testing.assert_allclose(predicted, expected["predicted"], rtol=1e-6)


@pytest.mark.parametrize(
    ("re_form", "part"),
    [
        ("NA", "'~0' takes no random effects, as lme4's NA"),
        (float("nan"), "'~0' takes no random effects"),
        (pd.NA, "'~0' takes no random effects"),
        (0, "'~0' takes no random effects"),
        ("0", "'~0' takes no random effects"),
        (False, "'~0' takes no random effects"),
        ("~NA", "'~0' takes no random effects"),
        ("~1", "'~0' takes no random effects"),
        ("none", "'~0' takes no random effects"),
        (True, "None, the default, takes all"),
        ("NULL", "None, the default, takes all"),
        ("(1 | Subject)", "write '~ (1 | Subject)'"),
        ("1 | Subject", "write '~ (1 | Subject)'"),
    ],
)
def test_re_form_of_other_tools(spline_fit, re_form, part):
    with pytest.raises(lmm.OptionError) as caught:
        spline_fit.predict(re_form=re_form)
    assert part in str(caught.value)


def test_re_form_of_ours(spline_fit):
    every, none = spline_fit.predict()["estimate"], spline_fit.predict(re_form="~0")["estimate"]
    modes = spline_fit.ranef("Subject")["Intercept"]
    np.testing.assert_allclose(every - none, modes.loc[DATA["Subject"]].to_numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(spline_fit.predict(re_form="~ (1 | Subject)")["estimate"], every)
