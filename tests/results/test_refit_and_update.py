"""The same model again: on another response, with another formula, other data, other options."""

import json

import jax
import numpy as np
import optax
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.formula import updated
from jaxlmm.formula.tokens.tokens import join, tokenize

import models
from references import HERE

DATA = models.data(seed=5, levels=20)
SAME = 1e-10
"""The same arrays go through the same programs: only the order of a sum could differ."""

R = json.loads((HERE / "update_formula.json").read_text())["cases"]
WRITTEN_OTHERWISE = {
    "y ~ 1 - 1": "y ~ 0",
    "y ~ x.1 + (x.1 | g) + x.1:x.2": "y ~ x.1 + (x.1 | g) + x.2:x.1",  # R sorts the factors of a product
}
"""R's formula, and ours that means the same."""


def same(one, other):
    """Whether two fits are equal in all their numbers."""
    assert one.deviance == pytest.approx(other.deviance, abs=SAME)
    assert one.status == other.status
    for mine, theirs in ((one.coef(), other.coef()), (one.variance(), other.variance())):
        assert mine.index.equals(theirs.index)
        numbers = [table.select_dtypes(float).to_numpy() for table in (mine, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], rel=SAME, abs=SAME, nan_ok=True)
    for group, modes in one.ranef().items():
        assert modes.to_numpy() == pytest.approx(other.ranef(group).to_numpy(), rel=SAME, abs=SAME)
    pd.testing.assert_series_equal(one.fitted(), other.fitted(), rtol=SAME, atol=SAME)
    pd.testing.assert_series_equal(one.residuals(), other.residuals(), rtol=SAME, atol=SAME)


def other_response(seed=1):
    rng = np.random.default_rng(seed)
    level = pd.Series(rng.normal(size=20), index=sorted(DATA["g"].unique()))
    return level[DATA["g"]].to_numpy() + 0.3 * DATA["x"].to_numpy() + rng.normal(size=len(DATA))


# ---- refit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slope", "weights, offset", "crossed", "ou residual, weights", "kinship"])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_refit_is_the_fit_of_the_changed_data(name, method):
    y = other_response()
    fit = models.fit(name, DATA, method=method)
    before = fit.deviance
    again = fit.refit(y)
    same(again, models.fit(name, DATA.assign(y=y), method=method))
    assert fit.deviance == before
    assert again.method == method
    assert again.formula == fit.formula


def test_refit_keeps_the_solver_and_the_optimizer():
    assert lmm.fit("y ~ x + (1 | g)", DATA, solver="dense").refit(other_response()).solver == "dense"
    fit = lmm.fit("y ~ x + (1 | g)", DATA, optimizer=optax.sgd(0.0))
    assert fit.refit(other_response()).status == "not_converged"  # as this optimizer never moves


def test_refit_reads_no_data_and_compiles_nothing(monkeypatch):
    import jaxlmm.api.call as call

    lowered = []
    fit = lmm.fit("y ~ x + (1 + z | g)", DATA)
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: lowered.append(event) if "jaxpr_to_mlir_module" in event else None
    )
    for name in ("parse", "build_frame", "choose"):
        monkeypatch.setattr(call, name, None)
    again = fit.refit(other_response())
    assert again.design is fit.design
    assert lowered == []


def test_refit_aligns_a_series():
    y = pd.Series(other_response(), index=DATA.index)
    fit = lmm.fit("y ~ x + (1 | g)", DATA)
    plain = fit.refit(y.to_numpy())
    for given in (y, y.sample(frac=1.0, random_state=0), pd.concat([y, pd.Series([9.0], index=[10_000])])):
        same(fit.refit(given), plain)
    same(fit.refit(y.tolist()), plain)
    assert plain.deviance != pytest.approx(fit.deviance, abs=1.0)
    with pytest.raises(lmm.DataError, match=r"none for 2 of \d+ rows, the first is 0"):
        fit.refit(y.iloc[2:])


def test_refit_where_row_labels_repeat():
    data = DATA.set_index("h", drop=False).rename_axis(index="label")
    y = pd.Series(other_response(), index=data.index)
    fit = lmm.fit("y ~ x + (1 | g)", data)
    same(fit.refit(y), fit.refit(y.to_numpy()))
    with pytest.raises(lmm.DataError, match="row labels repeat"):
        fit.refit(y.iloc[::-1])


def test_refit_after_rows_were_dropped():
    """A response for all rows, or for those of the fit; the rows are those of the fit, whatever was missing."""
    x = DATA["x"].mask(DATA.index.isin([3, 7]))
    data, y = DATA.assign(x=x), other_response()
    fit = lmm.fit("y ~ x + (1 | g)", data)
    assert fit.n_dropped == 2
    expected = lmm.fit("y ~ x + (1 | g)", data.assign(y=y))
    short = np.delete(y, [3, 7])
    for given in (y, short, pd.Series(y, index=data.index), pd.Series(short, index=fit.fitted().index)):
        same(fit.refit(given), expected)
    there = y.copy()
    there[3] = np.nan  # the fit has no such row
    same(fit.refit(there), expected)
    with pytest.raises(lmm.DataError, match=f"{fit.n} numbers, .* or {len(data)} numbers for all rows .* got 5"):
        fit.refit(np.ones(5))


def test_refit_refuses():
    fit = lmm.fit("y ~ x + (1 | g)", DATA.rename(index=lambda row: f"r{row}"))
    missing = other_response()
    missing[[4, 6]] = np.nan
    for y, part in (
        (missing, "got 2 missing, the first in row r4"),
        (np.where(np.isnan(missing), np.inf, missing), "y: expected finite numbers, got 2 infinite"),
        (np.ones(len(DATA)), "values that vary"),
        (2.0 + 3.0 * DATA["x"].to_numpy(), "the fixed effects fit it perfectly"),
        (DATA["f"].to_numpy(), "y: expected numbers"),
        (np.ones((len(DATA), 2)), r"one response, got shape \(\d+, 2\)"),
        (missing[:-1], f"expected {len(DATA)} numbers, one for each row of this fit; got {len(DATA) - 1}"),
        (3.0, r"one response, got shape \(\)"),
    ):
        with pytest.raises(lmm.DataError, match=part):
            fit.refit(y)


def test_refit_of_a_transformed_response_is_in_its_units():
    data = DATA.assign(y=np.exp(DATA["y"]))
    fit = lmm.fit("log(y) ~ x + (1 | g)", data)
    same(fit.refit(other_response()), lmm.fit("log(y) ~ x + (1 | g)", data.assign(y=np.exp(other_response()))))


# ---- the algebra of formulas -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", R, ids=lambda case: f"{case['old']}, {case['new']}")
def test_updated_formula_is_rs(case):
    expected = join(tokenize(WRITTEN_OTHERWISE.get(case["result"], case["result"])))
    assert updated(case["old"], case["new"]) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("y ~ x + offset(o)", ". ~ . - offset(o)", "y ~ x"),  # R keeps it
        ("y ~ x + (1 + x | g)", ". ~ . - (x | g)", "y ~ x"),  # R tells these apart
        ("y ~ x + (x|g)", ". ~ . - ( 1 + x | g )", "y ~ x"),
        ("y ~ x + (1 + x | g)", ". ~ . + (x | g)", "y ~ x + (1 + x | g)"),
        ("y ~ x", ". ~ . + diag(1 + x | g)", "y ~ x + diag(1 + x | g)"),
        ("y ~ x + {x * 2}", ". ~ . - x", "y ~ {x * 2}"),
        ("log(y) ~ x", "sqrt(. + 1) ~ .", "sqrt(log(y) + 1) ~ x"),
        ("y - x ~ 1", ". * 2 ~ .", "(y - x) * 2 ~ 1"),
        ("y ~ -1 + x", "~ .", "y ~ x - 1"),
    ],
)
def test_updated_formula_beyond_r(old, new, expected):
    assert updated(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("y ~ x + (1 | g)", ". ~ . - z", "'z' is subtracted, but it is no term; there are: x"),
        ("y ~ x + (1 | g)", ". ~ . - (x | g)", r"'\(x \| g\)' is subtracted, but it is no term; did you mean \(1 \| g"),
        ("y ~ x + (1 | g)", ". ~ . * z", r"'\(1 \| g\):z' multiplies a random term"),
        ("y ~ x", ". ~ . + + z", "a term is missing"),
        ("y ~ x", ". ~", "expected one '~' with terms right of it"),
        ("y ~ x", ". + z", "expected one '~' with terms right of it"),
        ("y ~ x", ". ~ . + (1 | g", "expected as many"),
        ("y ~ x", ". ~ x ^ z", "cannot read 'x \\^ z'"),
        ("y ~ x", 3, "expected text such as"),
        ("y ~ .", ". ~ x", "name the columns"),
    ],
)
def test_updated_formula_refuses(old, new, part):
    with pytest.raises(lmm.FormulaError, match=part):
        updated(old, new)


# ---- update ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fit():
    return lmm.fit("y ~ x + (1 | g)", DATA, method="ML", weights="w")


@pytest.mark.parametrize(
    "formula", [". ~ . - x", ". ~ . + (1 | h)", ". ~ . - (1 | g)", "I(. - 1) ~ .", "o ~ ."],
)  # fmt: skip
def test_update_of_the_formula(fit, formula):
    again = fit.update(formula)
    assert again.formula == updated("y ~ x + (1 | g)", formula)
    same(again, lmm.fit(again.formula, DATA, method="ML", weights="w"))
    assert fit.formula == "y ~ x + (1 | g)"


def test_update_of_data_and_options(fit):
    other = DATA.assign(y=other_response()).iloc[5:]
    same(fit.update(data=other), lmm.fit("y ~ x + (1 | g)", other, method="ML", weights="w"))
    same(fit.update(method="reml", weights=None), lmm.fit("y ~ x + (1 | g)", DATA))
    same(
        fit.update("~ . + z", other, offset="o", solver="dense"),
        lmm.fit("y ~ x + (1 | g) + z", other, method="ML", weights="w", offset="o", solver="dense"),
    )
    decaying = fit.update(residual="ou(t | g)")
    assert decaying.frame.labels.residual is not None
    same(decaying.update(residual=None), fit)
    assert fit.frame.labels.residual is None


def test_update_keeps_and_replaces_matrices_and_structures():
    known = {"g": models.kinship(DATA)}
    fit = lmm.fit("y ~ x + (1 | g) + (0 + f | h)", DATA, kinship=known, covariance={"h": lmm.covariance.Diagonal()})
    known.clear()  # what a fit was asked for does not change with the caller's dict
    again = fit.update(". ~ . - x")
    assert "Known matrix across: g" in str(again.summary())
    assert list(again.variance().index) == [name for name in fit.variance().index if "corr" not in name]
    with pytest.raises(lmm.KinshipError, match="no random term is grouped by 'g'"):
        fit.update(". ~ . - (1 | g)")
    assert fit.update(". ~ . - (1 | g)", kinship=None).n_groups == {"h": 4}


def test_update_of_the_way_of_fitting_builds_no_design(fit, monkeypatch):
    import jaxlmm.api.call as call

    monkeypatch.setattr(call, "build_frame", None)
    again = fit.update(method="REML", solver="dense")
    assert again.design is fit.design
    assert (again.method, again.solver, fit.method, fit.solver) == ("REML", "dense", "ML", "moments")


def test_update_sees_a_column_added_since():
    data = DATA.copy()
    fit = lmm.fit("y ~ x + (1 | g)", data)
    data["x2"] = data["x"] ** 2
    assert "x2" in fit.update(". ~ . + x2").fixef()


def test_update_after_refit():
    y = other_response()
    again = lmm.fit("y ~ x + (1 | g)", DATA).refit(y)
    same(again.update(method="ML"), lmm.fit("y ~ x + (1 | g)", DATA.assign(y=y), method="ML"))
    with pytest.raises(lmm.OptionError, match=r"came from refit\(y\) and is not in the data"):
        again.update(". ~ . - x")
    with pytest.raises(lmm.OptionError, match=r"came from refit\(y\) and is not in the data"):
        again.update(method="ML").update(weights="w")
    same(again.update(". ~ . - x", DATA.assign(y=y)), lmm.fit("y ~ (1 | g)", DATA.assign(y=y)))


def test_update_refuses(fit):
    for formula, options, error, part in (
        (None, {"methods": "ML"}, lmm.OptionError, "did you mean method"),
        (None, {"method": "mle"}, lmm.OptionError, "expected 'REML' or 'ML'"),
        (None, {"solver": "fast"}, lmm.OptionError, "solver: expected one of"),
        (None, {"optimizer": "bobyqa"}, lmm.OptionError, "expected 'newton' or an optax"),
        (None, {"covariance": [1]}, lmm.OptionError, "expected a dict from group to structure"),
        (". ~ . + xx", {}, lmm.FormulaError, "unknown variable 'xx'"),
    ):
        with pytest.raises(error, match=part):
            fit.update(formula, **options)


def test_a_call_cannot_be_changed(fit):
    with pytest.raises(AttributeError):
        fit.call.method = "REML"
    with pytest.raises(AttributeError):
        fit.call.options.weights = None
