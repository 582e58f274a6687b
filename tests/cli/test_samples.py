"""Samples by their ids: lists of whom to keep, covariates and pedigrees in files, ids that match in part.

Neighbors of each kind that are tried here: one column, FID IID, tabs, commas, semicolons, CRLF, BOM, blank lines,
comments, quotes, row names, headers in any case and order, with and without #, further columns, FID 0, FID_IID,
duplicates, nobody, nothing, other headers.
"""

import shutil

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.cli.common import Stop
from jaxlmm.cli.samples import chosen, with_covariates
from jaxlmm.genetics.ids.samples import match_samples

from scans import FOLDER
from shell import at, run

RNG = np.random.default_rng(11)
BED = FOLDER / "synthetic100" / "test.bed"


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
