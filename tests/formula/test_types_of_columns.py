"""Input that is not what it seems: fitted silently before, now a note, an error, or exact.

Kinds: text, dates and factors where numbers are meant; whole numbers that double precision rounds; a response on its
own right side; powers of terms. Neighbors of each stand in the parametrisations.
"""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.formula import ModelOptions, build_frame, parse, read_responses
from jaxlmm.formula.syntax.powers import notes_of_powers

N = 60
COUNT = np.arange(1, N + 1)
FORMULA = "y ~ x + (1 | g)"


def people(**columns):
    rng = np.random.default_rng(3)
    data = {"y": rng.normal(size=N), "x": rng.normal(size=N), "z": rng.normal(size=N), "g": np.repeat(np.arange(12), 5)}
    return pd.DataFrame(data | columns)


def frame_of(formula, data, **options):
    return build_frame(parse(formula), data, ModelOptions(**options))


USED = {
    "response": lambda data: frame_of("v ~ x + (1 | g)", data),
    "covariate": lambda data: frame_of("y ~ v", data),
    "slope": lambda data: frame_of("y ~ x + (v | g)", data),
    "weights": lambda data: frame_of(FORMULA, data, weights="v"),
    "offset": lambda data: frame_of(FORMULA, data, offset="v"),
    "many": lambda data: read_responses(parse("~ x + (1 | g)"), data, ["v"], None),
}
"""What a model may use a column for."""


# ---- numbers, and what is none ---------------------------------------------------------------------------------------

NO_NUMBERS = {
    "text": COUNT.astype(str),
    "strings": pd.array(COUNT.astype(str), "string"),
    "categorical": pd.Categorical(COUNT),
    "dates": pd.date_range("2020-01-01", periods=N),
    "dates with a zone": pd.date_range("2020-01-01", periods=N, tz="UTC"),
    "durations": pd.to_timedelta(COUNT, unit="D"),
    "periods": pd.period_range("2020-01", periods=N, freq="M"),
    "intervals": pd.interval_range(0, N),
    "complex": COUNT + 1j,
    "mixed": pd.Series([*COUNT[:-1], "60"], dtype=object),
}
NUMBERS = {
    "nullable": pd.array(COUNT, "Int64"),
    "nullable floats": pd.array(COUNT.astype(float), "Float64"),
    "objects": pd.Series(COUNT, dtype=object),
    "decimals": [Decimal(int(value)) for value in COUNT],
    "half precision": COUNT.astype(np.float16),
    "unsigned": COUNT.astype(np.uint64),
    "arrow": pd.array(COUNT, "int64[pyarrow]"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize("role", ["response", "weights", "offset", "refit", "many"])
def test_what_is_no_number_is_refused_alike_everywhere(kind, role, plain_fit):
    data = people(v=NO_NUMBERS[kind])
    used = (lambda: plain_fit.refit(data["v"])) if role == "refit" else lambda: USED[role](data)
    with pytest.raises(lmm.DataError, match=r"expected (real )?numbers"):
        used()


@pytest.mark.parametrize("values", [list(COUNT.astype(str)), COUNT.astype(str), pd.Series(COUNT.astype(str))])
@pytest.mark.parametrize("role", ["weights", "offset"])
def test_arrays_of_text_are_refused(role, values):
    with pytest.raises(lmm.DataError, match=f"{role}: expected numbers, got .* such as '1'; convert it first"):
        frame_of(FORMULA, people(), **{role: values})


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_any_type_are_taken(kind, plain_fit):
    data = people(v=NUMBERS[kind])
    np.testing.assert_array_equal(frame_of("v ~ x + (1 | g)", data).y, COUNT)
    np.testing.assert_array_equal(frame_of(FORMULA, data, weights="v").weights, np.sqrt(COUNT) ** 2)
    np.testing.assert_array_equal(frame_of(FORMULA, data, offset="v").offset, COUNT)
    np.testing.assert_array_equal(read_responses(parse("~ x"), data, ["v"], None).values[:, 0], COUNT)
    np.testing.assert_array_equal(frame_of("y ~ v", data).x[:, 1], COUNT)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.r_[np.inf, COUNT[1:]], "expected positive finite numbers, got inf in row 0"),
        (np.r_[COUNT[:-1], -1.0], "got -1 in row 59"),
        (np.zeros(N), "got 0 in row 0"),
        (np.ones((N, 2)), r"got shape \(60, 2\)"),
    ],
)
def test_weights_that_are_no_weights(weights, message):
    with pytest.raises(lmm.DataError, match=message):
        frame_of(FORMULA, people(), weights=weights)


def test_missing_weights_drop_their_rows():
    frame = frame_of(FORMULA, people(w=pd.array([None, *COUNT[1:]], "Int64")), weights="w")
    assert frame.n_dropped == 1
    np.testing.assert_allclose(frame.weights, COUNT[1:], rtol=1e-15)


@pytest.fixture(scope="module")
def plain_fit():
    return lmm.fit(FORMULA, people())


# ---- whole numbers beyond 2^53 ---------------------------------------------------------------------------------------

LARGE = {
    "int64": 2**60 + COUNT,
    "negative": -(2**60) - COUNT,
    "uint64": np.uint64(2**64 - 1) - COUNT.astype(np.uint64),
    "nullable": pd.array(2**60 + COUNT, "Int64"),
    "nullable, unsigned": pd.array(np.uint64(2**64 - 1) - COUNT.astype(np.uint64), "UInt64"),
    "arrow": pd.array(2**60 + COUNT, "int64[pyarrow]"),
    "objects": pd.Series([2**70 + int(value) for value in COUNT], dtype=object),
    "decimals": [Decimal(2**60 + int(value)) for value in COUNT],
    "decimals beyond their precision": [Decimal(2**110 + int(value)) for value in COUNT],
    "only one": np.r_[2**53 + 1, COUNT[1:]],
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("role", ["response", "covariate", "slope", "weights", "offset", "many"])
def test_whole_numbers_that_would_be_rounded_are_refused(kind, role):
    with pytest.raises(lmm.DataError, match=r"v?: expected numbers that fit into double precision, got whole numbers"):
        USED[role](people(v=LARGE[kind]))


def test_an_array_of_large_whole_numbers_is_refused():
    with pytest.raises(lmm.DataError, match="fit into double precision"):
        read_responses(parse("~ x"), people(), np.c_[COUNT, 2**60 + COUNT], None)


def test_what_double_precision_holds_is_taken():
    exact = 2**60 + 256 * COUNT
    np.testing.assert_array_equal(frame_of("y ~ 0 + v", people(v=exact)).x[:, 0], exact.astype(float))
    np.testing.assert_array_equal(frame_of("y ~ 0 + v", people(v=2**53 - COUNT)).x[:, 0], 2.0**53 - COUNT)


@pytest.mark.parametrize("kind", ["int64", "uint64", "nullable", "nullable, unsigned", "arrow", "objects", "decimals"])
@pytest.mark.parametrize("missing", [False, True])
def test_as_levels_they_stay_apart(kind, missing):
    ids = pd.Series(LARGE[kind]).iloc[np.repeat(np.arange(12), 5)].reset_index(drop=True)
    kept = np.ones(N, bool)
    if missing and kind not in ("int64", "uint64"):  # which pandas makes floats
        ids[3], kept[3] = None, False
    levels = frame_of("y ~ x + (1 | v)", people(v=ids)).levels["v"]
    assert {int(level) for level in levels.labels} == {int(value) for value in pd.Series(LARGE[kind])[:12]}
    wanted = pd.Series([int(value) for value in ids[kept]], dtype=object)
    assert [int(levels.labels[code]) for code in levels.codes] == wanted.tolist()


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
@pytest.mark.parametrize("missing", [False, True])
def test_frames_of_other_libraries_keep_them(library, missing):
    module = pytest.importorskip(library)
    ids = [None if missing and place == 3 else 2**60 + place // 5 for place in range(N)]
    columns = people().drop(columns="g").to_dict("list") | {"v": ids}
    data = module.DataFrame(columns) if library == "polars" else module.table(columns)
    levels = frame_of("y ~ x + (1 | v)", data).levels["v"]
    assert levels.labels.tolist() == [2**60 + level for level in range(12)]
    assert np.bincount(levels.codes).tolist() == [5 - missing] + [5] * 11
    with pytest.raises(lmm.DataError, match="v: expected numbers that fit into double precision"):
        frame_of("y ~ v", data)


# ---- the response on its own right side ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ y:x", "y ~ y + x", "y ~ x*y", "log(y + 9) ~ y", "y ~ log(y + 9) + (1 | g)", "y ~ x + (y | g)",
        "y ~ x + (0 + x:y | g)", "y ~ x + (x || g) + (0 + y || g)", "y ~ x + (1 | y)", "y ~ x + (1 | g:y)",
        "y ~ x + offset(y)", "y ~ poly(y, 2)", "`y` ~ y:x", "y ~ `y`:x", "I(y * y) ~ y",
    ],
)  # fmt: skip
def test_a_response_that_explains_itself_is_refused(formula):
    with pytest.raises(lmm.FormulaError, match=r"expected a response that is no predictor, got .*'y' right of '~' too"):
        frame_of(formula, people())


def test_in_the_residual_too():
    with pytest.raises(lmm.FormulaError, match="expected a response that is no predictor"):
        frame_of("y ~ x", people(), residual="ou(y | g)")


@pytest.mark.parametrize(
    "formula",
    ["I(y - x) ~ x + (1 | g)", "I(y / x) ~ x", "y ~ lag + (1 | g)", "y ~ yy + y.1", "y ~ x + I(x^2) + x:z"],
)
def test_what_only_looks_like_it_is_fitted(formula):
    frame = frame_of(formula, people(lag=COUNT % 7, yy=COUNT % 5, **{"y.1": COUNT % 3}))
    assert frame.notes == ()
    assert frame.x.shape[1] >= 2


MANY = {
    "names": ("~ y:x + (1 | g)", ["y", "z"]),
    "a pattern that is named": ("~ y:x + (1 | g)", ["y", "z*"]),
    "a frame": ("~ y:x + (1 | g)", people()[["y", "z"]]),
    "cbind": ("cbind(y, z) ~ y:x + (1 | g)", None),
}


@pytest.mark.parametrize("case", MANY)
def test_among_many_that_response_has_a_reason_and_the_others_fits(case):
    formula, responses = MANY[case]
    many = lmm.fit_many(formula, people(), responses=responses, progress=False)
    assert many.status.tolist() == ["failed", "interior"] or many.status["z"] in ("interior", "boundary")
    assert many.failed()[["response", "reason"]].to_numpy().tolist() == [["y", "also_a_predictor"]]
    assert np.isnan(many.tidy().query("response == 'y'")["p_value"]).all()
    alone = lmm.fit_many("~ y:x + (1 | g)", people(), responses=["z"], progress=False)
    right = alone.tidy()["estimate"].to_numpy()
    np.testing.assert_allclose(many.tidy().query("response == 'z'")["estimate"], right, rtol=1e-9)
    with pytest.raises(lmm.DataError, match="has no fit: also_a_predictor"):
        many["y"]


def test_another_response_that_only_shares_the_name_is_fitted():
    read = read_responses(parse("~ y:x"), people(), people()[["y", "z"]] + 1.0, None)
    assert read.circular == frozenset()
    assert read_responses(parse("cbind(log(y + 9), z - y) ~ y"), people(), None, None).circular == {"log(y + 9)"}


def test_a_scan_says_that_it_cannot_be_tested():
    mice = lmm.datasets.genotypes().iloc[:, :10]
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"id": mice.index} | {name: rng.normal(size=100) for name in ("x", "y", "z")})
    hits = lmm.scan("~ y:x + (1 | id)", data, genotypes=mice, kinship="auto", responses=["y", "z"])
    assert hits.header.untested == {"y": "also_a_predictor"}
    assert "Not tested: y (also_a_predictor)" in str(hits)
    assert set(hits.tidy()["response"]) == {"z"}


# ---- powers of terms -------------------------------------------------------------------------------------------------

POWERS = {
    "y ~ Days ** 2": ["I(Days**2)"], "y ~ Days^2 + x": ["I(Days**2)"], "y ~ (Days)^3": ["I(Days**3)"],
    "y ~ x + (Days^2 | g)": ["I(Days**2)"], "y ~ x + (1 + Days**2 || g)": ["I(Days**2)"],
    "y ~ us(1 + Days^2 | g)": ["I(Days**2)"], "y ~ log(x)^2": ["I(log(x)**2)"], "y ~ a:b^2": ["I(b**2)"],
    "y ~ (a:b)^2": ["I((a * b)**2)"], "y ~ `my x`^2": ["I(`my x`**2)"], "~ a + (b + c^2)": ["I(c**2)"],
    "y ~ x^2 + z^2": ["I(x**2)", "I(z**2)"], "y ~ x^2 + x^2:z": ["I(x**2)"], "y ~ x^2^2": ["I(x**2)"],
}  # fmt: skip
TERMS = [
    "y ~ (a + b)^2", "y ~ (a + b + c)**3", "y ~ (a * b)^2", "y ~ ((a + b))^2", "y ~ I(Days^2)", "y ~ I((a + b)^2)",
    "y ~ poly(x, 2)", "y ~ ou(Days^2 | g)", "y^2 ~ x", "y ~ x^1", "y ~ x + offset(x^2)", "y ~ (Days + I(Days^2) | g)",
]  # fmt: skip


@pytest.mark.parametrize("formula", POWERS)
def test_a_power_of_one_term_has_a_note(formula):
    notes = notes_of_powers(formula)
    assert [note.rsplit("write ", 1)[1] for note in notes] == [f"{right}." for right in POWERS[formula]]


@pytest.mark.parametrize("formula", TERMS)
def test_powers_that_are_meant_have_none(formula):
    assert notes_of_powers(formula) == ()


def test_the_note_is_true_and_in_the_print():
    sleep = lmm.datasets.sleepstudy()
    squared, plain = (lmm.fit(f"Reaction ~ {term} + (1 | Subject)", sleep) for term in ("Days ** 2", "Days"))
    assert squared.deviance == pytest.approx(plain.deviance, abs=1e-9)
    assert "Days**2 is Days in a formula" in str(squared.summary())
    assert "I(Days**2)" in str(squared.summary())
    assert "in a formula" not in str(plain.summary())
    meant = frame_of("Reaction ~ I(Days**2) + (1 | Subject)", sleep)
    np.testing.assert_array_equal(meant.x[:, 1], sleep["Days"] ** 2)
    assert meant.notes == ()
