"""Bad input is refused before any computing, with what was expected, what came and what to do."""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

import models

DATA = models.data()
GOOD = "y ~ x + (1 | g)"


def changed(**columns):
    return DATA.assign(**columns)


def with_value(column, value, dtype=float):
    values = DATA[column].astype(dtype).copy()
    values.iloc[3] = value
    return DATA.assign(**{column: values})


CASES = {
    "unbalanced parenthesis": ("y ~ x + (1 | g", DATA, {}, lmm.FormulaError, ["expected as many", "close"]),
    "stray parenthesis": ("y ~ x) + (1 | g)", DATA, {}, lmm.FormulaError, ["closes nothing"]),
    "unknown variable": ("y ~ xx + (1 | g)", DATA, {}, lmm.FormulaError, ["unknown variable 'xx'", "did you mean x"]),
    "unknown group": ("y ~ x + (1 | gg)", DATA, {}, lmm.FormulaError, ["unknown variable 'gg'", "did you mean g"]),
    "unknown function": ("sqroot(y) ~ x", DATA, {}, lmm.FormulaError, ["unknown function", "did you mean sqrt"]),
    "unknown structure": (
        "y ~ x + exq(t | g)", DATA, {}, lmm.FormulaError, ["unknown structure 'exq'", "Write exp(…)", "here are"],
    ),
    "another package's structure": ("y ~ x + adh(t | g)", DATA, {}, lmm.FormulaError, ["'adh'", "Write ad(…)"]),
    "no tilde": ("y + x", DATA, {}, lmm.FormulaError, ["expected one '~'", "got no"]),
    "no response": ("~ x + (1 | g)", DATA, {}, lmm.FormulaError, ["expected a response"]),
    "nothing right of the tilde": ("y ~", DATA, {}, lmm.FormulaError, ["nothing stands right"]),
    "a term missing": ("y ~ x + + (1 | g)", DATA, {}, lmm.FormulaError, ["a term is missing"]),
    "bar without parentheses": ("y ~ x + 1 | g", DATA, {}, lmm.FormulaError, ["needs its own parentheses"]),
    "empty left side": ("y ~ x + ( | g)", DATA, {}, lmm.FormulaError, ["left side of the bar", "is empty", "(1 | g)"]),
    "empty right side": ("y ~ x + (1 | )", DATA, {}, lmm.FormulaError, ["right side of the bar", "is empty"]),
    "two bars": ("y ~ x + (1 | g | h)", DATA, {}, lmm.FormulaError, ["expected one bar", "got 2"]),
    "subtracted bar": ("y ~ x - (1 | g)", DATA, {}, lmm.FormulaError, ["cannot be subtracted"]),
    "expression as group": ("y ~ x + (1 | log(x))", DATA, {}, lmm.FormulaError, ["expected factor names"]),
    "formula is no text": (3, DATA, {}, lmm.FormulaError, ["expected text", "got int"]),
    "one level": (GOOD, changed(g="a"), {}, lmm.DataError, ["at least 2 levels, got 1"]),
    "levels = rows": (GOOD, changed(g=np.arange(len(DATA))), {}, lmm.DataError, ["fewer levels than rows", "kinship="]),
    "group with a name of tables": (
        "y ~ x + (1 | Residual)", changed(Residual=DATA["g"]), {}, lmm.DataError, ["residual variance so", "rename"],
    ),
    "group called fixed": (
        "y ~ x + (1 | fixed)", changed(fixed=DATA["g"]), {}, lmm.DataError, ["share of the fixed", "rename"],
    ),
    "variable called Intercept": (
        "y ~ Intercept + (1 | g)", changed(Intercept=DATA["x"]), {}, lmm.DataError, ["'Intercept' more than once"],
    ),
    "string response": ("f ~ x + (1 | g)", DATA, {}, lmm.DataError, ["response f: expected numbers"]),
    "constant response": (GOOD, changed(y=2.0), {}, lmm.DataError, ["values that vary", "got 2 in all"]),
    "infinite response": (GOOD, with_value("y", np.inf), {}, lmm.DataError, ["y: expected finite", "1 infinite"]),
    "infinite predictor": (GOOD, with_value("x", np.inf), {}, lmm.DataError, ["x: expected finite", "1 infinite"]),
    "infinite slope": ("y ~ (z | g)", with_value("z", -np.inf), {}, lmm.DataError, ["z: expected finite"]),
    "undefined response": ("log(z) ~ x", DATA, {}, lmm.DataError, ["log(z): expected finite", "undefined"]),
    "perfect fit": ("o ~ x", changed(o=2.0 * DATA["x"] + 1.0), {}, lmm.DataError, ["fit it perfectly"]),
    "all rows missing": (GOOD, changed(x=np.nan), {}, lmm.DataError, ["at least one complete row", f"x {len(DATA)}"]),
    "zero weight": (GOOD, with_value("w", 0.0), {"weights": "w"}, lmm.DataError, ["weights: expected positive"]),
    "negative weight": (GOOD, with_value("w", -1.0), {"weights": "w"}, lmm.DataError, ["weights: expected positive"]),
    "unknown weights": (GOOD, DATA, {"weights": "ww"}, lmm.DataError, ["'ww' is no column", "did you mean w"]),
    "short weights": (GOOD, DATA, {"weights": [1.0, 2.0]}, lmm.DataError, ["one number for each", "shape (2,)"]),
    "text as offset": (GOOD, DATA, {"offset": "f"}, lmm.DataError, ["offset: expected numbers"]),
    "duplicated column": (GOOD, pd.concat([DATA, DATA[["x"]]], axis=1), {}, lmm.DataError, ["'x' occurs 2 times"]),
    "empty frame": (GOOD, DATA.iloc[:0], {}, lmm.DataError, ["at least one row"]),
    "no frame": (GOOD, [1, 2], {}, lmm.DataError, ["expected a data frame, got list"]),
    "n <= p": ("y ~ x + z + o + w + (1 | g)", DATA.iloc[:5], {}, lmm.DataError, ["more rows than fixed effects"]),
    "method": (GOOD, DATA, {"method": "mle"}, lmm.OptionError, ["'REML' or 'ML'", "got 'mle'"]),
    "solver": (GOOD, DATA, {"solver": "fast"}, lmm.OptionError, ["solver: expected one of", "'moments'"]),
    "unfit solver": ("y ~ (1 | g) + (1 | h)", DATA, {"solver": "moments"}, lmm.OptionError, ["2 grouping factors"]),
    "optimizer": (GOOD, DATA, {"optimizer": "bobyqa"}, lmm.OptionError, ["expected 'newton' or an optax"]),
    "residual": (GOOD, DATA, {"residual": "us(x | g)"}, lmm.DataError, ["positions that levels share"]),
    "no residual tag": (GOOD, DATA, {"residual": "t"}, lmm.FormulaError, ["expected one term such as"]),
    "repeated position": (GOOD, changed(t=1.0), {"residual": "ou(t | g)"}, lmm.DataError, ["one row per position"]),
    "covariance is no dict": (GOOD, DATA, {"covariance": 3}, lmm.OptionError, ["expected a dict", "got int"]),
    "kinship is no dict": (GOOD, DATA, {"kinship": 3}, lmm.KinshipError, ["expected a dict", "got int"]),
    "lme4's REML": (GOOD, DATA, {"REML": False}, lmm.OptionError, ["fit has no option 'REML'", "method='ML'"]),
    "misspelled option": (GOOD, DATA, {"weight": "w"}, lmm.OptionError, ["'weight'", "did you mean weights"]),
    "covariance key": (
        GOOD, DATA, {"covariance": {"k": lmm.covariance.Diagonal()}}, lmm.OptionError, ["matches no term"],
    ),
    "covariance value": (GOOD, DATA, {"covariance": {"g": np.eye(2)}}, lmm.OptionError, ["got ndarray", "Custom"]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_message(name):
    formula, data, options, kind, parts = CASES[name]
    with pytest.raises(kind) as caught:
        lmm.fit(formula, data, **options)
    assert isinstance(caught.value, lmm.JaxlmmError)
    assert isinstance(caught.value, ValueError)
    for part in parts:
        assert part in str(caught.value)


IDS = sorted(DATA["g"].unique())
KIN = models.kinship(DATA)


@pytest.mark.parametrize(
    ("matrix", "part"),
    [
        (KIN.to_numpy(), "expected a data frame with ids"),
        (KIN.iloc[:-1, :-1], "1 of 14 ids in the data are not in the matrix, the first is 'g13'"),
        (KIN.iloc[:, :-1], "the same ids as rows and columns"),
        (KIN.rename(index={"g00": "g01"}, columns={"g00": "g01"}), "occurs more than once"),
        (KIN - 0.9 * np.ones((14, 14)), "smallest eigenvalue of"),
        (KIN.mask(KIN == 1.0), "expected finite numbers, got nan"),
        (KIN + np.triu(np.ones((14, 14)), 1), "expected a symmetric matrix"),
    ],
)
def test_known_matrix(matrix, part):
    with pytest.raises(lmm.KinshipError, match=part):
        lmm.fit(GOOD, DATA, kinship={"g": matrix})
    with pytest.raises(lmm.KinshipError, match="no random term is grouped by 'q'"):
        lmm.fit(GOOD, DATA, kinship={"q": KIN})


def test_levels_equal_to_rows_are_fine_with_a_known_matrix():
    data = DATA.assign(id=[f"i{row}" for row in range(len(DATA))])
    root = np.random.default_rng(0).normal(size=(len(data), 2 * len(data)))
    matrix = pd.DataFrame(root @ root.T / root.shape[1], index=data["id"], columns=data["id"])
    fit = lmm.fit("y ~ x + (1 | id)", data, kinship={"id": matrix})
    assert fit.solver == "spectral"
    assert fit.status in ("interior", "boundary")


def test_nothing_is_computed_for_bad_input(monkeypatch):
    import jaxlmm.api.call as call

    monkeypatch.setattr(call, "solve_single", None)
    for formula, data, options, kind, _ in CASES.values():
        with pytest.raises(kind):
            lmm.fit(formula, data, **options)
