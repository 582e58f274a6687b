"""Generalized models by ``fit``: against glmmTMB and lme4, forms of responses, separation, what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.families import family_of

import references

LOGLIK = 1e-6
"""How much the log-likelihood may be below the reference's."""

IN_STANDARD_ERRORS, RELATIVE = 1e-4, 1e-3
"""Of coefficients, and of standard errors, standard deviations and dispersion, as the reference is polished."""

SAME = 1e-9
"""Relative difference of two ways to the same optimum."""

NAMES = ["g_bacteria_agq25", "g_cbpp_olre", "g_cbpp_period_herd", "g_salamanders_nb2", "g_sim_tweedie"]
"""One of each kind; the criterion of all is compared in ``likelihood/test_laplace.py``."""


@pytest.mark.parametrize("name", NAMES)
def test_optimum_is_that_of_the_reference_or_better(name):
    record = json.loads((references.HERE / "generalized" / f"{name}.json").read_text())
    family = family_of({"Gamma": "gamma"}.get(record["family"], record["family"])).replace(link=record["link"])
    data = references.dataset(record["dataset"])
    fit = lmm.fit(record["formula"], data, family=family, quadrature=record.get("nAGQ", 1))
    assert fit.status in ("interior", "boundary")
    if "logLik" in record:
        assert fit.loglik > record["logLik"] - LOGLIK
    if record.get("gradient_max", 0.0) > 1e-4:  # glmmTMB has no optimum, and ours is better
        assert fit.loglik > record["logLik"] + 1e-3
        return
    coef = fit.coef()
    assert (np.abs(coef["estimate"] - record["fixef"]) / coef["std_error"]).max() < IN_STANDARD_ERRORS
    assert np.isinf(coef["df"]).all()
    if "se" in record:
        np.testing.assert_allclose(coef["std_error"], record["se"], rtol=RELATIVE)
    report = fit.variance()["estimate"].to_numpy()
    # Of glmmTMB by its theta: what its VarCorr() printed is smaller by exp(0.001), from a point of its differences.
    sds = record["theta"] if "theta" in record else np.exp(record["theta_glmmTMB"])
    np.testing.assert_allclose(report[: len(sds)], sds, rtol=RELATIVE)
    if family.n_dispersion:
        (sigma,) = record["dispersion_sigma"]
        first = {"nbinom2": 1.0 / sigma, "Gamma": sigma**2}.get(record["family"], sigma)
        np.testing.assert_allclose(report[-family.n_dispersion], first, rtol=RELATIVE)
    if record.get("psi_tweedie_power"):
        np.testing.assert_allclose(report[-1], record["psi_tweedie_power"], rtol=RELATIVE)


def counts():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 6).astype(str), "x": rng.normal(size=120)})
    data["f"] = np.tile(["a", "b", "c"], 40)
    mean = np.exp(0.8 + 0.4 * data["x"] + rng.normal(0.0, 0.5, 20)[data["g"].astype(int)])
    return data.assign(y=rng.poisson(mean), even=np.floor(mean + 0.5))


DATA = counts()


@pytest.fixture(scope="module")
def poisson():
    return lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson")


def test_overdispersion_of_poisson_data_is_zero_with_the_limit_s_numbers(poisson):
    general = lmm.fit("even ~ x + f + (1 | g)", DATA, family="nbinom2")  # less than Poisson's variance
    limit = poisson.refit(DATA["even"])
    assert general.status == "boundary"
    assert general.certificate.multipliers["overdispersion"] > 0.0
    assert general.variance().loc["overdispersion", ["estimate", "at_boundary"]].tolist() == [0.0, True]
    np.testing.assert_allclose(general.deviance, limit.deviance, rtol=1e-10)
    np.testing.assert_allclose(general.fixef(), limit.fixef(), rtol=1e-6)
    np.testing.assert_allclose(general.coef()["std_error"], limit.coef()["std_error"], rtol=1e-6)
    table = lmm.compare(limit, general)
    assert table["null_distribution"].iloc[1] == "0.5 chi2(0) + 0.5 chi2(1)"
    np.testing.assert_allclose(table["statistic"].iloc[1], 0.0, atol=1e-8)


def test_modes_have_the_score_and_the_curvature_of_their_rows(poisson):
    sd = poisson.variance()["estimate"].iloc[0]
    eta, g = np.log(poisson.fitted()), DATA["g"].astype(int)
    modes, sds = poisson.ranef("g")["Intercept"], poisson.ranef_sd("g")["Intercept"]
    order = modes.index.astype(int)
    totals = np.bincount(g, DATA["y"] - np.exp(eta))[order]
    np.testing.assert_allclose(modes / sd**2, totals, atol=1e-8)
    weights = np.bincount(g, np.exp(eta))[order]
    np.testing.assert_allclose(sds, sd / np.sqrt(1.0 + sd**2 * weights), rtol=1e-8)


def test_successes_are_told_in_any_form():
    rng = np.random.default_rng(5)
    data = DATA.assign(n=rng.integers(1, 6, 120))
    data["s"] = rng.binomial(data["n"], 0.4)
    formula = "~ x + (1 | g)"
    pairs = lmm.fit(f"cbind(s, n - s) {formula}", data, family="binomial")
    trials = lmm.fit(f"s {formula}", data, family="binomial", trials="n")
    np.testing.assert_allclose(trials.deviance, pairs.deviance, rtol=SAME)
    np.testing.assert_allclose(trials.fitted(), pairs.fitted(), rtol=1e-6)
    single = data.assign(one=(data["s"] > 1).astype(int))
    single["word"] = np.where(single["one"] == 1, "well", "ill")
    single["factor"] = pd.Categorical(single["word"], ["well", "ill"])
    number, word, factor = (
        lmm.fit(f"{name} {formula}", single, family="bernoulli") for name in ("one", "word", "factor")
    )
    logical = lmm.fit(f"one {formula}", single.assign(one=single["one"] == 1), family="binomial")
    for other in (word, logical):
        np.testing.assert_allclose(other.fixef(), number.fixef(), rtol=SAME)
    np.testing.assert_allclose(factor.fixef(), -number.fixef(), rtol=1e-6)  # "well" comes first: a failure
    assert "few rows in a level (here 6.0 on average)" in str(number.summary())
    assert repr(number).endswith("; 1 note, print its summary()>")


@pytest.fixture(scope="module")
def weighted():
    return lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson", weights=1.0 + np.arange(120) % 3)


def test_weights_count_rows_and_an_offset_is_added(poisson, weighted):
    repeated = lmm.fit("y ~ x + f + (1 | g)", DATA.loc[DATA.index.repeat(1 + np.arange(120) % 3)], family="poisson")
    np.testing.assert_allclose(weighted.deviance, repeated.deviance, rtol=SAME)
    np.testing.assert_allclose(weighted.fixef(), repeated.fixef(), rtol=1e-6)
    quartiles = np.quantile(weighted.residuals("pearson"), [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(weighted.estimates.ranges.residuals, quartiles, rtol=1e-8)
    with pytest.raises(lmm.OptionError, match="weights of 1"):
        weighted.simulate()
    shifted = lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson", offset=np.full(120, 0.7))
    np.testing.assert_allclose(shifted.fixef()["Intercept"], poisson.fixef()["Intercept"] - 0.7, rtol=1e-6)
    np.testing.assert_allclose(shifted.fitted(), poisson.fitted(), rtol=1e-6)
    np.testing.assert_allclose(shifted.deviance, poisson.deviance, rtol=SAME)


def test_order_of_rows_and_names_of_levels_change_nothing(poisson):
    other = DATA.sample(frac=1.0, random_state=1)
    other["g"] = "level" + other["g"]
    again = lmm.fit("y ~ x + f + (1 | g)", other, family="poisson")
    np.testing.assert_allclose(again.deviance, poisson.deviance, rtol=SAME)
    np.testing.assert_allclose(again.fixef(), poisson.fixef(), rtol=1e-6)
    np.testing.assert_allclose(again.fitted().loc[DATA.index], poisson.fitted(), rtol=1e-6)


def test_a_separated_response_has_the_limit_and_names_the_direction(poisson):
    empty = DATA["y"].where(DATA["f"] != "c", 0)
    fit = poisson.refit(empty)
    without = lmm.fit("y ~ x + f + (1 | g)", DATA[DATA["f"] != "c"], family="poisson")
    assert fit.status == "not_identified"
    assert fit.certificate.ridge.to_dict() == {"f[T.c]": -1.0}
    assert fit.fixef()["f[T.c]"] == -np.inf
    np.testing.assert_allclose(fit.deviance, without.deviance, rtol=SAME)
    shared = ["Intercept", "x", "f[T.b]"]
    np.testing.assert_allclose(fit.fixef()[shared], without.fixef(), rtol=1e-6)
    np.testing.assert_allclose(fit.coef().loc[shared, "std_error"], without.coef()["std_error"], rtol=1e-6)
    assert np.isnan(fit.coef().loc["f[T.c]", "std_error"])
    assert (fit.fitted()[DATA["f"] == "c"] == 0.0).all()
    assert "no finite estimate" in str(fit.summary())
    population = fit.predict(DATA, re_form="~0", interval="confidence")
    own = without.predict(DATA[DATA["f"] != "c"], re_form="~0", interval="confidence")
    np.testing.assert_allclose(population[DATA["f"] != "c"], own, rtol=1e-6)
    assert (population.loc[DATA["f"] == "c", "estimate"] == 0.0).all()
    for kind in ("response", "pearson", "deviance"):
        assert (fit.residuals(kind)[DATA["f"] == "c"] == 0.0).all()
    assert (fit.simulate(3, seed=1)[DATA["f"] == "c"] == 0.0).all(axis=None)


def test_rows_that_do_not_move_are_predicted_whatever_the_reference_level_is(poisson):
    """All coefficients move where the reference level has zeros alone, and the rows of the other levels do not."""
    data = DATA.assign(y=DATA["y"].where(DATA["f"] != "a", 0))
    fit = poisson.refit(data["y"])
    assert np.isinf(fit.fixef()[["Intercept", "f[T.b]", "f[T.c]"]]).all()
    np.testing.assert_allclose(fit.predict(data)["estimate"], fit.predict()["estimate"], rtol=1e-6)
    population = fit.predict(data, type="link", re_form="~0")["estimate"]
    assert (population[data["f"] == "a"] == -np.inf).all()
    without = lmm.fit("y ~ x + f + (1 | g)", data[data["f"] != "a"], family="poisson")
    own = without.predict(data[data["f"] != "a"], type="link", re_form="~0")["estimate"]
    np.testing.assert_allclose(population[data["f"] != "a"], own, rtol=1e-6)


def test_a_response_of_zeros_has_no_estimate(poisson):
    fit = poisson.refit(np.zeros(120))
    assert fit.status == "not_identified"
    assert fit.certificate.ridge.to_dict() == {"Intercept": -1.0}
    assert fit.fixef()["Intercept"] == -np.inf
    assert not np.isfinite(fit.fixef()).any()
    assert fit.variance()["estimate"].isna().all()
    assert fit.deviance == 0.0


def test_a_binary_response_that_a_predictor_orders_is_separated():
    data = DATA.assign(late=(DATA["x"] > 0.3).astype(float))
    fit = lmm.fit("late ~ x + (1 | g)", data, family="binomial")
    assert fit.status == "not_identified"
    assert set(fit.certificate.ridge.index) == {"Intercept", "x"}
    assert fit.fixef()["x"] == np.inf


def test_values_may_be_held_and_started_from(poisson):
    held = lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson", fixed={"g: sd(Intercept)": 0.9})
    assert held.variance()["estimate"].iloc[0] == 0.9
    assert held.deviance > poisson.deviance
    general = lmm.fit("y ~ x + f + (1 | g)", DATA, family="nbinom2", fixed={"overdispersion": 0.5})
    assert general.variance().loc["overdispersion", ["estimate", "fixed"]].tolist() == [0.5, True]
    assert general.n_params == poisson.n_params
    at_limit = lmm.fit("y ~ x + f + (1 | g)", DATA, family="nbinom2", start={"overdispersion": 0.0})
    usual = lmm.fit("y ~ x + f + (1 | g)", DATA, family="nbinom2")
    np.testing.assert_allclose(at_limit.deviance, usual.deviance, rtol=SAME)
    begun = lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson", start={"g: sd(Intercept)": 0.2})
    np.testing.assert_allclose(begun.deviance, poisson.deviance, rtol=SAME)


def test_known_matrix_across_levels(poisson):
    ids = sorted(DATA["g"].unique())
    identity = pd.DataFrame(np.eye(20), index=ids, columns=ids)
    same = lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson", kinship={"g": identity})
    np.testing.assert_allclose(same.deviance, poisson.deviance, rtol=SAME)
    np.testing.assert_allclose(same.fixef(), poisson.fixef(), rtol=1e-6)
    np.testing.assert_allclose(same.ranef("g").loc[ids], poisson.ranef("g").loc[ids], atol=1e-6)
    wide = [*ids, "relative"]
    related = pd.DataFrame(np.eye(21), index=wide, columns=wide)
    related.loc["relative", ids[0]] = related.loc[ids[0], "relative"] = 0.5
    other = lmm.fit("y ~ x + f + (1 | g)", DATA, family="poisson", kinship={"g": related})
    modes = other.ranef("g")["Intercept"]
    np.testing.assert_allclose(modes["relative"], 0.5 * modes[ids[0]], rtol=1e-9)


def test_pure_functions_of_a_design(poisson, weighted):
    with jax.enable_x64(True):
        y, design = jnp.array(DATA["y"].to_numpy(float)), poisson.design
        none, once = jnp.zeros(120), jnp.ones(120)

        @jax.jit
        def estimated(offset, weights, y):
            return lmm.estimate(design.replace(offset=offset, weights=weights), y)

        found = lmm.estimate(design, y)
        np.testing.assert_allclose(found.deviance, poisson.deviance, rtol=SAME)
        np.testing.assert_allclose(found.beta, poisson.fixef(), rtol=1e-6)
        loglik = lmm.loglik(design)(jnp.array(poisson.fixef().to_numpy()), poisson.theta, 1.0, y)
        np.testing.assert_allclose(loglik, poisson.loglik, rtol=SAME)
        slopes = jax.jit(jax.jacrev(lambda offset, y: estimated(offset, once, y).beta[:2], argnums=(0, 1)))
        in_offset, in_y = slopes(none, y)
        np.testing.assert_allclose(in_offset.sum(axis=1), [-1.0, 0.0], rtol=1e-6, atol=1e-9)
        largest = int(DATA["y"].argmax())  # a density that exists at whole numbers alone has no slope at 0
        ahead, behind = (estimated(none, once, y.at[largest].add(step)).beta[:2] for step in (1e-4, -1e-4))
        np.testing.assert_allclose(in_y[:, largest], (ahead - behind) / 2e-4, rtol=1e-6)
        weights = jnp.array(1.0 + np.arange(120) % 3)
        np.testing.assert_allclose(estimated(none, weights, y).deviance, weighted.deviance, rtol=SAME)
        with pytest.raises(lmm.DataError, match="whole numbers of at least 0"):
            lmm.estimate(design, y - 5.0)
    with pytest.raises(lmm.OptionError, match="cannot be profiled over beta"):
        lmm.deviance(poisson.design)


def test_a_changed_design_keeps_its_trials():
    data = DATA.assign(n=DATA["y"] + 2.0)
    design = lmm.design("cbind(y, n - y) ~ x + (1 | g)", data, family="binomial")
    shifted = design.replace(offset=np.zeros(120))
    np.testing.assert_array_equal(shifted.distribution.row_data, design.distribution.row_data)
    assert design.distribution.row_data[0] == data["n"][0]


class Shifted(lmm.families.AbstractFamily):
    """Poisson's distribution by its log-density alone."""

    def log_density(self, y, eta, dispersion):
        return y * eta - jnp.exp(eta) - jax.lax.lgamma(y + 1.0)


def test_a_family_of_ones_own_is_the_built_in_one(poisson):
    own = lmm.fit("y ~ x + f + (1 | g)", DATA, family=Shifted())
    np.testing.assert_allclose(own.deviance, poisson.deviance, rtol=SAME)
    np.testing.assert_allclose(own.coef()["std_error"], poisson.coef()["std_error"], rtol=1e-6)
    assert "Shifted" in str(own.summary())
    assert own.predict(type="link")["estimate"].notna().all()
    for refused in (own.fitted, own.simulate, lambda: own.residuals("pearson")):
        with pytest.raises(lmm.OptionError, match="Shifted"):
            refused()


class Declared(Shifted):
    """The same with whatever as parameters of dispersion."""

    given: object = lmm.families.static()

    @property
    def parameters(self):
        return self.given


WRONG = [
    ("y - 5 ~ x + (1 | g)", {"family": "poisson"}, lmm.DataError, "whole numbers of at least 0.*such rows"),
    ("y + 0.5 ~ x + (1 | g)", {"family": "nbinom2"}, lmm.DataError, "family='tweedie' takes any number"),
    ("y ~ x + (1 | g)", {"family": "gamma"}, lmm.DataError, "numbers above 0; family='tweedie'"),
    ("y ~ x + (1 | g)", {"family": "beta"}, lmm.DataError, "proportions strictly between 0 and 1"),
    ("I(y / 40) ~ x + (1 | g)", {"family": "binomial"}, lmm.DataError, "a proportion times its number of trials"),
    ("y ~ x + (1 | g)", {"family": "binomial", "trials": np.full(120, 2)}, lmm.DataError, "of 2 trials"),
    ("f ~ x + (1 | g)", {"family": "binomial"}, lmm.DataError, "expected two values.*got 3"),
    ("cbind(y, y, y) ~ x + (1 | g)", {"family": "binomial"}, lmm.FormulaError, "cbind.successes, failures."),
    ("cbind(y, y) ~ x + (1 | g)", {"family": "binomial", "trials": "y"}, lmm.OptionError, "leave trials= out"),
    ("cbind(y, y) ~ x + (1 | g)", {"family": "poisson"}, lmm.FormulaError, "successes, failures. is for .*'binomial'"),
    (
        "cbind(y, I(y - 30)) ~ x",
        {"family": "binomial"},
        lmm.DataError,
        r"failures that are whole numbers of at least 0, got I\(y - 30\) of -.* trials less successes",
    ),
    ("cbind(I(-y), y) ~ x", {"family": "binomial"}, lmm.DataError, r"expected successes .*, got I\(-y\) of -"),
    (
        "cbind(y, I(y + 1 / 2)) ~ x",
        {"family": "binomial"},
        lmm.DataError,
        r"expected failures .*, got I\(y \+ 1 / 2\) of 2.5 in row 0",
    ),
    ("y ~ x + (1 | g)", {"family": "poison"}, lmm.OptionError, "did you mean poisson"),
    ("y ~ x + (1 | g)", {"family": "poisson", "trials": "y"}, lmm.OptionError, "successes among trials"),
    ("y ~ x + (1 | g)", {"trials": "y"}, lmm.OptionError, "successes among trials"),
    ("y ~ x + (1 | g)", {"quadrature": 5}, lmm.OptionError, "no integral to approximate"),
    ("y ~ x + (1 | g)", {"family": "poisson", "quadrature": 0}, lmm.OptionError, "a whole number of nodes"),
    ("y ~ x + (1 | g)", {"family": "poisson", "quadrature": 500}, lmm.OptionError, "at most 100 nodes"),
    ("y ~ x + (1 | g) + (1 | f)", {"family": "poisson", "quadrature": 5}, lmm.OptionError, r"got 2 \(g, f\)"),
    ("y ~ x + (1 + x + even | g)", {"family": "poisson", "quadrature": 5}, lmm.OptionError, "got 3"),
    ("y ~ x + (1 | g)", {"family": "poisson", "residual": "ou(x | g)"}, lmm.OptionError, "has no residual"),
    ("y ~ x + (1 | g)", {"family": "poisson", "dispersion": "~ x"}, lmm.OptionError, "has no residual"),
    (
        "y ~ x + (1 | g)",
        {"family": "poisson", "method": "REML", "quadrature": 5},
        lmm.OptionError,
        "expected quadrature=1",
    ),
    ("y ~ x + (1 | g)", {"family": "poisson", "solver": "dense"}, lmm.OptionError, "expected 'auto'"),
    ("y ~ x + (1 | g)", {"family": "poisson", "ziformula": "~ 1"}, lmm.OptionError, "zero inflation"),
    ("y ~ x", {"family": "nbinom2", "dispformula": "~ x"}, lmm.OptionError, "'~ x' in a linear mixed .* no formula"),
    ("y ~ x", {"family": Declared(("phi",))}, lmm.OptionError, "Declared.parameters: expected a tuple .* got 'phi'"),
    ("y ~ x", {"family": Declared(None)}, lmm.OptionError, "expected a tuple of lmm.covariance.Parameter, got None"),
]


@pytest.mark.parametrize(("formula", "options", "error", "message"), WRONG)
def test_bad_input_is_told_before_any_computing(formula, options, error, message):
    with pytest.raises(error, match=message):
        lmm.fit(formula, DATA, **options)


def test_a_family_that_breaks_its_contract_is_told():
    class Branching(lmm.families.AbstractFamily):
        def log_density(self, y, eta, dispersion):
            return jnp.where(eta > 0.0, y * eta - jnp.exp(eta), jnp.sqrt(jnp.maximum(eta, 0.0)))

    class Undefined(lmm.families.AbstractFamily):
        def log_density(self, y, eta, dispersion):
            return y * jnp.log(eta) - eta

    with pytest.raises(lmm.OptionError, match="finite derivatives; where a branch"):
        lmm.testing.check_family(Branching(), [1.0, 2.0])
    with pytest.raises(lmm.OptionError, match=r"Declared.parameters: expected a tuple .* got 'phi'"):
        lmm.testing.check_family(Declared(("phi",)), [1.0, 2.0])
    with pytest.raises(lmm.OptionError, match="got NaN"):
        lmm.testing.check_family(Undefined(), [1.0, 2.0])
    for word, y in {"beta": [0.2, 0.7], "tweedie": [0.0, 2.5], "student_t": [-1.0, 3.0]}.items():
        lmm.testing.check_family(word, y)
    lmm.testing.check_family("binomial", [[1.0, 3.0], [0.0, 1.0]])
    with pytest.raises(lmm.OptionError, match="expected observations that it allows"):
        lmm.testing.check_family("gamma", [0.0, 1.0])
