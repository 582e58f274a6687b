"""How responses come to the rows of the data: by name, pattern, position, index, a column of labels, a formula."""

import numpy as np
import pandas as pd
import polars
import pytest

import jaxlmm as lmm

from models import balanced, draw

FORMULA = "~ b + c + (1 | g)"
DATA = balanced().assign(id=[f"s{place:02d}" for place in range(48)])
VALUES = np.exp(0.3 * draw(DATA, 3, 4))
NAMES = ["gene1", "gene2", "other"]
WITH = DATA.assign(**dict(zip(NAMES, VALUES.T, strict=True)), label="text")
FRAME = pd.DataFrame(VALUES, columns=NAMES)
EXACT = 1e-12


@pytest.fixture(scope="module")
def expected():
    """The deviances by name, of columns of the data."""
    many = lmm.fit_many(FORMULA, WITH, responses=NAMES)
    return many.glance().set_index("response")["deviance"]


def deviances(*arguments, **options):
    many = lmm.fit_many(*arguments, **options)
    return many, many.glance().set_index("response")["deviance"]


def shuffled(index):
    """The frame of responses in another order of its rows, labelled."""
    return FRAME.set_axis(index).sample(frac=1, random_state=2)


def test_names_and_patterns(expected):
    for responses, names in (
        (["other", "gene1"], ["other", "gene1"]),
        ("gene*", ["gene1", "gene2"]),
        ("other", ["other"]),
        (["other", "gene?", "gene1"], ["other", "gene1", "gene2"]),
        (("gene[2]",), ["gene2"]),
        ("[!il]*", NAMES),  # every column but id and label; those of the formula are no responses
    ):
        many, found = deviances(FORMULA, WITH, responses=responses)
        assert list(many.responses) == names
        np.testing.assert_allclose(found, expected[names], rtol=EXACT)


@pytest.mark.parametrize("kind", ["array", "frame", "polars", "polars both", "integers", "nullable"])
def test_by_position(expected, kind):
    responses, data = {
        "array": (VALUES, DATA),
        "frame": (FRAME, DATA),
        "polars": (polars.DataFrame(dict(zip(NAMES, VALUES.T, strict=True))), DATA),
        "polars both": (polars.from_pandas(FRAME), polars.from_pandas(DATA)),
        "integers": ((VALUES * 1e6).astype(int), DATA),
        "nullable": (FRAME.convert_dtypes(), DATA),
    }[kind]
    many, found = deviances(FORMULA, data, responses=responses)
    assert "by position" in str(many)
    assert list(many.responses) == (["y1", "y2", "y3"] if kind in ("array", "integers") else NAMES)
    if kind != "integers":
        np.testing.assert_allclose(found, expected[NAMES], rtol=EXACT)


def test_one_response_as_a_vector(expected):
    many, found = deviances(FORMULA, DATA, responses=VALUES[:, 1])
    assert many.responses == ("y1",)
    np.testing.assert_allclose(found, expected[["gene2"]], rtol=EXACT)


def test_by_index(expected):
    data = DATA.set_index("id", drop=False)
    many, found = deviances(FORMULA, data, responses=shuffled(data.index))
    assert "by index" in str(many)
    np.testing.assert_allclose(found, expected[NAMES], rtol=EXACT)
    assert list(many.fitted().index) == list(data.index)
    more = pd.concat([shuffled(data.index), FRAME.iloc[:2].set_axis(["s98", "s99"])])
    many, found = deviances(FORMULA, data, responses=more)
    assert "2 rows of theirs are not in the data" in str(many)
    np.testing.assert_allclose(found, expected[NAMES], rtol=EXACT)


def test_a_series_is_matched_as_a_frame(expected):
    data = DATA.set_index("id", drop=False)
    many, found = deviances(FORMULA, data, responses=shuffled(data.index)["gene2"])
    assert "by index" in str(many)
    assert many.responses == ("gene2",)
    np.testing.assert_allclose(found, expected[["gene2"]], rtol=EXACT)


@pytest.mark.parametrize("sorted_one", ["data", "responses"])
def test_numbered_rows_in_another_order_are_matched_by_their_numbers(expected, sorted_one):
    data = DATA.sample(frac=1, random_state=4) if sorted_one == "data" else DATA
    many, found = deviances(FORMULA, data, responses=FRAME if sorted_one == "data" else shuffled(FRAME.index))
    assert "by index" in str(many)
    np.testing.assert_allclose(found, expected[NAMES], rtol=EXACT)


@pytest.mark.parametrize("kind", ["index", "column", "polars", "polars both"])
def test_by_a_column_of_labels(expected, kind):
    labelled = shuffled(DATA["id"]).rename_axis("id")
    responses, data = {
        "index": (labelled, DATA),
        "column": (labelled.reset_index(), DATA),
        "polars": (polars.from_pandas(labelled.reset_index()), DATA),
        "polars both": (polars.from_pandas(labelled.reset_index()), polars.from_pandas(DATA)),
    }[kind]
    many, found = deviances(FORMULA, data, responses=responses, id="id")
    assert list(many.responses) == NAMES
    assert "by id" in str(many)
    np.testing.assert_allclose(found, expected[NAMES], rtol=EXACT)


def test_rows_without_a_predictor_are_dropped_from_the_responses_too():
    data = DATA.assign(c=DATA["c"].where(np.arange(48) != 5)).set_index("id", drop=False)
    many = lmm.fit_many(FORMULA, data, responses=shuffled(data.index))
    one = lmm.fit("y " + FORMULA, data.assign(y=VALUES[:, 2]))
    glance = many.glance()
    assert glance["n"].tolist() == [47] * 3
    assert glance["deviance"][2] == pytest.approx(one.deviance, rel=1e-10)
    assert "1 dropped" in str(many)
    pd.testing.assert_index_equal(many.fitted().index, one.fitted().index)


def test_expressions_on_the_left_side(expected):
    many, found = deviances("cbind(gene1, log(gene2), I(gene1 - other)) " + FORMULA, WITH)
    assert many.responses[:2] == ("gene1", "log(gene2)")
    assert found.iloc[0] == pytest.approx(expected["gene1"], rel=EXACT)
    for place, y in ((1, np.log(VALUES[:, 1])), (2, VALUES[:, 0] - VALUES[:, 2])):
        one = lmm.fit("y " + FORMULA, DATA.assign(y=y))
        assert found.iloc[place] == pytest.approx(one.deviance, rel=1e-10)
    assert many["log(gene2)"].deviance == pytest.approx(found.iloc[1], rel=1e-10)
    many, found = deviances("other " + FORMULA, WITH)
    assert many.responses == ("other",)
    assert found.iloc[0] == pytest.approx(expected["other"], rel=EXACT)


def test_missing_values_of_an_expression_are_those_of_its_variables():
    data = WITH.assign(gene2=WITH["gene2"].where(np.arange(48) > 3))
    many = lmm.fit_many("cbind(gene1, log(gene2)) " + FORMULA, data)
    assert many.glance()["n"].tolist() == [48, 44]
    one = lmm.fit("log(gene2) " + FORMULA, data)
    assert many.glance()["deviance"][1] == pytest.approx(one.deviance, rel=1e-10)


DOUBLE = FRAME.set_axis(["gene1", "gene1", "other"], axis=1)
BY_ID = DATA.set_index("id", drop=False)
WRONG = {
    "both sides": ("gene1 " + FORMULA, WITH, {"responses": ["gene2"]}, "nothing left of '~'"),
    "neither side": (FORMULA, WITH, {}, "responses"),
    "no overlap": (FORMULA, BY_ID, {"responses": FRAME.set_axis([f"t{k}" for k in range(48)])}, "none for 48 of 48"),
    "no overlap by id": (FORMULA, DATA, {"responses": FRAME.set_axis(range(100, 148)), "id": "id"}, "none for 48"),
    "a row lacks": (FORMULA, BY_ID, {"responses": FRAME.set_axis(BY_ID.index).iloc[1:]}, "none for 1 of 48"),
    "double labels": (FORMULA, DATA, {"responses": FRAME.set_axis(["s00"] * 48), "id": "id"}, "more than once"),
    "double ids": (FORMULA, DATA.assign(id="s00"), {"responses": shuffled(DATA["id"]), "id": "id"}, "more than once"),
    "short array": (FORMULA, DATA, {"responses": VALUES[:40]}, "48 rows"),
    "short frame": (FORMULA, DATA, {"responses": FRAME[:40]}, "48 rows"),
    "cube": (FORMULA, DATA, {"responses": VALUES[:, :, None]}, "shape"),
    "text": (FORMULA, WITH, {"responses": ["gene1", "label"]}, "'label'"),
    "text array": (FORMULA, WITH, {"responses": VALUES.astype(str)}, "real numbers"),
    "complex": (FORMULA, WITH, {"responses": VALUES + 1j}, "real numbers"),
    "unknown": (FORMULA, WITH, {"responses": ["gene1", "gene3"]}, "'gene3'.*gene"),
    "no match": (FORMULA, WITH, {"responses": "protein*"}, "protein"),
    "double names": (FORMULA, DATA, {"responses": DOUBLE}, "'gene1' more than once"),
    "double in cbind": ("cbind(gene1, gene1) " + FORMULA, WITH, {}, "'gene1' more than once"),
    "hole in cbind": ("cbind(gene1, ) " + FORMULA, WITH, {}, "missing"),
    "empty frame": (FORMULA, DATA, {"responses": FRAME[[]]}, "at least one column"),
    "empty list": (FORMULA, DATA, {"responses": []}, "responses: expected names of columns, a pattern"),
    "empty cbind": ("cbind() " + FORMULA, WITH, {}, "a response is missing"),
    "only predictors": (FORMULA, WITH, {"responses": "[bcg]"}, "only columns of the formula"),
    "id for names": (FORMULA, WITH, {"responses": ["gene1"], "id": "id"}, "id: "),
    "unknown id": (FORMULA, DATA, {"responses": shuffled(DATA["id"]), "id": "ids"}, "'ids'"),
    "option": (FORMULA, WITH, {"responses": ["gene1"], "respones": 1}, "respones"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_matched_is_an_error_that_says_so(case):
    formula, data, options, words = WRONG[case]
    with pytest.raises((lmm.JaxlmmError, TypeError), match=words):
        lmm.fit_many(formula, data, **options)


def test_an_unknown_response_of_the_result(expected):
    many = lmm.fit_many(FORMULA, WITH, responses=NAMES)
    with pytest.raises(lmm.OptionError, match="gene1"):
        many["gene"]
    assert len(many) == 3
    assert many.y.shape == (48, 3)
