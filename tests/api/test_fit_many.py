"""What must hold of many fits: each is ``fit``'s, alone or in company; hopeless responses are rows with a reason.

Tolerances: ``fit_many`` and ``fit`` run the same iterations, and differ by rounding (1e-13 in practice); sums over
responses in blocks of other sizes are added in another order. Deviances are compared with what 48 rows round to.
"""

import warnings

import jax
import mpmath
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

import models
from models import balanced, draw

AS_FIT = 1e-8
IN_COMPANY = 1e-10
SCALED = 1e-7
SHIFTED = 1e-6
"""Adding 1e6 to a response of size 1 leaves ten digits of it."""
STEEP = 1e-6
"""What a step of a hundredth wins at least where the optimum is not one."""
STEEP_ROUNDING = 5e-6
"""Slopes of 1e6 times the residual's variance, or 1.4e8 per level, take eight of sixteen digits of a deviance of 2,400.
Of 20 responses the largest error was 2e-6, and 9e-7 the standard deviation."""

DATA = models.data(seed=5, levels=20)
FORMULA = "~ b + c + (1 | g)"


SMALL = balanced()


def with_missing(data, seed=3):
    """Six responses: three complete, two with rows of their own missing, one without the last level of f."""
    rng = np.random.default_rng(seed)
    y = 1.0 + draw(data, 6, seed, np.array([0.0, 0.7, 1.2, 0.4, 1.0, 0.9]))
    y[rng.choice(len(y), 6, replace=False), 3] = np.nan
    y[rng.choice(len(y), 10, replace=False), 4] = np.nan
    if "f" in data:
        y[data["f"] == "w", 5] = np.nan
    return y


BOTH = {"weights": "w", "offset": "o"}
CASES = {
    "pooled": (SMALL, FORMULA, {"method": "REML"}, "moments"),
    "pooled ML": (SMALL, FORMULA, {"method": "ML"}, "moments"),
    "irregular": (DATA, "~ x + f + (1 + z | g)", {**BOTH, "method": "REML"}, "moments"),
    "crossed": (DATA, "~ x + (1 | g) + (1 | h)", {**BOTH, "method": "ML"}, "blocked"),
    "dense": (DATA, "~ x + (1 | g)", {**BOTH, "solver": "dense", "method": "REML"}, "dense"),
    "kinship": (DATA, "~ x + (1 | g)", {"kinship": {"g": models.kinship(DATA)}, "method": "ML"}, "spectral"),
    "kinship slope": (DATA, "~ x + (0 + z | g)", {**BOTH, "kinship": {"g": models.low_rank(DATA)}}, "spectral"),
}


def close(mine, theirs, rel=AS_FIT):
    """Assert that arrays agree relative to each entry, or to rounding of the largest, and are NaN together."""
    mine, theirs = np.asarray(mine, float), np.asarray(theirs, float)
    known = np.abs(theirs[np.isfinite(theirs)])
    np.testing.assert_allclose(mine, theirs, rtol=rel, atol=1e-5 * rel * known.max(initial=0.0))


def numbers(many, responses=None):
    """Everything that is known about the responses, in their order."""
    chosen = slice(None) if responses is None else [many.responses.index(name) for name in responses]
    e = many.estimates
    df = e.uncertainty.satterthwaite()
    found = e.beta, e.uncertainty.std_error, df, e.report, e.sigma, e.deviance, e.uncertainty.report_cov
    return [part[chosen] for part in found], e.status[chosen]


def same(some, other, responses, rel=IN_COMPANY):
    (mine, status), (theirs, expected) = numbers(some, responses), numbers(other, responses)
    for one, two in zip(mine, theirs, strict=True):
        close(one, two, rel)
    assert (status == expected).all()


# ---- fit, column by column -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_fit_many_is_fit_column_by_column(case):
    data, formula, options, solver = CASES[case]
    y = with_missing(data)
    many = lmm.fit_many(formula, data, responses=y, **options)
    assert many.estimates.solver == solver
    tables = many.tidy(), many.variance(), many.fitted(), many.residuals(), many.ranef("g")
    glance, pve = many.glance().set_index("response"), many.pve()
    for place, name in enumerate(many.responses):
        one = lmm.fit("y " + formula, data.assign(y=y[:, place]), **options)
        agrees(one, name, tables, glance.loc[name])
        close(pve[pve["response"] == name]["estimate"], one.pve()["estimate"])
        close(pve[pve["response"] == name]["std_error"], one.pve()["std_error"])


def agrees(one, name, tables, glance):
    tidy, variance, fitted, residuals, modes = tables
    mine, theirs = tidy[tidy["response"] == name].set_index("term"), one.coef()
    for column in ("estimate", "std_error", "df", "p_value", "conf_low"):
        close(mine.loc[theirs.index, column], theirs[column])
    assert mine.drop(index=theirs.index)["estimate"].isna().all()  # a level that no row of this response has
    mine, theirs = variance[variance["response"] == name].set_index("parameter"), one.variance()
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        close(mine[column], theirs[column])
    assert (mine["at_boundary"] == theirs["at_boundary"]).all()
    close(glance["deviance"], one.deviance)
    close(glance["sigma"], one.sigma)
    close(glance["bic"], one.bic)
    for column in ("status", "n", "n_params", "df_residual"):
        assert glance[column] == getattr(one, column), column
    rows = one.fitted().index
    close(fitted.loc[rows, name], one.fitted())
    close(residuals.loc[rows, name], one.residuals())
    assert fitted[name].drop(rows).isna().sum() == residuals[name].drop(rows).isna().sum() == len(fitted) - one.n
    theirs = one.ranef("g").iloc[: one.n_groups["g"]]  # relatives without a row come after the levels
    places = pd.MultiIndex.from_product([theirs.index, theirs.columns])
    close(modes[name].loc[places], theirs.to_numpy().ravel())


@pytest.fixture(scope="module")
def company():
    """1,100 responses on the small design; the 70th to 72nd have missing values."""
    y = draw(SMALL, 1100, 7)
    y[[1, 7], 70], y[[2, 8, 30], 71], y[[40, 41], 72] = np.nan, np.nan, np.nan
    return y, lmm.fit_many(FORMULA, SMALL, responses=y)


def test_a_level_without_a_row_leaves_its_column_out_by_every_route():
    """Columns that vanish on a response's rows: alone, together with 32 more, and whatever rounding makes of zero."""
    y = draw(SMALL, 40, 5)
    y[SMALL["b"] == 0] = np.nan
    few, together = (lmm.fit_many(FORMULA, SMALL, responses=y[:, :m]) for m in (5, 40))
    same(few, together, few.responses, AS_FIT)
    one = lmm.fit("y " + FORMULA, SMALL.assign(y=y[:, 0]))
    close(few.tidy()["estimate"][:3], one.coef()["estimate"])
    assert few.tidy().query("term == 'b'")["estimate"].isna().all()
    assert set(together.status) <= {"interior", "boundary"}


def test_a_pattern_that_many_share_gives_what_it_gives_a_few():
    y = draw(SMALL, 33, 6)
    y[[3, 9, 10, 33]] = np.nan
    shared, few = lmm.fit_many(FORMULA, SMALL, responses=y), lmm.fit_many(FORMULA, SMALL, responses=y[:, :5])
    same(few, shared, few.responses, AS_FIT)
    one = lmm.fit("y " + FORMULA, SMALL.assign(y=y[:, 2]))
    tables = shared.tidy(), shared.variance(), shared.fitted(), shared.residuals(), shared.ranef("g")
    agrees(one, "y3", tables, shared.glance().set_index("response").loc["y3"])


def test_one_of_many_is_a_whole_fit(company):
    _, many = company
    for name in ("y5", "y72"):
        one, row = many[name], many.glance().set_index("response").loc[name]
        assert (one.status, one.n) == (row["status"], row["n"])
        close(one.deviance, row["deviance"])
        assert one.formula.startswith(f"`{name}` ~") or one.formula.startswith(f"{name} ~")
        close(one.predict()["estimate"], many.fitted().loc[one.fitted().index, name])


def test_a_response_called_as_a_predictor_does_not_take_its_place():
    y = pd.DataFrame(draw(SMALL, 3, 8), columns=["b", "self", "x`y"])
    many = lmm.fit_many(FORMULA, SMALL, responses=y)
    for place, name in enumerate(many.responses):
        one = lmm.fit("y " + FORMULA, SMALL.assign(y=y.to_numpy()[:, place]))
        close(many[name].coef()["estimate"], one.coef()["estimate"])


# ---- company ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [slice(0, 1), slice(0, 70), slice(70, 71), slice(68, 73)])
def test_company_changes_nothing(company, places):
    y, many = company
    names = many.responses[places]
    alone = lmm.fit_many(FORMULA, SMALL, responses=pd.DataFrame(y[:, places], columns=names))
    same(alone, many, names)


def test_permuting_responses_permutes_rows(company):
    y, many = company
    order = np.random.default_rng(0).permutation(y.shape[1])
    names = [many.responses[place] for place in order]
    other = lmm.fit_many(FORMULA, SMALL, responses=pd.DataFrame(y[:, order], columns=names))
    assert other.responses == tuple(names)
    assert list(other.tidy()["response"][::3]) == names
    same(other, many, names)


# ---- hopeless responses ----------------------------------------------------------------------------------------------


def test_hopeless_responses_are_rows_with_a_reason(company):
    y, many = company
    x = np.column_stack([np.ones(len(SMALL)), SMALL["b"], SMALL["c"]])
    n = len(SMALL)
    hopeless = {
        "constant": np.full(n, 2.5), "zero": np.zeros(n), "nothing": np.full(n, np.nan),
        "infinite": np.r_[np.inf, y[1:, 0]], "minus": np.r_[np.nan, -np.inf, y[2:, 0]],
        "three rows": np.where(np.isin(np.arange(n), [0, 7, 13]), y[:, 0], np.nan),
        "one row": np.r_[1.0, np.full(n - 1, np.nan)],
        "perfect": x @ [1.0, 0.3, -2.1],
        "perfect, missing": np.where(np.arange(n) % 5 == 0, np.nan, x @ [3.0, 1e-3, 7.0]),
        "constant, missing": np.where(np.arange(n) % 7 == 0, np.nan, 1e-5),
    }  # fmt: skip
    reasons = ["constant", "constant", "all_missing", "infinite", "infinite", "too_few_rows", "too_few_rows"]
    reasons += ["perfect_fit", "perfect_fit", "constant"]
    good = pd.DataFrame(y[:, 60:73], columns=many.responses[60:73])
    frame = pd.concat([pd.DataFrame(hopeless), good], axis=1).sample(frac=1, axis=1, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lmm.fit_many(FORMULA, SMALL, responses=frame)
        failed = found.failed().set_index("response").loc[list(hopeless)]
        tidy, variance, glance = found.tidy(), found.variance(), found.glance()
        found.anova(), found.test("b - c = 0"), found.ratio("g"), found.pve(), str(found), repr(found)
        rows = found.fitted(), found.residuals(), found.residuals("pearson"), found.ranef("g")
    assert list(failed["reason"]) == reasons
    assert set(failed["status"]) == {"failed"}
    for table in (tidy, variance):
        part = table[table["response"].isin(list(hopeless))].select_dtypes(float)
        assert len(part) == len(hopeless) * (len(table) // len(found))
        assert part.isna().all().all()
    part = glance.set_index("response").loc[list(hopeless)]
    assert part[["loglik", "deviance", "aic", "bic", "sigma"]].isna().all().all()
    assert all(table[list(hopeless)].isna().all().all() for table in rows)
    same(found, many, list(good))
    with pytest.raises(lmm.DataError, match="constant"):
        found["zero"]


def test_all_responses_may_be_hopeless():
    found = lmm.fit_many(FORMULA, SMALL, responses=np.ones((len(SMALL), 3)))
    assert (found.status == "failed").all()
    assert found.tidy()["q_value"].isna().all()
    assert found.fitted().isna().all().all()


# ---- scale -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scaled_responses_give_scaled_results(company, scale):
    y, many = company
    other = lmm.fit_many(FORMULA, SMALL, responses=y[:, :70] * scale)
    (beta, se, df, report, sigma, deviance, _), status = numbers(other)
    (beta0, se0, df0, report0, sigma0, deviance0, _), status0 = numbers(many, other.responses)
    for mine, theirs in ((beta, beta0), (se, se0), (report, report0), (sigma, sigma0)):
        close(mine / scale, theirs, SCALED)
    close(df, df0, SCALED)
    close(deviance, deviance0 + 2.0 * (len(SMALL) - 3) * np.log(scale), SCALED)
    assert (status == status0).all()


def test_a_shifted_response_moves_the_intercept_alone(company):
    y, many = company
    other = lmm.fit_many(FORMULA, SMALL, responses=y[:, :70] + 1e6)
    (beta, se, _, report, sigma, deviance, _), status = numbers(other)
    (beta0, se0, _, report0, sigma0, deviance0, _), status0 = numbers(many, other.responses)
    for mine, theirs in ((se, se0), (report, report0), (sigma, sigma0), (deviance, deviance0)):
        close(mine, theirs, SHIFTED)
    assert np.abs(beta - [1e6, 0.0, 0.0] - beta0).max() < SHIFTED
    assert (status == status0).all()


def test_out_of_memory_means_half_as_many(company, monkeypatch):
    """A group of responses that does not fit is divided, and gives the same numbers."""
    from jaxlmm.engine.many import batch as engine

    y, many = company
    solve, tried = engine.find_optima, []

    def refuse(problems, *options):
        tried.append(problems.size)
        if problems.size > 40:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return solve(problems, *options)

    monkeypatch.setattr(engine, "BYTES_AT_ONCE", 100 * 8 * 20)
    monkeypatch.setattr(engine, "find_optima", refuse)
    found = lmm.fit_many(FORMULA, SMALL, responses=pd.DataFrame(y[:, :100], columns=many.responses[:100]))
    assert max(tried) > 40 >= tried[-1]
    same(found, many, many.responses[:100])


def test_rows_of_their_own_keep_the_digits_of_large_variances():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(np.arange(6), 8), "x": rng.normal(size=48) + 3.0})
    y = 3e3 * rng.normal(size=(6, 2))[frame["g"]] + rng.normal(size=(48, 2))
    y[[3, 17, 30], 0] = y[[4, 18], 1] = np.nan
    many = lmm.fit_many("~ x + (1 | g)", frame, responses=y)
    for place in range(2):
        one = lmm.fit("y ~ x + (1 | g)", frame.assign(y=y[:, place]))
        close(many.estimates.report[place], one.estimates.report)
        close(many.estimates.uncertainty.std_error[place], one.coef()["std_error"])


def test_how_many_share_a_pattern_changes_nothing():
    """Also where the likelihood has several optima: few groups, three effects, large and small variances."""
    rng = np.random.default_rng(8)
    n, m = 48, 120
    frame = pd.DataFrame({"g": np.arange(n) % 6, "x": rng.normal(size=n), "t": rng.exponential(size=n)})
    frame["z"] = rng.normal(size=n)
    sds = 10 ** rng.uniform(-2.0, 1.5, (3, m)) * (rng.uniform(size=(3, m)) > 0.2)
    effects = (rng.normal(size=(6, 3, m)) * sds)[frame["g"]]
    columns = np.column_stack([np.ones(n), frame["t"], frame["z"]])
    y = np.einsum("nq,nqm->nm", columns, effects) + rng.normal(size=(n, m))
    y[rng.uniform(size=n) < 0.25] = np.nan
    formula = "~ x + (t + z | g)"
    together = lmm.fit_many(formula, frame, responses=y)
    parts = [lmm.fit_many(formula, frame, responses=y[:, k : k + 30]) for k in range(0, m, 30)]
    np.testing.assert_allclose(
        together.estimates.deviance, np.concatenate([part.estimates.deviance for part in parts]), atol=1e-9, rtol=1e-10
    )
    assert list(together.status) == [status for part in parts for status in part.status]


def exact_deviance(frame, y, factor):
    """The REML deviance of ``y ~ x + (x | g)`` at the relative covariance factor (2, 2), in 40 digits."""
    with mpmath.workdps(40):
        products, logdet, factor = mpmath.matrix(3, 3), mpmath.mpf(0), mpmath.matrix(factor.tolist())
        for rows in frame.groupby("g").indices.values():
            columns = np.column_stack([np.ones(rows.size), frame["x"].to_numpy()[rows], y[rows]])
            columns = mpmath.matrix(columns.tolist())
            root = columns[:, :2] * factor
            inner, cross = mpmath.eye(2) + root.T * root, root.T * columns
            products += columns.T * columns - cross.T * mpmath.inverse(inner) * cross
            logdet += mpmath.log(mpmath.det(inner))
        information = products[:2, :2]
        square = products[2, 2] - (products[:2, 2].T * mpmath.inverse(information) * products[:2, 2])[0]
        degrees = len(y) - 2
        logdet += mpmath.log(mpmath.det(information))
        return float(logdet + degrees * (1 + mpmath.log(2 * mpmath.pi * square / degrees)))


def test_slopes_of_a_thousand_times_the_residual():
    """Rounding of the deviance is above the minimizer's tolerance there: it stops where nothing more can be won."""
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"g": np.repeat(np.arange(60), 8), "x": np.tile(np.arange(8.0), 60)})
    slopes = 1e3 * rng.normal(size=(60, 200))
    y = slopes[frame["g"]] * frame[["x"]].to_numpy() + rng.normal(size=(480, 200))
    many = lmm.fit_many("~ x + (x | g)", frame, responses=y)
    assert set(many.status) == {"interior", "boundary"}
    for place in (int(np.argmax(many.status == "interior")), int(np.argmax(many.status == "boundary"))):
        one, two, rho, sigma = many.estimates.report[place]
        rho = 0.0 if np.isnan(rho) else rho
        factor = np.array([[one, 0.0], [rho * two, np.sqrt(1.0 - rho**2) * two]]) / sigma
        lowest = exact_deviance(frame, y[:, place], factor)
        assert many.estimates.deviance[place] == pytest.approx(lowest, abs=STEEP_ROUNDING)
        for row, column in ((0, 0), (1, 0), (1, 1)):
            for change in (-1e-2, 1e-2):
                aside = factor.copy()
                aside[row, column] += change * max(abs(factor[row, column]), 1e-2)
                assert exact_deviance(frame, y[:, place], aside) > lowest - STEEP
