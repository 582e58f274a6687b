"""620 fits of lme4 on four designs, each column fitted alone with the best of three optimizers.

Tolerances are those of a single fit in ``test_references.py``, and for the same reasons: the log-likelihood is never
more than 1e-6 below the reference's; estimates within 1e-4 of their standard error.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from references import HERE

LOGLIK = 1e-6
IN_STANDARD_ERRORS = 1e-4
RELATIVE = 1e-4
VARIANCE_IN_STANDARD_ERRORS = 1e-3
SINGULAR_SD = 1e-5
"""lme4's ``isSingular(tol = 1e-5)``: what it calls singular has a direction this small, relative to sigma."""

MODELS = {
    "many_twins303_reml": (
        "~ diagnosis + age + bmi + (0 + MZ | family) + (0 + DZ | family)",
        "microbe*",
        "REML",
        {"vcov:family:MZ": "family: sd(MZ)", "vcov:family.1:DZ": "family: sd(DZ)"},
    ),
    "many_slopes120_reml": (
        "~ days + (days | subject)",
        "y*",
        "REML",
        {
            "vcov:subject:(Intercept)": "subject: sd(Intercept)",
            "vcov:subject:days": "subject: sd(days)",
            "vcov:subject:(Intercept):days": "subject: corr(Intercept, days)",
        },
    ),
    "many_slopes120_ml": (
        "~ days + (days || subject)",
        "y*",
        "ML",
        {"vcov:subject:(Intercept)": "subject: sd(Intercept)", "vcov:subject.1:days": "subject: sd(days)"},
    ),
    "many_crossed80_reml": (
        "~ x + (1 | plate) + (1 | sample)",
        "y*",
        "REML",
        {"vcov:plate:(Intercept)": "plate: sd(Intercept)", "vcov:sample:(Intercept)": "sample: sd(Intercept)"},
    ),
}
BETTER = {"many_slopes120_reml": ["y006"]}
"""Where lme4 stopped short: our log-likelihood is higher, and its estimates are not those of the optimum."""

SINGULAR_DIFFERS = {"many_slopes120_reml": ["y082"]}
"""Where our optimum is exactly singular and lme4's is not flagged so; ours is not above lme4's deviance."""

HOPELESS = {"microbe100": "constant", "microbe150": "all_missing", "microbe250": "too_few_rows"}


@functools.cache
def reference(name):
    """R's results, a row per response."""
    table = pd.read_csv(HERE / "many" / f"{name}.fits.csv.gz", skipinitialspace=True, dtype={"singular": str})
    table["singular"] = table["singular"].str.strip() == "TRUE"
    return table.set_index("response")


@functools.cache
def fitted(name):
    """Our fits of one design, made once per run."""
    formula, responses, method, _ = MODELS[name]
    data = pd.read_csv(HERE / "many" / f"{name}.data.csv.gz")
    return lmm.fit_many(formula, data, responses=responses, method=method)


def wide(table, index, values):
    """A long table as responses × names, in R's order of the responses."""
    return table.pivot_table(index="response", columns=index, values=values, dropna=False)


def r_column(term):
    return {"Intercept": "(Intercept)"}.get(term, term.replace("[T.", "").replace("]", ""))


def compared(name):
    """The reference without the responses where our optimum is better."""
    return reference(name).drop(index=BETTER.get(name, []))


def variances(name, values):
    """Variances and covariances as R names them: ours are standard deviations and correlations."""
    many, names = fitted(name), MODELS[name][3]
    found = wide(many.variance(), "parameter", "estimate")
    error = wide(many.variance("variance"), "parameter", "std_error")
    rows, columns = {}, {}
    for theirs, mine in names.items():
        if "corr(" in mine:
            sds = [other for other in names.values() if "sd(" in other]
            rows[theirs] = (found[mine] * found[sds[0]] * found[sds[1]]).where(
                (found[sds] > 0).all(axis=1), 0.0
            )  # a correlation with a variance of zero has no value
            columns[theirs] = np.sqrt(error["subject: var(Intercept)"] * error["subject: var(days)"])
        else:
            rows[theirs] = found[mine] ** 2
            columns[theirs] = error[mine.replace("sd(", "var(")]
    return pd.DataFrame(rows).loc[values.index], pd.DataFrame(columns).loc[values.index]


@pytest.mark.parametrize("name", MODELS)
def test_loglik_is_not_below_the_reference_and_better_ones_are_listed(name):
    theirs = reference(name)
    ours = fitted(name).glance().set_index("response").loc[theirs.index]
    gain = ours["loglik"] - theirs["logLik"]
    assert gain.min() >= -LOGLIK, gain.nsmallest(5)
    assert list(gain.index[gain > LOGLIK]) == BETTER.get(name, []), gain.nlargest(5)
    assert (ours["n"] == theirs["n"]).all()
    assert (ours["reason"] == "").all()
    assert ours["status"].isin(["interior", "boundary"]).all()


def test_620_fits_are_compared():
    assert sum(len(reference(name)) for name in MODELS) == 620


@pytest.mark.parametrize("name", MODELS)
def test_fixed_effects(name):
    theirs, table = compared(name), fitted(name).tidy()
    estimate, std_error = (wide(table, "term", column).loc[theirs.index] for column in ("estimate", "std_error"))
    assert {f"beta:{r_column(term)}" for term in estimate} == {c for c in theirs if c.startswith("beta:")}
    for term in estimate:
        expected, se = theirs[f"beta:{r_column(term)}"], theirs[f"se:{r_column(term)}"]
        off = ((estimate[term] - expected).abs() / se).max()
        assert off <= IN_STANDARD_ERRORS, (term, off)
        off = (std_error[term] / se - 1.0).abs().max()
        assert off <= RELATIVE, (term, off)


@pytest.mark.parametrize("name", MODELS)
def test_variances_and_sigma(name):
    theirs = compared(name)
    ours, error = variances(name, theirs)
    sigma = fitted(name).glance().set_index("response")["sigma"].loc[theirs.index]
    assert (sigma / theirs["sigma"] - 1.0).abs().max() <= RELATIVE
    assert set(ours) == {c for c in theirs if c.startswith("vcov:")}
    for column in ours:
        expected, mine = theirs[column], ours[column]
        zero = expected.abs() < (SINGULAR_SD * theirs["sigma"]) ** 2
        assert (mine[zero].abs() <= (SINGULAR_SD * sigma[zero]) ** 2).all(), column
        allowed = np.maximum(RELATIVE * expected.abs(), VARIANCE_IN_STANDARD_ERRORS * error[column].fillna(0.0))
        wrong = ~zero & ((mine - expected).abs() > allowed)
        assert not wrong.any(), pd.DataFrame({"ours": mine, "lme4": expected, "allowed": allowed})[wrong]


@pytest.mark.parametrize("name", MODELS)
def test_singular_flags_differ_only_where_our_deviance_is_not_higher(name):
    theirs, many = compared(name), fitted(name)
    flags = pd.Series(many.estimates.is_singular, index=many.responses).loc[theirs.index]
    differ = theirs.index[flags != theirs["singular"]]
    assert list(differ) == SINGULAR_DIFFERS.get(name, [])
    for response in differ:
        assert many.glance().set_index("response")["deviance"][response] <= deviance_of_lme4(name, response)


def test_where_we_are_better_the_criterion_is_the_same():
    """Our deviance at lme4's theta is lme4's own: what is better is the optimum."""
    for name, responses in BETTER.items():
        for response in responses:
            expected = -2.0 * reference(name).loc[response, "logLik"]
            assert deviance_of_lme4(name, response) == pytest.approx(expected, abs=2.0 * LOGLIK)


def deviance_of_lme4(name, response):
    """Our deviance at lme4's theta, which is taken from its covariance matrix and sigma."""
    formula, _, method, names = MODELS[name]
    row = reference(name).loc[response]
    a, b, c = (row[column] for column in names)
    across = c / np.sqrt(a) if a > 0 else 0.0
    factor = [np.sqrt(a), across, np.sqrt(max(b - across**2, 0.0))]
    data = pd.read_csv(HERE / "many" / f"{name}.data.csv.gz")
    with jax.enable_x64(True):
        f = lmm.deviance(lmm.design(formula, data), method=method)
        return float(f(jnp.asarray(np.array(factor) / row["sigma"]), jnp.asarray(data[response].to_numpy())))


def test_hopeless_columns_are_rows_with_a_reason():
    many = fitted("many_twins303_reml")
    failed = many.failed().set_index("response")
    assert failed["reason"].to_dict() == HOPELESS
    assert set(failed["status"]) == {"failed"}
    assert failed["n"].to_list() == [250, 0, 4]
    assert len(many) == 303
    rows = many.tidy().query("response in @HOPELESS")
    assert len(rows) == 3 * 6
    assert rows.drop(columns=["response", "n", "term", "status", "reason"]).isna().all().all()


def test_the_twin_study_with_a_crossed_shipment():
    """Two terms on the families and a crossed factor: 303 responses, each proven, some compared with ``fit``."""
    frame = lmm.datasets.twins().rename(columns={"Age.at.metagenomics.sample": "age"})
    rng = np.random.default_rng(1)
    shipment = rng.integers(0, 9, len(frame))
    family = pd.Categorical(frame["IndividualFamilyID"]).codes
    frame["shipment"] = shipment.astype(str)
    spread = [rng.uniform(0, top, 303) * (rng.random(303) > 0.3) for top in (2.0, 1.4, 1.0)]
    twins = np.where(frame["MZ"].to_numpy()[:, None] > 0, spread[0], spread[1]) * rng.normal(size=(125, 303))[family]
    y = twins + rng.normal(size=(9, 303))[shipment] * spread[2] + rng.normal(size=(250, 303))
    family_terms = "(0 + MZ | IndividualFamilyID) + (0 + DZ | IndividualFamilyID)"
    many = lmm.fit_many(f"~ age + IndividualBMI + {family_terms} + (1 | shipment)", frame, responses=y)
    assert set(many.status) == {"interior", "boundary"}
    deviance = many.glance().set_index("response")["deviance"]
    for name in ("y1", "y150", "y303"):
        fit = many[name]
        assert fit.deviance == pytest.approx(deviance[name], rel=1e-12)
        assert fit.status == many.status[name]
