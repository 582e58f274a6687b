"""Generalized models by ``fit_many``: against glmmTMB one by one, against ``fit``, missing and hopeless responses."""

import numpy as np
import pandas as pd
import pytest
import scipy

import jaxlmm as lmm

import references

LOGLIK = 1e-6
"""How much a log-likelihood may be below glmmTMB's."""

IN_STANDARD_ERRORS, RELATIVE = 1e-4, 1e-3
"""Of coefficients, and of standard errors, standard deviations and dispersion."""

POLISHED = 5e-3
"""Of glmmTMB's gradient: with a larger one its numbers are no optimum to these digits."""

LARGEST_SIZE = 1e4
"""glmmTMB's size, the inverse of our overdispersion, beyond which its criterion is rounding: it goes to infinity where
ours is Poisson's limit."""

SMALLEST_SD = 1e-2
"""Of glmmTMB's standard deviation: nearer to zero its logarithm is not determined to these digits."""

SAME = 1e-9

FORMULA = "~ dx + visit + offset(log(depth)) + (1 | subject)"
COLUMNS = ["b0", "bMD1", "bMD2", "bvisit"]


@pytest.fixture(scope="module")
def data():
    return pd.read_csv(references.HERE / "generalized_many" / "many_counts120.data.csv.gz", dtype={"subject": str})


@pytest.fixture(scope="module")
def negative_binomial(data):
    return lmm.fit_many(FORMULA, data, responses="t*", family="nbinom2")


def expected(many, family):
    table = pd.read_csv(references.HERE / "generalized_many" / "many_counts120.fits.csv.gz")
    return table[table["family"] == family].set_index("response").loc[list(many.responses)]


def check_against(many, family, has_optimum):
    """Compare the responses of which glmmTMB has an optimum; return the others."""
    table, estimates = expected(many, family), many.estimates
    good = has_optimum(table).to_numpy() & (table["grad"] < POLISHED) & estimates.proven
    assert (-0.5 * estimates.deviance - table["logLik"])[good].min() > -LOGLIK
    errors = estimates.uncertainty.std_error[good]
    apart = np.abs(estimates.beta - table[COLUMNS].to_numpy())[good] / errors
    assert apart.max() < IN_STANDARD_ERRORS
    np.testing.assert_allclose(errors, table[["se0", "seMD1", "seMD2", "sevisit"]][good], rtol=RELATIVE)
    np.testing.assert_allclose(estimates.report[good, 0], table["sd_subject"][good], rtol=RELATIVE)
    return table, good


def test_120_taxa_by_negative_binomial_models_are_glmmtmb_s(negative_binomial):
    many = negative_binomial
    table, good = check_against(
        many, "nbinom2", lambda t: (t["dispersion"] < LARGEST_SIZE) & (t["sd_subject"] > SMALLEST_SD)
    )
    assert good.sum() > 70
    np.testing.assert_allclose(many.estimates.report[good, 1], 1.0 / table["dispersion"][good], rtol=RELATIVE)
    at_limit = table.index[table["dispersion"] > 1e6].difference(["t119", "t120"])
    overdispersion = many.variance().query("parameter == 'overdispersion'").set_index("response")
    assert (overdispersion.loc[at_limit, "estimate"] < 1e-4).all()  # Poisson's limit is a boundary, and has numbers
    hopeless = many.failed().set_index("response")
    assert hopeless.index.tolist() == ["t119", "t120"]
    assert hopeless["status"].tolist() == ["not_identified", "not_identified"]
    assert hopeless.loc["t119", "reason"] == "separated: -Intercept + dx[T.MD1]"
    assert hopeless.loc["t120", "reason"] == "separated: -Intercept"


def test_120_taxa_by_poisson_models_are_glmmtmb_s(data):
    many = lmm.fit_many(FORMULA, data, responses="t*", family="poisson")
    table, good = check_against(many, "poisson", lambda t: t["sd_subject"] > SMALLEST_SD)
    assert good.sum() == 87  # 20 of the others are near zero in glmmTMB, 11 not polished there, 2 without an estimate
    ahead = -0.5 * many.estimates.deviance - table["logLik"]
    assert ahead[many.estimates.proven].min() > -LOGLIK  # of all 118, also where the estimates are not comparable
    assert many.failed()["response"].tolist() == ["t119", "t120"]


def test_taxa_by_tweedie_models_are_glmmtmb_s(data):
    taxa = ["t001", "t003", "t005", "t015", "t017", "t041", "t061", "t119"]
    shares = data[taxa].div(data["depth"], axis=0) * 1e3
    many = lmm.fit_many("~ dx + visit + (1 | subject)", data, responses=shares, family="tweedie")
    table, good = check_against(many, "tweedie", lambda t: t["power"] < 1.99)
    assert good.sum() == 6
    np.testing.assert_allclose(many.estimates.report[good, 2], table["power"][good], rtol=RELATIVE)
    limit = many.estimates.names.index("t017")  # no zero: the power goes to 2, a gamma distribution
    assert many.status["t017"] == "boundary"
    assert -0.5 * many.estimates.deviance[limit] > table["logLik"]["t017"] - LOGLIK
    assert many.failed()["response"].tolist() == ["t119"]


def test_twins_by_tweedie_models_have_quantile_residuals_of_their_distribution():
    rng = np.random.default_rng(8)
    twins = pd.DataFrame({"family": np.repeat(np.arange(80), 2), "age": np.repeat(rng.normal(0.0, 1.0, 80), 2)})
    twins = twins.assign(bmi=rng.normal(size=160), MZ=(twins["family"] < 40).astype(float))
    twins["DZ"] = 1.0 - twins["MZ"]
    mean = np.exp(rng.normal(0.0, 0.6, (80, 2))[twins["family"]] + 0.3 * twins[["bmi"]].to_numpy())
    number = rng.poisson(mean**0.5 / 0.5)  # dispersion 1, power 1.5: a sum of exponential variables
    abundance = pd.DataFrame(rng.gamma(np.maximum(number, 1), 0.5 * mean**0.5) * (number > 0)).add_prefix("taxon")
    abundance.loc[5, "taxon1"] = np.nan
    formula = "~ age + bmi + (0 + MZ | family) + (0 + DZ | family)"
    many = lmm.fit_many(formula, twins, responses=abundance, family="tweedie")
    assert many.failed().empty
    fitted, residuals = many.fitted(), many.residuals("quantile", seed=2)
    assert residuals.isna().equals(abundance.isna().rename_axis(columns="response"))
    for name, (dispersion, power) in zip(many.responses, many.estimates.dispersion, strict=True):
        mean, y, found = fitted[name], abundance[name], residuals[name]
        rate = mean ** (2.0 - power) / (dispersion * (2.0 - power))
        shape, scale = (2.0 - power) / (power - 1.0), dispersion * (power - 1.0) * mean ** (power - 1.0)
        sums = np.arange(1, 200)[:, None]
        each = scipy.stats.poisson.pmf(sums, rate.to_numpy()) * scipy.special.gammainc(sums * shape, y / scale)
        below = np.exp(-rate) + each.sum(axis=0)
        np.testing.assert_allclose(scipy.special.ndtr(found[y > 0]), below[y > 0], rtol=1e-6)
        assert (scipy.special.ndtr(found[y == 0]) < np.exp(-rate[y == 0])).all()
        assert (y == 0).sum() > 10


def test_responses_are_those_of_single_fits_and_of_other_batches(negative_binomial, data):
    names = ["t003", "t053"]
    for name in names:
        one, number = negative_binomial[name], negative_binomial.responses.index(name)
        np.testing.assert_allclose(one.deviance, negative_binomial.estimates.deviance[number], rtol=SAME)
        np.testing.assert_allclose(one.fixef(), negative_binomial.estimates.beta[number], rtol=1e-6)
        np.testing.assert_allclose(one.fitted(), negative_binomial.fitted()[name], rtol=1e-6)
        for kind in ("pearson", "deviance"):
            np.testing.assert_allclose(one.residuals(kind), negative_binomial.residuals(kind)[name], atol=1e-6)
        modes = one.ranef("subject")["Intercept"]
        own = negative_binomial.ranef("subject")[name].droplevel(1)
        np.testing.assert_allclose(own.loc[modes.index], modes, atol=1e-6)
    alone = lmm.fit_many(FORMULA, data, responses=names, family="nbinom2")
    numbers = [negative_binomial.responses.index(name) for name in names]
    np.testing.assert_allclose(alone.estimates.deviance, negative_binomial.estimates.deviance[numbers], rtol=SAME)


def test_missing_and_impossible_values_are_told_response_by_response(data):
    missing = data["t003"].astype(float).where(np.arange(320) % 7 != 2)
    without_level = data["t003"].astype(float).where(data["dx"] != "MD2")
    responses = pd.DataFrame(
        {
            "some": missing,
            "negative": data["t001"] - 5.0,
            "half": data["t001"] + 0.5,
            "none": np.nan,
            "infinite": np.where(np.arange(320) == 3, np.inf, data["t001"]),
            "level": without_level,
        }
    )
    many = lmm.fit_many(FORMULA, data, responses=responses, family="nbinom2")
    rows = many.glance().set_index("response")
    assert rows.loc[["negative", "half", "none", "infinite"], "reason"].tolist() == [
        "not_of_family", "not_of_family", "all_missing", "infinite",
    ]  # fmt: skip
    with pytest.raises(
        lmm.DataError, match=r"'half' has no fit: not_of_family, expected counts, .* in row 0 .320 such"
    ):
        many["half"]
    for name in ("some", "level"):
        observed = data.assign(y=responses[name])[responses[name].notna()]
        one = lmm.fit("y " + FORMULA, observed, family="nbinom2")
        assert rows.loc[name, "n"] == len(observed)
        np.testing.assert_allclose(one.deviance, rows.loc[name, "deviance"], rtol=SAME)
        own = many.tidy().query("response == @name").set_index("term")["estimate"].dropna()
        np.testing.assert_allclose(own, one.fixef().loc[own.index], rtol=1e-6)
        seen = responses[name].notna()
        np.testing.assert_allclose(many.fitted().loc[seen, name], one.fitted(), rtol=1e-6)
    assert many.fitted().loc[responses["some"].isna(), "some"].isna().all()
    residuals = many.residuals("quantile", seed=1)["some"]
    assert abs(residuals.std() - 1.0) < 0.15


def test_tables_of_many(negative_binomial, data, tmp_path):
    some = negative_binomial.tidy().query("response == 't003'")
    assert np.isinf(some["df"]).all()
    assert negative_binomial.anova()["q_value"].notna().sum() > 200
    compared = negative_binomial.compare("~ . - dx")
    assert compared.loc[compared["response"] == "t003", "df"].item() == 2.0
    means = negative_binomial.emmeans("dx", type="response")
    linear = negative_binomial.emmeans("dx")
    np.testing.assert_allclose(means.to_frame()["estimate"], np.exp(linear.to_frame()["estimate"]))
    assert means.pairs()["contrast"].str.contains(" / ").all()
    negative_binomial.save(tmp_path / "many.json")
    loaded = lmm.load(tmp_path / "many.json")
    pd.testing.assert_frame_equal(loaded.tidy(), negative_binomial.tidy())
    for refused in (negative_binomial.pve, negative_binomial.moderate):
        with pytest.raises(lmm.OptionError, match="expected a linear mixed model"):
            refused()
    with pytest.raises(lmm.FormulaError, match="by trials="):
        lmm.fit_many("cbind(t001, t002) ~ dx", data, family="binomial")
