"""Kinship from pedigrees: kinship2's coefficients, a plain recursion, and what is wrong with pedigrees."""

import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

import jaxlmm as lmm
from jaxlmm.genetics.pedigrees import descent

from pedigrees import EXACT, NUCLEAR, as_frame, people, plain, random_pedigree, same, with_twins
from references import HERE

PEDIGREES = HERE / "genetics" / "pedigree"

SECONDS = 20.0
"""For 28,000 individuals; it takes under one where nothing else runs."""

kinship = lmm.genetics.kinship


# ---- kinship2 --------------------------------------------------------------------------------------------------------

KINSHIP2 = {
    "inbred_ped.csv": ("inbred_ped.kinship.csv.gz", {"father": "dadid", "mother": "momid"}),
    "sample_ped.csv": ("sample_ped.kinship.csv.gz", {"family": "ped"}),
    "sample_ped.csv, X": ("sample_ped.kinshipX.csv.gz", {"family": "ped", "chromosome": "X"}),
    "twins_ped.csv": ("twins_ped.kinship.csv.gz", {"father": "dadid", "mother": "momid", "relations": True}),
    "minnbreast20.csv.gz": (
        "minnbreast20.kinship.csv.gz",
        {"father": "fatherid", "mother": "motherid", "family": "famid"},
    ),
}


@pytest.mark.parametrize("name", KINSHIP2)
def test_the_coefficients_of_kinship2(name):
    file, options = KINSHIP2[name]
    if "relations" in options:
        options = {**options, "relations": pd.read_csv(PEDIGREES / "twins_ped.relation.csv")}
    table = pd.read_csv(PEDIGREES / name.split(",")[0])
    found = kinship(table, **options)
    expected = lmm.genetics.relationship(pd.read_csv(PEDIGREES / file))
    assert set(found.labels) == set(expected.labels)
    same(found.to_array(), expected.to_array(found.labels))
    assert found.matrix.nnz == expected.matrix.nnz


@pytest.mark.parametrize("study", ["kin_sim", "gaw"])
def test_a_study_with_the_pedigree_in_its_data(study):
    folder = PEDIGREES.parent.parent / "data"
    data = pd.read_csv(folder / f"{study}.csv")
    expected = lmm.genetics.relationship(pd.read_csv(folder / f"{study}_kinship.csv.gz"))
    found = kinship(data.drop_duplicates("id"))
    same(found.to_array(), expected.to_array(found.labels))
    repeated = pd.concat([data, data.iloc[:3]])
    with pytest.raises(lmm.KinshipError, match=r"in rows .* Drop repeated rows"):
        kinship(repeated)


# ---- a plain recursion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_x", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_plain_recursion_finds_the_same(seed, on_x):
    table, twins = with_twins(random_pedigree(seed))
    chromosome = "X" if on_x else "autosome"
    alone = kinship(table, chromosome=chromosome)
    same(alone.to_array(), plain(table, on_x=on_x))
    assert on_x or alone.diagonal().max() > 0.55  # there is inbreeding
    together = kinship(table, relations=as_frame(twins), chromosome=chromosome)
    same(together.to_array(), plain(table, twins, on_x))
    assert abs(together.to_array() - alone.to_array()).max() > 0.2
    assert np.linalg.eigvalsh(together.to_array())[0] > -EXACT


def test_dense_and_sparse_families_agree(monkeypatch):
    table, twins = with_twins(random_pedigree(5))
    expected = kinship(table, relations=as_frame(twins))
    monkeypatch.setattr(descent, "MIN_DENSE_FAMILY", 0)
    found = kinship(table, relations=as_frame(twins))
    same(found.to_array(), expected.to_array())
    assert found.is_sparse


# ---- invariance ------------------------------------------------------------------------------------------------------


def test_the_order_of_rows_does_not_matter():
    table, twins = with_twins(random_pedigree(6))
    expected = kinship(table, relations=as_frame(twins))
    shuffled = table.sample(frac=1.0, random_state=1)
    turned = as_frame([(two, one, code) for one, two, code in reversed(twins)])
    found = kinship(shuffled, relations=turned)
    assert found.labels.tolist() == shuffled["id"].tolist()
    same(found.to_array(table["id"]), expected.to_array())


def test_names_do_not_matter():
    table, twins = with_twins(random_pedigree(7))
    expected = kinship(table, relations=as_frame(twins)).to_array()
    names = {0: None} | {number: f"person {number * 7919 % 1000}" for number in table["id"]}
    columns = {"id": "who", "father": "pa", "mother": "ma", "sex": "gender"}
    renamed = table.replace(dict.fromkeys(("id", "father", "mother"), names)).rename(columns=columns)
    renamed["gender"] = renamed["gender"].map({1: "M", 2: "f"})
    called = as_frame([(names[one], names[two], {1: "MZ", 2: "dz twin", 3: "UZ"}[code]) for one, two, code in twins])
    found = kinship(renamed, **columns, relations=called)
    same(found.to_array(), expected)
    assert found.labels.tolist() == renamed["who"].tolist()


# Ways to write one pedigree: parents who are not known, and types of ids.
SPELLINGS = {
    "missing": lambda t: t.replace({"father": {0: np.nan}, "mother": {0: np.nan}}),
    "empty text": lambda t: t.astype(str).replace({"father": {"0": ""}, "mother": {"0": ""}}),
    "None": lambda t: t.astype(object).replace({"father": {0: None}, "mother": {0: None}}),
    "dots": lambda t: t.astype(str).replace({"father": {"0": "."}, "mother": {"0": "NA"}}),
    "floats": lambda t: t.astype(float),
    "nullable": lambda t: t.replace({"father": {0: np.nan}}).convert_dtypes(),
    "text parents of numbers": lambda t: t.astype({"father": str, "mother": str}),
    "text ids of numeric parents": lambda t: t.astype({"id": str}),
    "categories": lambda t: t.astype("category"),
    "a dict": lambda t: t.to_dict("list"),
    "polars": pl.from_pandas,
    "words": lambda t: t.assign(sex=t["sex"].map({1: "Male", 2: "female"})),
    "no sexes": lambda t: t.drop(columns="sex"),
    "unknown sexes": lambda t: t.assign(sex=0),
    "other rows' labels": lambda t: t.set_axis([5] * len(t)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(spelling):
    found = kinship(SPELLINGS[spelling](NUCLEAR))
    assert [str(label) for label in found.labels] == [str(label) for label in NUCLEAR["id"]]
    same(found.to_array(), plain(NUCLEAR))


def test_parents_have_the_sex_of_their_role():
    unknown = NUCLEAR.assign(sex=NUCLEAR["sex"].where(NUCLEAR["id"] > 2, 0))
    same(kinship(unknown, chromosome="X").to_array(), plain(NUCLEAR, on_x=True))


def test_plants_may_fertilise_themselves():
    plants = people("id,father,mother\np,,\nq,p,p\nr,q,q\n")
    assert kinship(plants).diagonal().tolist() == [0.5, 0.75, 0.875]


# ---- families --------------------------------------------------------------------------------------------------------


def test_ids_within_families():
    table = random_pedigree(8, n=12, families=3)
    found = kinship(table, family="family")
    assert found.labels[12] == "1:1"
    for family in range(3):
        own = table[table["family"] == family]
        labels = [f"{family}:{number}" for number in own["id"]]
        same(found.to_array(labels), plain(own))
    assert (np.unique(found.blocks()).size) >= 3
    one = table[table["family"] == 0]
    assert kinship(one, family="family").labels.tolist() == one["id"].tolist()


def test_labels_of_families_are_those_of_a_nested_factor():
    table = pd.concat([NUCLEAR.assign(family=name) for name in "ABCDE"], ignore_index=True)
    phi = kinship(table, family="family")
    table["y"] = np.random.default_rng(1).normal(size=len(table))
    fit = lmm.fit("y ~ 1 + (1 | family:id)", table, kinship={"family:id": 2 * phi})
    assert set(fit.ranef("family:id").index) == set(phi.labels)


def test_twins_within_families():
    table = pd.concat([NUCLEAR.assign(fam=name) for name in "AB"], ignore_index=True)
    twins = as_frame([(3, 4, "MZ")]).assign(fam="B")
    found = kinship(table, family="fam", relations=twins).to_frame()
    assert found.loc["B:3", "B:4"] == 0.5
    assert found.loc["A:3", "A:4"] == 0.25


# ---- large -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry():
    return random_pedigree(9, n=66, families=426, founders=20)


@pytest.mark.parametrize("chromosome", ["autosome", "X"])
def test_28000_people_stay_sparse_by_family(registry, chromosome):
    started = time.process_time()
    found = kinship(registry, family="family", chromosome=chromosome)
    assert time.process_time() - started < SECONDS
    assert len(found) == 28_116
    assert found.is_sparse
    assert found.matrix.nnz <= 426 * 66**2
    family = registry["family"].to_numpy()
    assert pd.Series(family).groupby(found.blocks()).nunique().max() == 1
    last = registry[registry["family"] == 425]
    labels = [f"425:{number}" for number in last["id"]]
    same(found.to_array(labels), plain(last, on_x=chromosome == "X"))


def test_one_deep_family():
    """Two hundred generations of brothers and sisters, whose inbreeding is known."""
    generation = np.arange(1, 200)
    table = pd.DataFrame(
        {
            "id": np.arange(1, 401),
            "father": np.r_[0, 0, np.repeat(2 * generation - 1, 2)],
            "mother": np.r_[0, 0, np.repeat(2 * generation, 2)],
            "sex": np.tile([1, 2], 200),
        }
    )
    found = kinship(table)
    wright = [0.0, 0.0]  # inbreeding under full-sib mating: F_t = (1 + 2 F_(t-1) + F_(t-2)) / 4
    for _ in range(198):
        wright.append((1 + 2 * wright[-1] + wright[-2]) / 4)
    same(found.diagonal()[::2], [0.5 * (1 + value) for value in wright])


# ---- what is wrong ---------------------------------------------------------------------------------------------------


def added(*rows, columns="id,father,mother,sex"):
    return pd.concat([NUCLEAR, pd.DataFrame(rows, columns=columns.split(","))], ignore_index=True)


FAMILIES = people("fam,id,father,mother,sex\nA,1,0,0,1\nA,2,0,0,2\nB,3,1,2,1\n")

WRONG = {
    "cycle": (
        added((7, 8, 0, 1), (8, 7, 0, 1)), {},
        ["7 is an ancestor of itself", "7 is a child of 8 is a child of 7"],
    ),
    "long cycle": (
        {"id": range(1, 31), "father": [30, *range(1, 30)], "mother": [0] * 30},
        {},
        ["is a child of … is a child of"],
    ),
    "own father": (added((7, 7, 2, 1)), {}, ["7 is given as father of itself"]),
    "unknown father": (
        added((7, 99, 2, 1), (8, 98, 2, 1)), {},
        ["none for 99, father of 7, and 1 more", "Add a row", "0"],
    ),
    "unknown mother": (added((7, 1, 99, 1)), {}, ["column mother", "none for 99, mother of 7."]),
    "leading zeros": (NUCLEAR.assign(id="00" + NUCLEAR["id"].astype(str)), {}, ["none for 1", "'001', which differs"]),
    "spaces": (
        {"id": ["a", "b", "c"], "father": ["", "", "a "], "mother": ["", "", "b"]}, {}, ["'a '", "'a', which differs"],
    ),
    "female father": (added((7, 2, 0, 1)), {}, ["2 is female and the father of 7"]),
    "male mother": (added((7, 0, 1, 1)), {}, ["1 is male and the mother of 7"]),
    "sexes from 0": (NUCLEAR.assign(sex=NUCLEAR["sex"] - 1), {}, ["2 is male and the mother of 3", "2 or F"]),
    "both roles": (added((7, 0, 0, 0), (8, 7, 0, 0), (9, 0, 7, 0)), {}, ["7 is a father and a mother"]),
    "duplicate": (added((3, 1, 2, 1)), {}, ["3 in rows 2, 6", "family="]),
    "duplicate in text": ({"id": ["1", 1], "father": [0, 0], "mother": [0, 0]}, {}, ["'1' in rows 0, 1"]),
    "duplicate in a family": (
        FAMILIES.assign(fam="A", id=1, father=0), {"family": "fam", "mother": "father"},
        ["'A:1'"],
    ),
    "missing id": (added((np.nan, 1, 2, 1)), {}, ["1 missing", "row 6"]),
    "id 0": (added((0, 1, 2, 1)), {}, ["another id than 0", "row 6"]),
    "half an id": (NUCLEAR.assign(id=NUCLEAR["id"] / 2), {}, ["whole numbers", "0.5"]),
    "missing family": (FAMILIES.assign(fam=["A", None, "B"]), {"family": "fam"}, ["column fam", "1 missing"]),
    "other family": (FAMILIES, {"family": "fam"}, ["none for 1, father of 3", "in family 'A'", "leave family= out"]),
    "no column": (NUCLEAR, {"father": "dadid"}, ["one column 'dadid' (father), got none", "name it by father="]),
    "two columns": (NUCLEAR.set_axis(["id", "father", "father", "sex"], axis=1), {}, ["'father' (father), got 2"]),
    "no family": (NUCLEAR, {"family": "fam"}, ["'fam' (family)"]),
    "no sex": (NUCLEAR, {"sex": "gender"}, ["'gender' (sex)", "here are: id, father, mother, sex"]),
    "X without sexes": (NUCLEAR.drop(columns="sex"), {"chromosome": "X"}, ["'sex' (sex)"]),
    "X, one without": (added((7, 1, 2, 0)), {"chromosome": "X"}, ["everybody's sex", "the first is 7"]),
    "sex": (NUCLEAR.assign(sex="man"), {}, ["got 'man' for 1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_pedigrees(case):
    table, options, words = WRONG[case]
    with pytest.raises(lmm.KinshipError) as caught:
        kinship(table, **options)
    for word in words:
        assert word in str(caught.value)


def relation(one, two, code):
    return as_frame([(one, two, code)])


WRONG_TWINS = {
    "other parents": (relation(5, 6, 2), ["same mother, but 5 and 6 differ"]),
    "other sex": (relation(3, 5, 1), ["same sex, but 3 and 5 differ"]),
    "not there": (relation(3, 99, 1), ["column id2", "the first is 99"]),
    "contrary": (as_frame([(3, 4, 1), (4, 3, 2)]), ["4 and 3 are dizygotic in one row and identical by others"]),
    "itself": (relation(3, 3, 1), ["3 is given as its own twin"]),
    "number": (relation(3, 4, 5), ["1 or MZ", "got 5 in row 0"]),
    "word": (relation(3, 4, "identical"), ["got 'identical'"]),
    "no code": (relation(3, 4, 1).drop(columns="code"), ["a column 'code'"]),
    "missing code": (relation(3, 4, None), ["got None"]),
}


@pytest.mark.parametrize("case", WRONG_TWINS)
def test_wrong_twins(case):
    relations, words = WRONG_TWINS[case]
    with pytest.raises(lmm.KinshipError) as caught:
        kinship(NUCLEAR, relations=relations)
    for word in words:
        assert word in str(caught.value)


def test_twins_of_a_family_need_its_name():
    table = pd.concat([NUCLEAR.assign(fam=name) for name in "AB"], ignore_index=True)
    with pytest.raises(lmm.KinshipError, match="a column 'fam'"):
        kinship(table, family="fam", relations=relation(3, 4, 1))
    with pytest.raises(lmm.KinshipError, match="99 of family 'B'"):
        kinship(table, family="fam", relations=relation(3, 99, 1).assign(fam="B"))


def test_what_is_no_pedigree():
    with pytest.raises(lmm.DataError, match="read the file first"):
        kinship("pedigree.csv")
    with pytest.raises(lmm.OptionError, match="'autosome', 'X'"):
        kinship(NUCLEAR, chromosome="Y")
    with pytest.raises(lmm.DataError, match="relations: expected a data frame"):
        kinship(NUCLEAR, relations=[(3, 4, 1)])


@pytest.mark.parametrize("code", [1, "1", 1.0, "MZ", "mz twin", " Monozygotic "])
def test_codes_of_identical_twins(code):
    assert kinship(NUCLEAR, relations=relation("3", 4.0, code)).to_frame().loc[3, 4] == 0.5


@pytest.mark.parametrize("code", [2, "DZ", 3, "uz twin", 4, "spouse"])
def test_codes_of_others(code):
    assert kinship(NUCLEAR, relations=relation(3, 4, code)).to_frame().loc[3, 4] == 0.25


def test_no_relations():
    same(kinship(NUCLEAR, relations=as_frame([])).to_array(), plain(NUCLEAR))
