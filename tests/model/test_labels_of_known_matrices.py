"""Labels and entries of known matrices: rounding, ids as numbers and as text, and what is refused."""

import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.formula import ModelOptions, build_frame, parse

import models

DATA = models.data()
KIN = models.kinship(DATA)

# ---- labels and entries ----------------------------------------------------------------------------------------------


def test_rounding_of_a_matrix_is_made_symmetric():
    jitter = 1e-10 * np.random.default_rng(2).normal(size=(14, 14))
    design = lmm.design("~ x + (1 | g)", DATA, kinship={"g": KIN + jitter})
    found = design.groupings[0].relation.dense()
    assert np.array_equal(found, found.T)
    assert found == pytest.approx(KIN.to_numpy(), abs=1e-9)


@pytest.mark.parametrize("kind", [int, float, str, "Int64", "category"])
def test_numbers_and_their_text_are_the_same_ids(kind):
    """12345 is "12345", in the data as in the matrix, and further ids are called as the data's are."""
    numbers = DATA["g"].str[1:].astype(int) + 12345
    data = DATA.assign(g=numbers.astype(str).astype("category") if kind == "category" else numbers.astype(kind))
    names = [str(12345 + place) for place in range(14)]
    shuffled = KIN.set_axis(names, axis=0).set_axis(names, axis=1).sample(frac=1, random_state=1)
    more = shuffled.reindex(index=[*shuffled.index, "777"], columns=[*shuffled.columns, "777"], fill_value=0.0)
    more.loc["777", "777"] = 1.0
    frame = build_frame(parse("~ x + (1 | g)"), data, ModelOptions(kinship={"g": more}))
    assert frame.design.groupings[0].relation.dense() == pytest.approx(KIN.to_numpy())
    ids = frame.labels.groups["g"].ids
    assert [str(int(float(label))) for label in ids] == [*names, "777"]
    assert len({type(label) for label in ids}) == 1


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinship", "part"),
    [
        ({"g": KIN.to_numpy()[:5, :5]}, r"a Relationship, got ndarray of shape \(5, 5\) for 14 levels"),
        ({"g": KIN.to_numpy()}, r"An array does not say whose rows it has: write .*labels=ids"),
        ({"g": {"kin": KIN, "ibd": KIN.iloc[1:, 1:]}}, r"kinship of 'g\[ibd\]': 1 of 14 ids .* first is 'g00'"),
        ({"g": [KIN, KIN + np.triu(np.ones((14, 14)), 1)]}, r"'g\[2\]': expected a symmetric .* 'g00' and 'g01'"),
        ({"g": {"kin": KIN - 0.9}}, r"'g\[kin\]': .* smallest eigenvalue of -"),
        ({"g": KIN.mask(KIN == 1.0)}, "expected finite numbers, got nan between 'g00' and 'g00'"),
        ({"g": KIN.rename(index={"g00": "g01"}, columns={"g00": "g01"})}, "id 'g01' occurs more than once"),
        ({"g": 0.0 * KIN}, "got zeros alone"),
        ({"g": KIN.astype(object).replace(1.0, "one")}, "expected numbers"),
        ({"g": {}}, "at least one matrix, got an empty dict"),
        ({"g": []}, "at least one matrix, got an empty list"),
        ({"g": {"a: b": KIN}}, "names without ':'"),
        ({"g": None}, "got NoneType"),
        ({"gg": KIN}, "no random term is grouped by 'gg'; did you mean g"),
    ],
)  # fmt: skip
def test_bad_matrices(kinship, part):
    with pytest.raises(lmm.KinshipError, match=part):
        lmm.fit("y ~ x + (1 | g)", DATA, kinship=kinship)


def test_numbers_that_are_other_text():
    data = DATA.assign(g=DATA["g"].str[1:].astype(int))
    padded = KIN.rename(index=lambda label: label[1:], columns=lambda label: label[1:])
    with pytest.raises(lmm.KinshipError, match="the first is '0'; it has 14 ids such as '00'"):
        lmm.fit("y ~ x + (1 | g)", data, kinship={"g": padded})
