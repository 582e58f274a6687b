"""Zero-inflated, hurdle and truncated models: against glmmTMB and SciPy, at the boundary, on new data; bad input."""

import json

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats

import jaxlmm as lmm

import references

LOGLIK = 1e-6
"""How much the log-likelihood may be below the reference's."""

IN_STANDARD_ERRORS, RELATIVE = 1e-4, 1e-3
"""Of coefficients, and of standard errors, standard deviations and dispersion, as the reference is polished."""

DENSITY = 1e-10
"""Of log-densities of size up to 100."""

SAME = 1e-8
"""Relative difference of two ways to the same numbers of one fit."""

ZERO, SLOPE = "Zero inflation: logit(Intercept)", "Zero inflation: logit(w)"
PROBABILITY = "Zero inflation: probability"


def salamanders():
    data = references.dataset("Salamanders.csv")
    return data.assign(mined=pd.Categorical(data["mined"].astype(str), ["yes", "no"]))


@pytest.mark.parametrize("name", ["poisson", "nbinom2", "hurdle_nbinom2", "truncated_poisson"])
def test_optimum_is_that_of_glmmtmb(name):
    record = json.loads((references.HERE / "zero_inflated.json").read_text())[name]
    data = salamanders()
    zeros = None if record["ziformula"] == "~0" else record["ziformula"]
    data = data if zeros else data[data["count"] > 0]
    fit = lmm.fit(record["formula"], data, family=record["family"], zero_inflated=zeros)
    assert fit.status == "interior"
    assert fit.n == record["n"]
    assert fit.loglik > record["logLik"] - LOGLIK
    coef, variance = fit.coef(), fit.variance()
    assert (np.abs(coef["estimate"] - record["fixef"]) / coef["std_error"]).max() < IN_STANDARD_ERRORS
    np.testing.assert_allclose(coef["std_error"], record["se"], rtol=RELATIVE)
    np.testing.assert_allclose(variance["estimate"].iloc[0], np.exp(record["theta"][0]), rtol=RELATIVE)
    if record["dispersion"]:
        np.testing.assert_allclose(
            variance.loc["overdispersion", "estimate"], 1 / record["dispersion"][0], rtol=RELATIVE
        )
    if zeros:
        own = variance[variance["group"] == "Zero inflation"]
        assert (np.abs(own["estimate"] - record["zi"]) / own["std_error"]).max() < IN_STANDARD_ERRORS
        np.testing.assert_allclose(own["std_error"], record["zi_se"], rtol=RELATIVE)


def counts():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 8).astype(str), "x": rng.normal(size=320)})
    data["w"], data["f"] = rng.normal(1000.0, 50.0, size=320), np.tile(["a", "b"], 160)
    mean = np.exp(0.8 + 0.4 * data["x"] + rng.normal(0.0, 0.5, 40)[data["g"].astype(int)])
    data["y"] = rng.poisson(mean)
    share = scipy.special.expit(-1.2 + 0.02 * (data["w"] - 1000.0))
    return data.assign(z=np.where(rng.uniform(size=320) < share, 0, data["y"]))


DATA = counts()


@pytest.fixture(scope="module")
def plain():
    return lmm.fit("y ~ x + (1 | g)", DATA, family="poisson")


@pytest.fixture(scope="module")
def constant():
    return lmm.fit("z ~ x + (1 | g)", DATA, family="poisson", zero_inflated="~ 1")


@pytest.fixture(scope="module")
def fit():
    return lmm.fit("z ~ x + (1 | g)", DATA, family="poisson", zero_inflated="~ w")


def test_without_additional_zeros_the_probability_is_zero_with_the_limit_s_numbers(plain, constant):
    none = constant.refit(DATA["y"])
    assert none.status == "boundary"
    assert none.variance().loc[PROBABILITY, ["estimate", "at_boundary"]].tolist() == [0.0, True]
    assert none.certificate.multipliers[PROBABILITY] > 0.0
    np.testing.assert_allclose(none.deviance, plain.deviance, rtol=1e-10)
    np.testing.assert_allclose(none.coef()["std_error"], plain.coef()["std_error"], rtol=1e-6)
    table = lmm.compare(plain, none)
    assert table["null_distribution"].iloc[1] == "0.5 chi2(0) + 0.5 chi2(1)"


def test_columns_of_a_zero_part_without_additional_zeros_are_at_the_limit(plain, fit, tmp_path):
    """That is the model without a zero part, with all its inference, by itself, loaded, and among many."""
    few = DATA["y"].mask((DATA["y"] == 0) & (DATA.index % 3 == 0), 1)  # fewer zeros than Poisson's
    plain, none = plain.refit(few), fit.refit(few)
    assert none.status == "boundary"
    assert "without zero_inflated" in none.certificate.help
    assert none.variance().loc[[ZERO, SLOPE], "estimate"].tolist()[0] == -np.inf
    assert none.variance().loc[[ZERO, SLOPE], "at_boundary"].all()
    np.testing.assert_allclose(none.deviance, plain.deviance, rtol=1e-10)
    for column in ("estimate", "std_error", "p_value"):
        np.testing.assert_allclose(none.coef()[column], plain.coef()[column], rtol=1e-6)
    predicted = none.predict(DATA.head(3))["estimate"]
    np.testing.assert_allclose(predicted, plain.predict(DATA.head(3))["estimate"], rtol=1e-6)
    np.testing.assert_allclose(none.residuals("deviance"), plain.residuals("deviance"), rtol=1e-5, atol=1e-6)
    assert none.simulate(20, seed=1).to_numpy().mean() == pytest.approx(few.mean(), rel=0.2)
    none.save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    np.testing.assert_allclose(loaded.predict(DATA.head(3))["estimate"], predicted)
    responses = pd.DataFrame({"few": few, "z": DATA["z"]})
    many = lmm.fit_many("~ x + (1 | g)", DATA, responses=responses, family="poisson", zero_inflated="~ w")
    assert many.status.tolist() == ["boundary", "interior"]
    own = many.tidy().query("response == 'few'")
    np.testing.assert_allclose(own[["estimate", "p_value"]], plain.coef()[["estimate", "p_value"]], rtol=1e-5)
    by_level = lmm.fit("few ~ x + (1 | g)", DATA.assign(few=few), family="poisson", zero_inflated="~ 0 + f")
    assert by_level.variance()["estimate"].iloc[-2:].tolist() == [-np.inf, -np.inf]


def test_zero_parts_are_compared_by_their_columns(plain, constant, fit):
    assert lmm.compare(constant, fit)["null_distribution"].iloc[1] == "chi2(1)"
    table = lmm.compare(plain.refit(DATA["z"]), fit)
    assert table["null_distribution"].iloc[1] == "not known"
    assert table[["statistic", "df"]].iloc[1].tolist() == [table["deviance"][0] - table["deviance"][1], 2.0]
    assert np.isnan(table["p_value"].iloc[1])
    assert table["model"].str.split(", ", n=1).str[1].tolist() == ["poisson", "poisson, zero-inflated ~ w"]
    held = constant.update(fixed={PROBABILITY: 0.0})
    np.testing.assert_allclose(held.deviance, plain.refit(DATA["z"]).deviance, rtol=1e-10)


def test_units_of_the_columns_change_nothing(fit):
    other = lmm.fit("z ~ x + (1 | g)", DATA.assign(w=DATA["w"] / 1e3 - 1.0), family="poisson", zero_inflated="~ w")
    np.testing.assert_allclose(other.deviance, fit.deviance, rtol=1e-10)
    one, two = fit.variance().loc[SLOPE], other.variance().loc[SLOPE]
    np.testing.assert_allclose([two["estimate"], two["std_error"]], 1e3 * one[["estimate", "std_error"]].astype(float),
                               rtol=1e-5)  # fmt: skip


def test_the_mean_counts_zeros_and_new_data_have_their_own(fit):
    gamma = fit.variance()["estimate"].loc[[ZERO, SLOPE]]
    share = scipy.special.expit(gamma.iloc[0] + gamma.iloc[1] * DATA["w"])
    eta = fit.predict(type="link")["estimate"]
    np.testing.assert_allclose(fit.fitted(), (1 - share) * np.exp(eta), rtol=SAME)
    own, new = fit.predict(interval="confidence"), fit.predict(DATA, interval="confidence")
    np.testing.assert_allclose(new, own, rtol=SAME)
    assert (own["std_error"] > 0).all()
    assert ((own["conf_low"] < own["estimate"]) & (own["estimate"] < own["conf_high"])).all()
    unknown = DATA.head(3).assign(w=[900.0, np.nan, 1100.0])
    np.testing.assert_array_equal(fit.predict(unknown)["estimate"].isna(), [False, True, False])
    np.testing.assert_array_equal(fit.simulate(newdata=unknown)[0].isna(), [False, True, False])
    center = fit.emmeans("x", at={"x": [0.0]}, type="response").to_frame()  # without the zero part
    np.testing.assert_allclose(center["estimate"], np.exp(fit.fixef()["Intercept"]), rtol=SAME)
    with pytest.raises(lmm.DataError, match="w"):
        fit.predict(DATA[["x", "g"]])


def test_predictions_of_either_part(fit, constant):
    """The mean is that of the counts times one less the probability of a zero; errors of both by differences."""
    new = DATA.head(5)
    parts = {kind: fit.predict(new, type=kind, interval="confidence") for kind in ("response", "conditional", "zprob")}
    mean, share = parts["conditional"]["estimate"], parts["zprob"]["estimate"]
    np.testing.assert_allclose(parts["response"]["estimate"], mean * (1.0 - share))
    np.testing.assert_allclose(mean, np.exp(fit.predict(new, type="link")["estimate"]))
    gamma, columns = fit.variance()["estimate"].loc[[ZERO, SLOPE]], np.column_stack([np.ones(5), new["w"]])
    np.testing.assert_allclose(share, scipy.special.expit(columns @ gamma))
    delta = fit.delta(lambda p: jax.nn.sigmoid(p[ZERO] + p[SLOPE] * new["w"].iloc[0]))
    np.testing.assert_allclose(parts["zprob"]["std_error"].iloc[0], delta["std_error"], rtol=1e-4)
    assert ((parts["zprob"]["conf_low"] < share) & (share < parts["zprob"]["conf_high"])).all()
    own = constant.predict(new, type="zprob")
    row = constant.variance().loc[PROBABILITY]
    np.testing.assert_allclose(own, np.tile(row[["estimate", "std_error"]].to_numpy(float), (5, 1)))
    plain = lmm.fit("y ~ x", DATA, family="poisson")
    with pytest.raises(lmm.OptionError, match="'zprob' is of models with zero_inflated="):
        plain.predict(new, type="zprob")


def test_simulations_have_the_model_s_zeros_and_recover_its_parameters(fit):
    draws = fit.simulate(100, seed=1, re_form=None)
    share = scipy.special.expit(fit.variance()["estimate"].loc[[ZERO, SLOPE]] @ np.stack([np.ones(320), DATA["w"]]))
    mean = np.exp(fit.predict(type="link")["estimate"])
    expected = share + (1 - share) * np.exp(-mean)
    error = np.sqrt(np.sum(expected * (1 - expected)) / 100) / 320
    assert abs((draws == 0).to_numpy().mean() - expected.mean()) < 5 * error
    many = fit.simulate(20, seed=3)
    again = lmm.fit_many(
        "~ x + (1 | g)", DATA, responses=many.add_prefix("draw"), family="poisson", zero_inflated="~ w"
    )
    slopes = again.variance()
    slopes = slopes[slopes["parameter"] == SLOPE]["estimate"]
    own = fit.variance().loc[SLOPE]
    assert abs(slopes.mean() - own["estimate"]) < 5 * own["std_error"] / np.sqrt(20)


def test_residuals_are_those_of_the_mixture(fit):
    eta, y = fit.predict(type="link")["estimate"], DATA["z"].to_numpy()
    share = scipy.special.expit(fit.variance()["estimate"].loc[[ZERO, SLOPE]] @ np.stack([np.ones(320), DATA["w"]]))
    mean = np.exp(eta)
    variance = (1 - share) * (mean + share * mean**2)
    np.testing.assert_allclose(fit.residuals("pearson"), (y - (1 - share) * mean) / np.sqrt(variance), rtol=1e-6)
    quantile = scipy.stats.norm.cdf(fit.residuals("quantile", seed=1))
    upper = share + (1 - share) * scipy.stats.poisson(mean).cdf(y)
    lower = np.where(y > 0, share + (1 - share) * scipy.stats.poisson(mean).cdf(y - 1), 0.0)
    assert ((lower - 1e-9 < quantile) & (quantile < upper + 1e-9)).all()
    assert np.isfinite(fit.residuals("deviance")).all()


def test_a_loaded_fit_predicts_and_prints_the_same(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    assert str(loaded.summary()) == str(fit.summary())
    some = DATA.head(5)
    pd.testing.assert_frame_equal(loaded.predict(some, re_form="~0"), fit.predict(some, re_form="~0"))
    text = str(fit.summary())
    assert "Zero inflation: ~ w" in text
    assert "Family: poisson, zero-inflated" in text


def test_rows_without_a_value_of_the_zero_part_are_dropped(fit, constant):
    other = lmm.fit("z ~ x + (1 | g)", DATA.assign(w=DATA["w"].where(DATA.index != 3)), family="poisson",
                    zero_inflated="~ w")  # fmt: skip
    assert (other.n, other.n_dropped) == (319, 1)
    changed = fit.update(zero_inflated="~ 1")
    np.testing.assert_allclose(changed.loglik, constant.loglik, rtol=1e-10)


def test_intervals_of_the_zero_part(constant, fit):
    slope, profile = fit.confint().loc[SLOPE], fit.confint(method="profile", parameters=[SLOPE]).loc[SLOPE]
    error = fit.variance().loc[SLOPE, "std_error"]
    assert (np.abs(profile - slope)[["conf_low", "conf_high"]] < 0.3 * error).all()
    wald, profile = constant.confint(), constant.confint(method="profile", parameters=[PROBABILITY])
    low, high = profile.loc[PROBABILITY, ["conf_low", "conf_high"]]
    assert 0.0 <= low < constant.variance().loc[PROBABILITY, "estimate"] < high < 1.0
    np.testing.assert_allclose([low, high], wald.loc[PROBABILITY, ["conf_low", "conf_high"]], atol=0.05)


def test_many_responses_have_each_their_own_zero_part(constant):
    responses = pd.DataFrame({"z": DATA["z"], "y": DATA["y"], "none": 0, "missing": DATA["z"].where(DATA.index > 20)})
    many = lmm.fit_many("~ x + (1 | g)", DATA, responses=responses, family="poisson", zero_inflated="~ 1")
    assert many.status.tolist() == ["interior", "boundary", "not_identified", "interior"]
    table = many.variance()
    own = table[(table["response"] == "z") & (table["parameter"] == PROBABILITY)]
    np.testing.assert_allclose(own["estimate"], constant.variance().loc[PROBABILITY, "estimate"], rtol=1e-6)
    np.testing.assert_allclose(many.fitted()["z"], constant.fitted(), rtol=1e-5)
    np.testing.assert_allclose(many.tidy().query("response == 'z' & term == 'x'")["p_value"].item(),
                               constant.coef().loc["x", "p_value"], rtol=1e-5)  # fmt: skip
    wald = many.anova()
    assert wald["q_value"].notna().tolist() == (wald["response"] != "none").tolist()
    np.testing.assert_allclose(wald.query("response == 'z'")["statistic"], constant.anova()["statistic"], rtol=1e-5)
    ax = lmm.plot.volcano(many, "x")
    drawn = sum(len(line.get_xdata()) for line in ax.lines[:2])
    assert drawn == 3  # all but the one without an optimum


def test_levels_of_zeros_alone_give_a_hurdle_no_finite_estimate():
    data = DATA.assign(zeros=DATA["z"].where(DATA["f"] == "b", 0), ones=DATA["z"].where(DATA["f"] == "b", 1))
    options = {"family": "truncated_poisson", "zero_inflated": "~ 1"}
    for name in ("zeros", "ones"):
        with pytest.raises(lmm.DataError, match=r"finite estimate of .*Intercept"):
            lmm.fit(f"{name} ~ f + (1 | g)", data, **options)
    many = lmm.fit_many("~ f + (1 | g)", data, responses=["zeros", "ones"], **options)
    assert many.status.tolist() == ["not_identified", "not_identified"]


def test_a_level_of_zeros_gives_the_zero_part_no_finite_estimate():
    """Whatever zeros the family has itself, the likelihood rises for ever with the probability of more."""
    data = DATA.assign(some=DATA["z"].where(DATA["f"] == "a", 0))
    with pytest.raises(lmm.DataError, match=r"zero part, got none that give a finite estimate of f\[T.b\]"):
        lmm.fit("some ~ 1 + (1 | g)", data, family="poisson", zero_inflated="~ f")


@pytest.mark.parametrize("family", ["poisson", "truncated_poisson", "gamma"])
def test_a_zero_part_without_zeros_or_a_hurdle_of_zeros_alone_is_told(family):
    data = DATA.assign(ones=DATA["z"] + 1.0, zeros=0.0)
    with pytest.raises(lmm.DataError, match=r"expected zeros, .* got none in 320 rows; leave zero_inflated= out"):
        lmm.fit("ones ~ x + (1 | g)", data, family=family, zero_inflated="~ w")
    for zeros in ("~ 1", "~ w") if family != "poisson" else ():
        with pytest.raises(lmm.DataError, match="expected others beside zeros, got 320 zeros"):
            lmm.fit("zeros ~ x + (1 | g)", data, family=family, zero_inflated=zeros)


@pytest.mark.parametrize("family", ["poisson", "truncated_poisson"])
def test_a_level_without_zeros_gives_the_zero_part_no_finite_estimate(family):
    data = DATA.assign(some=DATA["z"].where(DATA["f"] == "a", DATA["z"].clip(lower=1)))
    options = {"family": family, "zero_inflated": "~ f"}
    with pytest.raises(lmm.DataError, match=r"zero part, got none that give a finite estimate of -?f\[T.b\]"):
        lmm.fit("some ~ 1 + (1 | g)", data, **options)
    if family == "poisson":
        many = lmm.fit_many("~ 1 + (1 | g)", data, responses=["some", "z"], **options)
        assert many.status["some"] == "not_identified"
        assert many.status["z"] in ("interior", "boundary")
        assert "f[T.b] of the zero part" in str(many.failed().iloc[0].to_dict())


WRONG = [
    ({"family": "truncated_poisson"}, lmm.DataError, "counts of at least 1; zero_inflated="),
    ({"zero_inflated": "~ x"}, lmm.OptionError, "a family of counts or positive numbers, got 'gaussian'"),
    ({"family": "binomial", "zero_inflated": "~ x"}, lmm.OptionError, "family of counts.*got Binomial"),
    ({"family": "student_t", "zero_inflated": "~ 1"}, lmm.OptionError, "family of counts.*got StudentT"),
    ({"family": "poisson", "zero_inflated": "~ w + (1 | g)"}, lmm.FormulaError, "fixed effects alone, got .1 | g."),
    ({"family": "poisson", "zero_inflated": "w"}, lmm.FormulaError, "write '~ w'"),
    ({"family": "poisson", "zero_inflated": "z ~ w"}, lmm.FormulaError, "nothing left of '~', got z"),
    ({"family": "poisson", "zero_inflated": "~ 0"}, lmm.FormulaError, "leave zero_inflated= out"),
    ({"family": "poisson", "zero_inflated": "~ w + offset(x)"}, lmm.FormulaError, "no offset"),
    ({"family": "poisson", "zero_inflated": "~ w + I(2 * w)"}, lmm.DataError, "none of which the others determine"),
    ({"family": "poisson", "zero_inflated": "~ unknown"}, lmm.FormulaError, "unknown"),
    ({"family": "poisson", "zero_inflated": 1}, lmm.OptionError, "expected text such as"),
    ({"family": "poisson", "ziformula": "~ w"}, lmm.OptionError, "write zero_inflated="),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_bad_input_is_told_before_any_computing(options, error, message):
    with pytest.raises(error, match=message):
        lmm.fit("z ~ x + (1 | g)", DATA, **options)
