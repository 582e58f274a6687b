"""Ids and the files that hold them: lists of samples, ids as text, squares and pairs, single precision, a short .fam.

Neighbors of each kind that are tried here:

- lists: one column, FID IID, tabs, commas, semicolons, CRLF, BOM, blank lines, comments, quotes, row names, headers in
  any case and order, with and without #, further columns, FID 0, FID_IID, duplicates, nobody, nothing, other headers;
- ids: leading zeros, exponents, 18 digits (with a missing one, unsigned, in floats of both precisions, in decimals),
  ``1.0`` after a merge, NA, None, TRUE, 1_000, 0x1F, +5, spaces, nullable and categorical columns, parquet,
  interactions; in the data, matrices, pairs, covariates, responses, pedigrees, relations, genotypes and predictions;
- tables: people called as the columns of pairs, permuted columns and rows, no corner, tsv, quotes, BOM, duplicates;
- single precision: frames, arrays, sparse ones, both triangles in pairs, npz, GCTA, GEMMA, eigenvalues below zero.
"""

import shutil
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app
from jaxlmm.cli.common import Stop
from jaxlmm.cli.ids import read_data
from jaxlmm.cli.known import matrices
from jaxlmm.cli.samples import chosen, with_covariates
from jaxlmm.genetics import relationship
from jaxlmm.genetics.ids.samples import match_samples, text_ids

from scans import FOLDER

SAME = 1e-9
"""Relative: the same model, with other names of its levels."""
BED = FOLDER / "synthetic100" / "test.bed"
RNG = np.random.default_rng(11)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# ---- lists of samples ------------------------------------------------------------------------------------------------

PEOPLE = pd.DataFrame({"id": [f"P{number}" for number in range(1, 7)] + ["7", "8", "9"], "y": range(9)})
LISTS = {
    "ids alone": ("P1\nP2\n", "P1 P2"),
    "one id": ("P3", "P3"),
    "family and id": ("F1 P1\nF1 P2\n", "P1 P2"),
    "tabs": ("F1\tP1\nF1\tP2\n", "P1 P2"),
    "commas": ("F1,P1\nF1,P2\n", "P1 P2"),
    "windows, with a mark of the byte order": ("\ufeff#FID\tIID\r\nF1\tP1\r\n\r\nF2\tP2\r\n", "P1 P2"),
    "a mark before an id": ("\ufeffP1\nP2", "P1 P2"),
    "blank lines and comments": ("# these two\n\nP1\n   \n# and\nP2\n\n", "P1 P2"),
    "IID SID": ("#IID SID\nP1 8\nP2 9\n", "P1 P2"),
    "IID SEX": ("#IID SEX AGE\nP1 1 7\nP2 2 9\n", "P1 P2"),
    "IID alone": ("#IID\nP1\nP2\n", "P1 P2"),
    "a header without sign": ("IID\nP1\n", "P1"),
    "FID IID": ("#FID IID\nP9 P1\nP3 P2\n", "P1 P2"),
    "FID IID without sign": ("FID IID\nP4 P1\nP3 P2\n", "P1 P2"),
    "IID FID": ("IID FID\nP1 P3\nP2 P4\n", "P1 P2"),
    "SEX before IID": ("SEX IID\n8 P1\n9 P2\n", "P1 P2"),
    "small letters": ("iid\tfid\nP1\tP3\nP2\tP4\n", "P1 P2"),
    "small letters with a sign": ("#fid iid\nP3 P1\n", "P1"),
    "a space behind the sign": ("# IID SID\nP1 8\n", "P1"),
    "a header after comments": ("## made by hand\n#IID AGE\nP1 8\nP2 9\n", "P1 P2"),
    "as the data call it": ("age,ID,y\n7,P1,3\n8,P2,9\n", "P1 P2"),
    "semicolons": ("iid;age\nP1;7\nP2;8\n", "P1 P2"),
    "quoted": ('"F1" "P1"\n"F1" "P2"\n', "P1 P2"),
    "quoted, with row names": ('"x"\n"1" "P1"\n"2" "P2"\n', "P1 P2"),
    "FID is 0": ("0 P1\n0 P2\n", "P1 P2"),
    "FID is IID": ("P1 P1\nP2 P2\n", "P1 P2"),
    "a .fam file": ("F1 P1 0 0 1 7\nF1 P2 0 0 2 8\n", "P1 P2"),
    "a comma ends each line": ("P1,\nP2,\n", "P1 P2"),
    "a tab ends each line": ("F1\tP1\t\nF2\tP2\t\n", "P1 P2"),
    "twice": ("P1\nP2\nP1\n", "P1 P2"),
    "numbers of families and ids": ("8 7\n9 8\n", "7 8"),
    "others too": ("P1\nQ1\nQ2\n", "P1"),
}


def at(path, text):
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("case", LISTS)
def test_lists_name_whom_they_name(case, tmp_path):
    text, expected = LISTS[case]
    path = at(tmp_path / "list.txt", text)
    kept, said = chosen(PEOPLE, "id", path, None)
    assert kept["id"].tolist() == expected.split()
    assert f"{len(expected.split())} of 9 rows left" in said[0]
    left, _ = chosen(PEOPLE, "id", None, path)
    assert left["id"].tolist() == [label for label in PEOPLE["id"] if label not in expected.split()]


@pytest.mark.parametrize(
    "text",
    ["A 1\nB 1\n", "#FID IID\nA 1\nB 1\n", "IID FID SEX\n1 A 1\n1 B 2\n", "A_1\nB_1\n", "#IID SEX\nA_1 2\nB_1 1\n"],
)
def test_ids_with_their_family(text, tmp_path):
    data = PEOPLE.head(4).assign(id=["A_1", "A_2", "B_1", "B_2"])
    kept, _ = chosen(data, "id", at(tmp_path / "list.txt", text), None)
    assert kept["id"].tolist() == ["A_1", "B_1"]


def test_ids_with_spaces_and_numbers_in_lists(tmp_path):
    named = pd.DataFrame({"id": ["Ann Lee", "Bo Lee", "Cy"]})
    assert chosen(named, "id", at(tmp_path / "a.txt", "Ann Lee\nCy\n"), None)[0]["id"].tolist() == ["Ann Lee", "Cy"]
    numbers = pd.DataFrame({"id": [1.0, 2.0, np.nan, 10.0]})
    assert chosen(numbers, "id", None, at(tmp_path / "b.txt", "1\n2\n"))[0].index.tolist() == [2, 3]


WRONG_LISTS = {
    "nobody": ("Q1\nQ2\n", "such as '7', got others, such as 'Q1'"),
    "empty": ("", "got none"),
    "only comments": ("# nobody\n", "got none"),
    "leading zeros": ("007\nP1\n", "got 1 of 2 that are. 1 id would match: the numbers are the same"),
    "capitals": ("p1\np2\n", "they differ in capitals"),
    "with families": ("F_P1\nF_P2\n", "2 ids would match: the list's ids are FID_IID"),
    "a header of other words": ("person age\n7 8\n8 9\n", "'person age', seems to be a header"),
    "ids first": ("person sex\nP1 F\nP2 M\n", "ids of DATA in the first column of 2 lines; name its columns"),
    "ids first without a header": ("P1 7\nP2 x\nP3 x\n", "ids of DATA in the first column of 3 lines"),
    "families alone": ("FID\nF1\n", "expected a column IID in the header"),
    "a short line": ("#IID SEX\nP1 1\nP2\n", "expected 2 columns in each line"),
    "one or two words": ("P1\nF P2\n", "expected as many columns in each line, got 1, 2"),
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_lists_that_name_nobody_or_are_not_understood(case, tmp_path):
    text, message = WRONG_LISTS[case]
    path = at(tmp_path / "list.txt", text)
    with pytest.raises(Stop) as caught:
        chosen(PEOPLE, "id", path, None)
    assert message in caught.value.message
    if case not in ("nobody", "empty", "only comments"):
        with pytest.raises(Stop):
            chosen(PEOPLE, "id", None, path)
        return
    left, said = chosen(PEOPLE, "id", None, path)
    assert len(left) == 9
    assert "NOBODY removed" in said[0]


def test_a_list_in_another_encoding(tmp_path):
    (tmp_path / "list.txt").write_bytes("P1\nP2\n".encode("utf-16"))
    with pytest.raises(Stop, match="3"):
        chosen(PEOPLE, "id", tmp_path / "list.txt", None)


# ---- ids are text ----------------------------------------------------------------------------------------------------

LONG = [str(123456789012345678 + number) for number in range(12)]
TEXTS = {
    "zeros": [f"{number:04d}" for number in range(1, 13)],
    "exponents": ["1E5", "2E5", "1e5", "3E05", "1E1", "1E2", "4E5", "5E5", "6E5", "7E5", "8E5", "9E5"],
    "18 digits": LONG,
    "25 digits": [f"9{label:0>24}" for label in LONG],
    "words": ["None", "TRUE", "FALSE", "1_000", "0x1F", "+5", "5", "05", "N/A", "null", "inf", "-0"],
    "numbers": [str(number) for number in range(1, 13)],
}
X, Y = RNG.normal(size=40), RNG.normal(size=40)
WHO = np.r_[np.arange(12), RNG.integers(0, 12, 28)]
ROOT = RNG.normal(size=(12, 12))
K = ROOT @ ROOT.T / 12 + np.eye(12)


def table(labels, missing=True):
    """People's records: 40 rows of 12 people, and two rows without an id."""
    data = pd.DataFrame({"id": [labels[place] for place in WHO], "x": X, "y": Y})
    more = pd.DataFrame({"id": [""] * 2, "x": [0.1, 0.2], "y": [1.0, 2.0]})
    return pd.concat([data, more], ignore_index=True) if missing else data


def square(labels):
    return pd.DataFrame(K, index=labels, columns=labels)


@pytest.fixture(scope="module")
def expected():
    names = [f"p{place:02d}" for place in range(12)]
    return lmm.fit("y ~ x + (1 | id)", table(names, missing=False), kinship={"id": square(names)})


def relation_of(data, kinship, group="id", formula="y ~ x + (1 | id)"):
    """Return what the model knows of the levels, as a frame by text."""
    frame = lmm.design(formula, data, kinship=kinship)
    labels = lmm.formula.build_frame(
        lmm.formula.parse(formula), data, lmm.formula.ModelOptions(kinship=kinship)
    ).levels[group].labels  # fmt: skip
    words = list(text_ids(labels))
    return pd.DataFrame(frame.groupings[0].relation.dense(), index=words, columns=words)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize("kind", TEXTS)
def test_ids_in_files_are_as_they_stand_there(kind, ending, missing, tmp_path):
    labels, sign = TEXTS[kind], {".csv": ",", ".tsv": "\t"}[ending]
    data, matrix, pairs = (tmp_path / f"{name}{ending}" for name in ("data", "K", "pairs"))
    table(labels, missing).to_csv(data, sep=sign, index=False)
    square(labels).to_csv(matrix, sep=sign)
    ends = {"id1": np.repeat(labels, 12), "id2": labels * 12}
    pd.DataFrame(ends | {"value": K.ravel()}).to_csv(pairs, sep=sign, index=False)
    for known in (matrix, pairs):
        frame = read_data(data, "y ~ x + (1 | id)", [f"id={known}"])
        found = relation_of(frame, matrices([f"id={known}"]))
        assert sorted(found.index) == sorted(labels)
        assert np.array_equal(found.loc[labels, labels], K)
        assert frame["id"].isna().sum() == 2 * missing


def test_a_command_finds_long_ids_with_a_missing_one(expected, tmp_path):
    for kind in ("18 digits", "zeros"):
        table(TEXTS[kind]).to_csv(tmp_path / "data.csv", index=False)
        square(TEXTS[kind]).to_csv(tmp_path / "K.csv")
        done = run("fit", "y ~ x + (1 | id)", tmp_path / "data.csv", "--kinship", f"id={tmp_path / 'K.csv'}")
        assert done.exit_code == 0, done.output
        assert f"{expected.deviance:.4f}" in done.output
        assert "id, 12" in done.output


def test_large_numbers_of_groups_without_a_matrix_stay_apart(tmp_path):
    """As floats, 12 groups of 18 digits would be one or two."""
    table(LONG).to_csv(tmp_path / "data.csv", index=False)
    frame = read_data(tmp_path / "data.csv", "y ~ x + (1 | id)")
    assert frame["id"].dropna().astype(str).tolist() == [LONG[place] for place in WHO]
    residual = read_data(tmp_path / "data.csv", "y ~ x", residual="ou(x | id)")
    assert residual["id"].nunique() == 12
    with pytest.raises(lmm.DataError, match=r"grouping factor id: .* 1.234567890\d*e\+17: from 2\^53 on"):
        lmm.design("y ~ x + (1 | id)", pd.read_csv(tmp_path / "data.csv"))


@pytest.mark.parametrize("spelling", ["{}.0", "{:.14E}", "{:.5e}"])
def test_large_numbers_that_lost_digits_in_the_file_are_refused(spelling, tmp_path):
    """As a spreadsheet, or a program that met a missing one, writes them: 12 groups would be one or two."""
    labels = [spelling.format(int(label) if "e" not in spelling.lower() else float(label)) for label in LONG]
    table(labels).to_csv(tmp_path / "data.csv", index=False)
    done = run("fit", "y ~ x + (1 | id)", tmp_path / "data.csv")
    assert done.exit_code == 3
    assert "from 2^53 on, different ids become one number" in done.output
    plates = ["1E20", "2E17", "3E20", "2E18"] * 3  # rows E of plates
    table(plates).to_csv(tmp_path / "data.csv", index=False)
    assert read_data(tmp_path / "data.csv", "y ~ x + (1 | id)")["id"].nunique() == 4


@pytest.mark.parametrize("spelling", ["{}.0", "{}.00", " {} ", "{}  "])
def test_whole_numbers_of_other_programs(spelling, tmp_path):
    """A merge with somebody missing makes 1 into 1.0, and spaces stand around numbers in columns."""
    table([spelling.format(number) for number in range(1, 13)]).to_csv(tmp_path / "data.csv", index=False)
    square(range(1, 13)).to_csv(tmp_path / "K.csv")
    known = [f"id={tmp_path / 'K.csv'}"]
    found = relation_of(read_data(tmp_path / "data.csv", "y ~ x + (1 | id)", known), matrices(known))
    assert np.array_equal(found.loc[TEXTS["numbers"], TEXTS["numbers"]], K)


def typed(ids, kind, dtype):
    return pd.Series([kind(label) if label else None for label in ids], dtype=dtype)


COLUMNS = {
    "float": lambda ids: typed(ids, float, "float"),
    "float32": lambda ids: typed(ids, float, "float32"),
    "Int64": lambda ids: typed(ids, int, "Int64"),
    "UInt64": lambda ids: typed(ids, int, "UInt64"),
    "integers": lambda ids: typed(ids, int, object),
    "decimals": lambda ids: typed(ids, Decimal, object),
    "category": lambda ids: typed(ids, int, "Int64").astype("category"),
    "category of floats": lambda ids: typed(ids, float, "float").astype("category"),
    "text": lambda ids: typed(ids, str, object),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_whole_numbers_of_any_type_are_their_text(kind):
    exact = kind not in ("float", "float32", "category of floats")
    labels = [str(2**63 + number) for number in range(12)] if kind in ("UInt64", "integers", "decimals") else LONG
    for names in [TEXTS["numbers"], *([labels] if exact else [])]:
        data = table(names)
        data["id"] = COLUMNS[kind](data["id"])
        found = relation_of(data, {"id": square(names)})
        assert np.array_equal(found.loc[names, names], K)


def test_the_same_ids_in_parquet(tmp_path):
    for name, kind in (("numbers", "float"), ("18 digits", "Int64"), ("zeros", "text")):
        data = table(TEXTS[name])
        data.assign(id=COLUMNS[kind](data["id"])).to_parquet(tmp_path / "data.parquet")
        square(TEXTS[name]).to_parquet(tmp_path / "K.parquet")
        square(TEXTS[name]).rename_axis("ids").reset_index().to_parquet(tmp_path / "L.parquet")
        for file in ("K.parquet", "L.parquet"):
            known = [f"id={tmp_path / file}"]
            found = relation_of(read_data(tmp_path / "data.parquet", "y ~ x + (1 | id)", known), matrices(known))
            assert np.array_equal(found.loc[TEXTS[name], TEXTS[name]], K)


def test_pairs_in_parquet(tmp_path):
    pairs = pd.DataFrame({"id1": [1.0, 2.0, 2.0], "id2": [1.0, 2.0, 1.0], "value": [1.0, 2.0, 0.5]})
    path = tmp_path / "K.parquet"
    pairs.to_parquet(path)
    assert matrices([f"id={path}"])["id"].labels.tolist() == [1, 2]
    for wrong in (2.0**53, 1.5):
        pairs.replace(2.0, wrong).to_parquet(path)
        with pytest.raises(lmm.KinshipError, match="column id1: expected ids, text or whole numbers"):
            matrices([f"id={path}"])


REFUSED = {
    "fractions": (pd.Series([1.5, 2.0, np.nan]), "got 1.5"),
    "beyond 2^53": (pd.Series([2.0**53, 1.0]), r"floating point number 9007199254740992\.0: from 2\^53"),
    "18 digits": (pd.Series([123456789012345678.0, np.nan]), r"from 2\^53 .* dtype="),
    "single precision": (pd.Series([2.0**24, 3.0], dtype="float32"), r"16777216\.0: from 2\^24"),
    "categories": (pd.Series([1.5, 2.0]).astype("category"), r"got 1\.5"),
    "among text": (pd.Series(["a", 1.5], dtype=object), r"got 1\.5"),
    "infinity": (pd.Series([np.inf, 1.0]), "got inf"),
    "decimals": (pd.Series([Decimal("1.5"), Decimal(2)]), r"got 1\.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_that_are_no_ids(case):
    ids, message = REFUSED[case]
    with pytest.raises(lmm.DataError, match=message):
        text_ids(ids)
    with pytest.raises(lmm.DataError, match=message):
        match_samples(ids, ["1", "2"])
    with pytest.raises(lmm.KinshipError, match=message):
        relationship(np.eye(2), ids.dropna() if len(ids.dropna()) == 2 else pd.concat([ids[:1], ids[:1] + 0.25]))


def test_fractions_name_no_levels_of_a_matrix():
    data = table(TEXTS["numbers"], missing=False)
    data["half"] = data["id"].astype(float) + 0.5
    lmm.design("y ~ x + (1 | half)", data)  # groups without a matrix may be called so
    for given, formula, group in (
        (square(np.arange(12) + 1.5), "y ~ x + (1 | half)", "half"),
        (square(TEXTS["numbers"]), "y ~ x + (1 | half)", "half"),
        (square(TEXTS["numbers"]), "y ~ x + (1 | id:half)", "id:half"),
    ):
        with pytest.raises(lmm.KinshipError, match=f"kinship of {group!r}: .* whole numbers, got 1"):
            lmm.design(formula, data, kinship={group: given})
    with pytest.raises(lmm.KinshipError, match="expected an id in each row, got 1 missing"):
        lmm.design("y ~ x + (1 | id)", data, kinship={"id": square([None, *TEXTS["numbers"][1:]])})


@pytest.mark.parametrize("from_file", [False, True])
def test_interactions_of_ids_with_a_missing_one(from_file, tmp_path):
    labels = [f"{1 + place // 4}:{1 + place % 4}" for place in range(12)]
    data = table(labels)
    data[["fam", "id"]] = [label.split(":") if label else (None, None) for label in data["id"]]
    if from_file:
        data.to_csv(tmp_path / "data.csv", index=False)
        data = read_data(tmp_path / "data.csv", "y ~ x + (1 | fam:id)", ["fam:id=K.csv"])
    else:
        data = data.assign(fam=data["fam"].astype(float), id=data["id"].astype(float))
    found = relation_of(data, {"fam:id": square(labels)}, "fam:id", "y ~ x + (1 | fam:id)")
    assert found.index.tolist() == labels
    assert np.array_equal(found, K)
    nested = lmm.formula.build_frame(lmm.formula.parse("y ~ x + (1 | fam/id)"), data, lmm.formula.ModelOptions())
    assert nested.levels["fam:id"].labels.tolist() == labels


def test_ids_of_a_prediction_are_text_too(expected):
    known = expected.predict(pd.DataFrame({"x": [0.0], "id": ["p03"]}))["estimate"][0]
    for labels, asked in ((TEXTS["numbers"], 4), (TEXTS["numbers"], 4.0), (list(range(1, 13)), "4")):
        fit = lmm.fit("y ~ x + (1 | id)", table(labels, missing=False), kinship={"id": square(TEXTS["numbers"])})
        assert fit.predict(pd.DataFrame({"x": [0.0], "id": [asked]}))["estimate"][0] == pytest.approx(known, rel=SAME)


def test_a_variable_that_is_an_id_too(tmp_path):
    table(TEXTS["zeros"]).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(Stop) as caught:
        read_data(tmp_path / "data.csv", "y ~ id + (1 | id)", ["id=K.csv"])
    assert "'id' names individuals and is a variable" in caught.value.message
    table(TEXTS["numbers"]).to_csv(tmp_path / "data.csv", index=False)
    assert pd.api.types.is_integer_dtype(read_data(tmp_path / "data.csv", "y ~ id + (1 | id)", ["id=K.csv"])["id"])


# ---- other tables by id ----------------------------------------------------------------------------------------------


def test_covariates_by_id(tmp_path):
    data = pd.DataFrame({"id": ["001", "002", "1", "003"], "y": range(4)})
    for text in (
        "IID age\n003 3\n001 1\n1 9\n",
        "#FID IID age\n0 003 3\n0 001 1\n0 1 9\n",
        "\ufeffiid age\n003 3\n001 1\n1 9\n",
    ):
        frame, formula, names = with_covariates(data, "y ~ x", at(tmp_path / "c.txt", text), "id")
        assert frame["age"].tolist()[0::2] == [1, 9]
        assert np.isnan(frame["age"][1])
        assert (formula, names) == ("y ~ x + age", ["age"])
    families = data.assign(id=["A_1", "A_2", "B_1", "B_2"])
    path = at(tmp_path / "c.csv", "FID,IID,age\nA,1,11\nB,1,21\nA,2,12\n")
    assert with_covariates(families, "y ~ x", path, "id")[0]["age"].tolist()[:3] == [11, 12, 21]
    with pytest.raises(Stop) as caught:
        with_covariates(data, "y ~ x", at(tmp_path / "d.csv", "id,age\n001,1\n2,2\n"), "id")
    assert "1 id would match: the numbers are the same, written differently" in caught.value.message


def test_responses_by_id(tmp_path):
    """The data as floats, the responses as text, and a row without an id among these."""
    values = RNG.normal(size=(12, 2))
    data = pd.DataFrame({"id": np.arange(1.0, 13.0), "x": X[:12]})
    other = pd.DataFrame(np.r_[values[::-1], np.zeros((1, 2))], columns=["a", "b"]).assign(
        id=[*TEXTS["numbers"][::-1], None]
    )
    read = lmm.formula.read_responses(lmm.formula.parse("~ x"), data, other, "id")
    assert np.array_equal(read.values, values)
    zeros = other.assign(id=[*(label.zfill(2) for label in TEXTS["numbers"][::-1]), None])
    with pytest.raises(lmm.DataError, match=r"none for 9 of 12, .* 9 ids would match: .* \(leading zeros"):
        lmm.formula.read_responses(lmm.formula.parse("~ x"), data, zeros, "id")
    with pytest.raises(lmm.DataError, match="an id 'id' in each row, got 1 missing"):
        lmm.formula.read_responses(lmm.formula.parse("~ x"), data.replace({"id": {3.0: np.nan}}), other, "id")


def test_a_pedigree_from_a_file_keeps_its_zeros(tmp_path):
    people = "fam,id,father,mother\n01,001,,\n01,002,0,\n01,003,001,002\n1,001,,\n1,01,001,\n"
    out = tmp_path / "K.npz"
    done = run("kinship", at(tmp_path / "p.csv", people), "--family", "fam", "--out", out)
    assert done.exit_code == 0, done.output
    found = lmm.load(out).to_frame()
    assert found.index.tolist() == ["01:001", "01:002", "01:003", "1:001", "1:01"]
    assert found.loc["01:003", "01:001"] == found.loc["1:01", "1:001"] == 0.25
    assert found.loc["01:003", "1:001"] == 0.0
    twins = at(tmp_path / "t.csv", "id1,id2,code\n0010,0011,MZ\n")
    people = at(tmp_path / "q.csv", "id,father,mother\n0008,,\n0009,,\n0010,0008,0009\n0011,0008,0009\n10,,\n")
    done = run("kinship", people, "--relations", twins, "--out", out, "--force")
    assert done.exit_code == 0, done.output
    assert lmm.load(out).to_frame().loc["0010", "0011"] == 0.5


def linear(y, *columns):
    """Return the estimates of a linear model, whatever the ids."""
    return np.linalg.lstsq(np.column_stack([np.ones(len(y)), *columns]), y, rcond=None)[0]


def test_commands_with_ids_of_zeros_and_a_list_with_a_header(tmp_path):
    """Genotypes whose samples are 0001 to 0100, of whom those of odd numbers are kept."""
    path = tmp_path / "g.bed"
    shutil.copy(BED, path)
    shutil.copy(BED.with_suffix(".bim"), path.with_suffix(".bim"))
    ids = [f"{number:04d}" for number in range(1, 101)]
    path.with_suffix(".fam").write_text(
        "".join(f"{1 + place % 7} {label} 0 0 0 -9\n" for place, label in enumerate(ids))
    )
    counts = lmm.genetics.genotypes(path).read(slice(0, 5))
    data = pd.DataFrame({"id": ids, "x": RNG.normal(size=100)}).sample(frac=1.0, random_state=3)
    y = pd.DataFrame({"id": ids, "y": RNG.normal(size=100), "z": RNG.normal(size=100)})
    data.to_csv(tmp_path / "data.csv", index=False)
    y.to_csv(tmp_path / "y.csv", index=False)
    keep = at(tmp_path / "keep.txt", "#IID SEX\n" + "".join(f"{label} 0002\n" for label in ids[::2]))
    names = at(tmp_path / "names.txt", "\n".join(pd.read_csv(BED.with_suffix(".bim"), sep="\t", header=None)[1][:5]))
    given = ["~ x", tmp_path / "data.csv", "--id", "id", "--responses", tmp_path / "y.csv", "--no-progress"]
    markers = ["--genotypes", path, "--extract", names]
    nobody, out = at(tmp_path / "nobody.txt", "Q1\n"), tmp_path / "hits.tsv"
    done = run("scan", *given, *markers, "--keep", keep, "--remove", nobody, "--out", out)
    assert done.exit_code == 0, done.output
    assert "50 of 100 rows left" in done.output
    assert "NOBODY removed: none of its 1 ids, such as 'Q1', is in the column 'id' of DATA" in done.output
    found = pd.read_csv(out, sep="\t").query("response == 'z'")
    x = data.set_index("id")["x"].loc[ids[::2]]
    expected = [linear(y["z"][::2], x, counts[::2, marker])[2] for marker in range(5)]
    assert found["estimate"].to_numpy() == pytest.approx(expected, rel=1e-6)
    done = run("fit-many", *given, "--out", tmp_path / "coef.csv")
    assert done.exit_code == 0, done.output
    coef = pd.read_csv(tmp_path / "coef.csv").query("response == 'y'")["estimate"]
    assert coef.to_numpy() == pytest.approx(linear(y["y"], data.set_index("id")["x"].loc[ids]), rel=1e-6)
    assert run("scan", *given, *markers, "--keep", nobody).exit_code == 3
    unpadded = data.assign(id=data["id"].astype(int))
    unpadded.to_csv(tmp_path / "data.csv", index=False)
    done = run("scan", "x ~ 1 + (1 | id)", tmp_path / "data.csv", "--genotypes", path, "--kinship", "auto")
    assert done.exit_code == 2
    assert "100 ids would match: the numbers are the same" in done.output


# ---- partial matches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (range(1, 121), [f"{number:03d}" for number in range(1, 121)], "got 21 of 120 that are. 99 ids would match"),
        (["a", "b", "F_c"], ["a", "b", "c"], "1 id would match: the data's ids are FID_IID"),
        (["a", "c"], ["a", "F_c"], "1 id would match: the genotypes' ids are FID_IID"),
        (["a", "B"], ["a", "b"], "capitals or spaces"),
        (["a", "b "], ["a", "b"], "capitals or spaces"),
        (["a", "1E5"], ["a", "100000"], "written differently"),
    ],
)
def test_ids_that_match_in_part_and_would_otherwise(ours, theirs, said):
    with pytest.raises(lmm.GenotypeError) as caught:
        match_samples(ours, theirs)
    assert said in str(caught.value)
    data = pd.DataFrame({"id": list(ours) * 2, "y": RNG.normal(size=2 * len(ours))})
    with pytest.raises(lmm.KinshipError, match="would match: "):
        lmm.design("y ~ 1 + (1 | id)", data, kinship={"id": pd.DataFrame(np.eye(len(theirs)), theirs, theirs)})


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(["1", "4"], ["1", "2"]), (["1", "01", "4"], ["1", "001", "0001"]), (["a", "x"], ["a", "F_x", "G_x"])],
)
def test_ids_that_are_others(ours, theirs):
    """Somebody without genotypes is no mistake, nor is an id that could be one of two."""
    assert match_samples(ours, theirs).kept.tolist() == [True, *[False] * (len(ours) - 1)]


def test_rows_without_an_id_are_nobody():
    matched = match_samples([1.0, np.nan, None, 2.0], ["1", "2", "nan", "None"])
    assert matched.rows.tolist() == [0, -1, -1, 1]
    assert str(matched).endswith("0 without genotypes and 2 without data dropped; 2 rows without an id dropped")
    with pytest.raises(lmm.GenotypeError, match="an id for each sample, got 1 missing, the first in row 1"):
        lmm.genetics.genotypes(pd.DataFrame({"v": [0, 1, 2]}, index=[1.0, np.nan, 2.0]))


# ---- squares and pairs -----------------------------------------------------------------------------------------------

PAIR = "{0},{1}\n{0},1,0.5\n{1},0.5,1\n"
SQUARES = {
    "called id1, id2": (",id1,id2\nid1,1,0.5\nid2,0.5,1\n", "id1 id2", [[1, 0.5], [0.5, 1]]),
    "called id2, value, below id1": ("id1,id2,value\nid2,1,0.5\nvalue,0.5,1\n", "id2 value", [[1, 0.5], [0.5, 1]]),
    "two": ("x,a,b\na,1,0.5\nb,0.5,1\n", "a b", [[1, 0.5], [0.5, 1]]),
    "one": (",a\na,2\n", "a", [[2]]),
    "three called as pairs": (
        "x,id1,id2,value\nid1,1,2,3\nid2,2,4,5\nvalue,3,5,6\n", "id1 id2 value", [[1, 2, 3], [2, 4, 5], [3, 5, 6]],
    ),
    "no corner, called as pairs": (
        "id1,id2,value\nid1,1,2,3\nid2,2,4,5\nvalue,3,5,6\n", "id1 id2 value", [[1, 2, 3], [2, 4, 5], [3, 5, 6]],
    ),
    "no corner": ("a,b\na,1,0.5\nb,0.5,2\n", "a b", [[1, 0.5], [0.5, 2]]),
    "an empty corner": ('"",a,b\na,1,0.5\nb,0.5,2\n', "a b", [[1, 0.5], [0.5, 2]]),
    "other order": (",b,a\na,0.5,1\nb,2,0.5\n", "a b", [[1, 0.5], [0.5, 2]]),
    "quoted": ('"","a","b"\n"a",1,0.5\n"b",0.5,2\n', "a b", [[1, 0.5], [0.5, 2]]),
    "spaces": ("id, a, b\na ,1,0.5\nb ,0.5,2\n", "a b", [[1, 0.5], [0.5, 2]]),
    "a mark of the byte order": ("\ufeffid,a,b\na,1,0.5\nb,0.5,2\n", "a b", [[1, 0.5], [0.5, 2]]),
    "a mark and no corner": ("\ufeffa,b\na,1,0.5\nb,0.5,2\n", "a b", [[1, 0.5], [0.5, 2]]),
    "zeros": (",01,1\n01,1,0.5\n1,0.5,2\n", "01 1", [[1, 0.5], [0.5, 2]]),
    "of a frame with floats": (",1.0,2.0\n1.0,1,0.5\n2.0,0.5,2\n", "1 2", [[1, 0.5], [0.5, 2]]),
    "pairs": ("id1,id2,value\na,a,1\nb,b,2\nb,a,0.5\n", "a b", [[1, 0.5], [0.5, 2]]),
    "pairs in other order": ("value,n,id2,id1\n1,3,a,a\n2,3,b,b\n0.5,3,a,b\n", "a b", [[1, 0.5], [0.5, 2]]),
    "pairs called otherwise": ("one,two,r\na,a,1\nb,b,2\nb,a,0.5\n", "a b", [[1, 0.5], [0.5, 2]]),
    "pairs without a header": ("b,a,0.5\na,a,1\nb,b,2\n", "b a", [[2, 0.5], [0.5, 1]]),
    "pairs with a number before": (",id1,id2,value\n0,a,a,1\n1,b,b,2\n2,b,a,0.5\n", "a b", [[1, 0.5], [0.5, 2]]),
    "pairs of people so called": (
        "id1,id2,value\nid2,id2,1\nvalue,value,2\nid1,id1,3\n", "id2 value id1", np.diag([1, 2, 3]),
    ),
    "two pairs of people so called": ("id1,id2,value\nid2,id2,1\nvalue,value,2\n", "id2 value", np.diag([1, 2])),
    "pairs of zeros": ("id1,id2,value\n01,01,1\n1,1,2\n", "01 1", np.diag([1, 2])),
}  # fmt: skip


@pytest.mark.parametrize("sign", [",", "\t"])
@pytest.mark.parametrize("case", SQUARES)
def test_squares_and_pairs_are_told_apart_by_content(case, sign, tmp_path):
    text, labels, values = SQUARES[case]
    path = at(tmp_path / f"K{'.csv' if sign == ',' else '.tsv'}", text.replace(",", sign))
    found = matrices([f"id={path}"])["id"]
    assert list(text_ids(found.labels)) == labels.split()
    assert np.array_equal(found.to_array(), np.array(values, float))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,a\na,1,0.5\na,0.5,1\n", "'a' in 2 places"),
        (",a,c\na,1,0.5\nb,0.5,1\n", "same ids as index and columns"),
        (",a,c,d\na,1,0.5,0\nb,0.5,1,0\nd,0,0,1\n", "same ids as index and columns"),
        (",a,b,c\na,1,0.5,0\nb,0.5,1,0\n", "square frame"),
        ("a,b\n", "got 1 lines"),
        ("a\nb,1,2,3\n", "a name for each of 4 columns"),
        (",a,b\na,1,0.5\nb,0.6,1\n", "got 0.5 between 'a' and 'b' and 0.6 the other way round"),
    ],
)
def test_tables_that_are_neither(text, message, tmp_path):
    path = at(tmp_path / "K.csv", text)
    data = at(tmp_path / "data.csv", "id,y\na,1\nb,2\na,3\nb,1\n")
    done = run("fit", "y ~ 1 + (1 | id)", data, "--kinship", f"id={path}")
    assert done.exit_code == 3
    assert message in done.output


def test_frames_are_told_apart_by_content_too():
    names = ["id1", "id2", "value"]
    values = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert np.array_equal(relationship(pd.DataFrame(values, names, names)).to_array(), values)
    order = ["value", "id1", "id2"]
    assert np.array_equal(relationship(pd.DataFrame(values, names, names)[order]).to_array(), values)
    pairs = pd.DataFrame({"id1": names, "id2": names, "value": [1.0, 2, 3]}, index=names)
    assert np.array_equal(relationship(pairs).to_array(), np.diag([1, 2, 3]))


# ---- single precision ------------------------------------------------------------------------------------------------

NAMES = [f"p{place:02d}" for place in range(12)]
ROUGH = K + np.triu(4e-8 * K.max() * np.sign(ROOT), 1)
"""A matrix whose triangles differ as computed in single precision."""
NOTE = r"made symmetric: its triangles differed by up to 4e-08 of its largest entry"


def as_pairs(values):
    rows, columns = np.indices(values.shape)
    names = np.array(NAMES)
    return pd.DataFrame({"id1": names[rows.ravel()], "id2": names[columns.ravel()], "value": values.ravel()})


@pytest.mark.parametrize("kind", ["array", "sparse", "frame", "pairs"])
def test_what_is_symmetric_but_for_rounding_is_made_so_and_told(kind):
    given = {
        "array": lambda: relationship(ROUGH, NAMES),
        "sparse": lambda: relationship(sparse.csr_array(ROUGH), NAMES),
        "frame": lambda: relationship(pd.DataFrame(ROUGH, NAMES, NAMES)),
        "pairs": lambda: relationship(as_pairs(ROUGH)),
    }[kind]()
    assert np.array_equal(given.to_array(), given.to_array().T)
    assert given.to_array() == pytest.approx(0.5 * (ROUGH + ROUGH.T), rel=1e-15)
    for known in (given, 2 * given, given + relationship(np.eye(12), NAMES), given.subset(NAMES[:3])):
        assert NOTE in repr(known)
    assert repr(relationship(K, NAMES)).endswith(f"mean diagonal {np.diag(K).mean():.4g}>")


def test_fits_with_such_a_matrix_say_so(expected, tmp_path):
    data = table(NAMES, missing=False)
    for known in (pd.DataFrame(ROUGH, NAMES, NAMES), relationship(ROUGH, NAMES)):
        fit = lmm.fit("y ~ x + (1 | id)", data, kinship={"id": known})
        assert f"The matrix of id was {NOTE}." in str(fit.summary())
        assert fit.deviance == pytest.approx(expected.deviance, abs=1e-5)
    assert "made symmetric" not in str(expected.summary())
    relationship(ROUGH, NAMES).save(tmp_path / "K.npz")
    assert np.array_equal(lmm.load(tmp_path / "K.npz").to_array(), 0.5 * (ROUGH + ROUGH.T))


def test_files_of_few_digits_are_read(tmp_path):
    single = ROUGH.astype(np.float32)
    np.savetxt(tmp_path / "k.cXX.txt", ROUGH, fmt="%.10g")
    gemma = lmm.load(tmp_path / "k.cXX.txt", labels=NAMES)
    single[np.tril_indices(12)].tofile(tmp_path / "k.grm.bin")
    (tmp_path / "k.grm.id").write_text("".join(f"F {name}\n" for name in NAMES))
    frame = relationship(pd.DataFrame(single, NAMES, NAMES))
    digits = relationship(as_pairs(ROUGH.round(7)))
    for known in (gemma, lmm.load(tmp_path / "k.grm.bin"), frame, digits):
        assert known.to_array() == pytest.approx(K, abs=4e-7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("F 1\nF 02\nG 3\n", "1 02 3"),
        ("F\t1\nG\t1\nG\t3\n", "F_1 G_1 G_3"),
        ("1\n02\n3\n", "1 02 3"),
        ("#FID\tIID\nF\t1\nF\t02\nG\t3\n", "1 02 3"),
        ("#IID\n1\n02\n3\n", "1 02 3"),
        ("#IID SID\n1 7\n02 7\n3 7\n", "1 02 3"),
        ("\ufeff#IID\n1\n02\n3\n", "1 02 3"),
        ("F 1\n02\nG 3\n", None),
        ("", None),
    ],
)
def test_ids_beside_a_matrix_of_gcta_and_plink(text, expected, tmp_path):
    np.eye(3, dtype=np.float32)[np.tril_indices(3)].tofile(tmp_path / "k.grm.bin")
    at(tmp_path / "k.grm.id", text)
    if expected is None:
        with pytest.raises(lmm.KinshipError, match=r"k\.grm"):
            lmm.load(tmp_path / "k.grm.bin")
    else:
        assert list(lmm.load(tmp_path / "k.grm.bin").labels) == expected.split()
    (tmp_path / "k.grm.id").write_bytes("é 1\n".encode("latin-1"))
    with pytest.raises(lmm.KinshipError, match="text in UTF-8"):
        lmm.load(tmp_path / "k.grm.bin")


def test_triangles_that_differ_are_shown_as_they_differ():
    wrong = K.copy()
    wrong[1, 0] = wrong[0, 1] * (1 + 1e-5) + 1e-5
    with pytest.raises(lmm.KinshipError) as caught:
        relationship(wrong, NAMES)
    words = str(caught.value)
    numbers = [float(words.split(f"{part} ")[1].split()[0]) for part in ("got", "'p01' and")]
    assert sorted(numbers) == pytest.approx(sorted([wrong[0, 1], wrong[1, 0]]), rel=1e-6)
    assert numbers[0] != numbers[1]
    with pytest.raises(lmm.KinshipError, match=r"one value for a pair, got (\S+) and (?!\1)\S+ for 'p00' and 'p01'"):
        relationship(as_pairs(wrong))


@pytest.mark.parametrize("digits", [None, 7, 6])
def test_eigenvalues_below_zero_by_rounding_are_zero(digits):
    """Two pairs of identical people: a singular matrix, whose rounded entries have eigenvalues below zero."""
    twins = K[np.ix_([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])].copy()
    rough = twins.astype(np.float32).astype(float) if digits is None else twins.round(digits)
    rough[10, 10] *= 1 - 2e-7
    assert np.linalg.eigvalsh(rough)[0] < -1e-8
    data = table(NAMES, missing=False)
    exact, found = (
        lmm.fit("y ~ x + (1 | id)", data, kinship={"id": relationship(values, NAMES)}) for values in (twins, rough)
    )
    assert found.status == exact.status
    assert found.deviance == pytest.approx(exact.deviance, abs=1e-4)
    rough[10, 10] -= 0.01
    with pytest.raises(lmm.KinshipError, match="smallest eigenvalue of -0"):
        lmm.design("y ~ x + (1 | id)", data, kinship={"id": relationship(rough, NAMES)})


# ---- a .fam file that is short ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "lost"), [(100, 1), (100, 2), (100, 3), (99, 1), (99, 2), (98, 1)])
def test_a_short_fam_is_seen_behind_the_last_sample(samples, lost, tmp_path):
    """The number of bytes per variant stays the same."""
    path = tmp_path / "short.bed"
    raw = np.fromfile(BED, np.uint8)[3:].reshape(-1, 25).copy()
    raw[:, -1] &= (1 << 2 * (4 - (100 - samples))) - 1
    path.write_bytes(b"\x6c\x1b\x01" + raw.tobytes())
    shutil.copy(BED.with_suffix(".bim"), path.with_suffix(".bim"))
    lines = BED.with_suffix(".fam").read_text().splitlines(keepends=True)[:samples]
    path.with_suffix(".fam").write_text("".join(lines))
    assert lmm.genetics.genotypes(path).read().shape[0] == samples
    path.with_suffix(".fam").write_text("".join(lines[:-lost]))
    with pytest.raises(lmm.GenotypeError, match=rf"behind the last of {samples - lost} samples .* lacks up to \d rows"):
        lmm.genetics.genotypes(path)
    path.with_suffix(".fam").write_text("".join(lines[:-4]))
    with pytest.raises(lmm.GenotypeError, match=r"expected \d+ bytes"):
        lmm.genetics.genotypes(path)
