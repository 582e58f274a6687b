"""Known matrices by label: what they are made of, arithmetic, files, the command line."""

import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app

from references import HERE

GENETICS = HERE / "genetics"

relationship = lmm.genetics.relationship

VALUES = np.array([[1.0, 0.5, 0.0, 0.25], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 1.5, 0.0], [0.25, 0.0, 0.0, 1.0]])
TEXT, NUMBERS = ["b", "a", "c", "d"], [30, 4, 12345, 7]


def pairs(labels=TEXT, values=VALUES, lower=True):
    rows, columns = np.nonzero(np.tril(values) if lower else values)
    return pd.DataFrame({
        "id1": np.array(labels)[rows], "id2": np.array(labels)[columns], "value": values[rows, columns]
    })  # fmt: skip


def frame(labels=TEXT, values=VALUES):
    return pd.DataFrame(values, index=labels, columns=labels)


GIVEN = {
    "pairs": (pairs(), None, True),
    "pairs of the upper triangle": (pairs().rename(columns={"id1": "id2", "id2": "id1"}), None, True),
    "both triangles": (pairs(lower=False), None, True),
    "pairs without names": (pairs().set_axis(["who", "whom", "kin"], axis=1), None, True),
    "pairs of polars": (pl.from_pandas(pairs()), None, True),
    "more columns": (pairs().assign(note="x")[["note", "value", "id2", "id1"]], None, True),
    "frame": (frame(), None, False),
    "frame with columns in another order": (frame()[sorted(TEXT)], None, False),
    "array": (VALUES, TEXT, False),
    "array with a series of labels": (VALUES, pd.Series(TEXT, dtype="category"), False),
    "frame without labels": (pd.DataFrame(VALUES), TEXT, False),
    "rounding": (VALUES * (1 + np.triu(np.full((4, 4), 1e-12))), TEXT, False),
    "sparse matrix": (sparse.coo_matrix(VALUES), TEXT, True),
    "sparse array": (sparse.csc_array(VALUES), TEXT, True),
    "relationship": (relationship(frame()), None, False),
}


@pytest.mark.parametrize("how", GIVEN)
def test_what_it_is_made_of(how):
    given, labels, is_sparse = GIVEN[how]
    found = relationship(given, labels)
    assert found.is_sparse == is_sparse
    assert sorted(found.labels) == sorted(TEXT)
    assert np.abs(found.to_array(TEXT) - VALUES).max() < 1e-11
    assert found.to_array().tolist() == found.to_array().T.tolist()
    assert found.to_frame().loc[TEXT, TEXT].to_numpy() == pytest.approx(VALUES, abs=1e-11)
    assert found.diagonal() == pytest.approx(np.diag(found.to_array()))
    assert found.subset(TEXT).blocks().tolist() == [0, 0, 1, 0]


def test_ids_are_kept_and_found_by_their_text():
    numbers = relationship(VALUES, NUMBERS)
    assert numbers.labels.dtype == np.int64
    assert numbers.labels.tolist() == NUMBERS
    for ids in (["12345", "4"], [12345.0, 4.0], pd.Series([12345, 4], dtype="Int64"), pd.Categorical([12345, 4])):
        assert numbers.to_array(ids).tolist() == [[1.5, 0.0], [0.0, 1.0]]
    text = relationship(VALUES, ["007", "7", "a", "B"])
    assert text.labels.tolist() == ["007", "7", "a", "B"]
    assert text.subset(["7", "007"]).to_array().tolist() == [[1.0, 0.5], [0.5, 1.0]]
    assert text.to_array([7, 7]).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert relationship(VALUES, [1, 2, "3a", 4.0]).labels.tolist() == ["1", "2", "3a", "4"]


def test_a_frame_from_a_file_has_text_as_columns():
    table = pd.read_csv(io.StringIO(frame(NUMBERS).to_csv()), index_col=0)
    assert relationship(table).to_frame().equals(frame(NUMBERS))
    three = frame(NUMBERS[:3], VALUES[:3, :3])
    assert relationship(pd.read_csv(io.StringIO(three.to_csv()), index_col=0)).to_frame().equals(three)


WRONG = {
    "array without labels": (VALUES, None, ["labels= with an array of shape (4, 4)"]),
    "labels of another length": (VALUES, TEXT[:3], ["each of 4 rows", "3 labels"]),
    "labels of a frame": (frame(), TEXT, ["an array alone"]),
    "not square": (VALUES[:3], TEXT, ["square", "(3, 4)"]),
    "one dimension": (VALUES[0], TEXT, ["square", "(4,)"]),
    "duplicate": (VALUES, ["a", "b", "c", "a"], ["'a' in 2 places"]),
    "duplicate in text": (VALUES, ["1", "b", "c", 1], ["'1' in 2 places"]),
    "missing label": (VALUES, ["a", "b", None, "d"], ["1 missing", "row 2"]),
    "fraction": (VALUES, [1.5, 2, 3, 4], ["whole numbers", "1.5"]),
    "one text": (VALUES, "abcd", ["a sequence of ids", "'abcd'"]),
    "dates": (VALUES, pd.date_range("2020", periods=4), ["text or whole numbers"]),
    "one triangle": (np.tril(VALUES), TEXT, ["symmetric", "'b' and 'a'", "0 ", "0.5", "id1, id2, value"]),
    "one sparse triangle": (sparse.csr_array(np.tril(VALUES)), TEXT, ["symmetric", "'b' and 'a'"]),
    "nan": (np.where(VALUES == 0.25, np.nan, VALUES), TEXT, ["finite", "nan between 'b' and 'd'", "2 such"]),
    "sparse infinity": (sparse.csr_array(np.where(VALUES == 0.25, np.inf, VALUES)), TEXT, ["inf between 'b' and 'd'"]),
    "text": (np.full((4, 4), "x"), TEXT, ["real numbers"]),
    "complex": (VALUES * 1j, TEXT, ["real numbers", "complex"]),
    "complex frame": (frame(values=VALUES * 1j), None, ["real numbers", "complex"]),
    "nullable nan": (frame().replace(0.25, np.nan).convert_dtypes(), None, ["finite", "nan between 'b' and 'd'"]),
    "other columns": (
        frame().rename(columns={"a": "e"}), None, ["same ids", "1 in the index alone", "'a'", "index_col=0"],
    ),
    "wide frame": (frame().iloc[:2], None, ["square frame", "id1, id2, value", "(2, 4)"]),
    "contradiction": (
        pd.concat([pairs(), pd.DataFrame({"id1": ["b"], "id2": ["a"], "value": [0.4]})]), None,
        ["one value for a pair", "0.5 and 0.4 for 'b' and 'a'"],
    ),
    "no diagonal": (pairs().replace({"id2": {"d": "c"}}), None, ["itself", "1 of 4", "'d'"]),
    "nan in pairs": (pairs().replace({"value": {0.25: np.nan}}), None, ["nan between 'd' and 'b'", "Leave the row"]),
    "text in pairs": (pairs().astype({"value": str}), None, ["real numbers in column value"]),
    "complex pairs": (pairs().astype({"value": complex}), None, ["real numbers in column value, got complex128"]),
    "missing id in pairs": (pairs().replace({"id2": {"c": None}}), None, ["column id2", "1 missing"]),
    "three numbers": (pd.DataFrame(VALUES[:, :3], columns=["x", "y", "z"]), None, ["column x", "whole numbers", "0.5"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_relationship(case):
    given, labels, words = WRONG[case]
    with pytest.raises(lmm.KinshipError) as caught:
        relationship(given, labels)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("given", ["K.csv", 3, [[1.0]]])
def test_what_is_no_table(given):
    with pytest.raises(lmm.DataError, match="expected a data frame"):
        relationship(given)


@pytest.fixture(params=["sparse", "dense"])
def known(request):
    return relationship(
        pairs() if request.param == "sparse" else frame().loc[["b", "a", "d", "c"], ["b", "a", "d", "c"]]
    )


def test_missing_ids_are_named(known):
    with pytest.raises(lmm.KinshipError, match=r"subset: 2 of 3 ids .* the first is 'x'; the matrix has 4 ids such as"):
        known.subset(["a", "x", "y"])
    with pytest.raises(lmm.KinshipError, match="There is 'a', which differs in spaces"):
        known.to_array([" A"])
    with pytest.raises(lmm.KinshipError, match="'a' in 2 places"):
        known.subset(["a", "a"])


def test_sums(known):
    other = relationship(frame(values=2 * np.eye(4)))
    for found in (known + other, other + known):
        assert found.to_array(TEXT).tolist() == (VALUES + 2 * np.eye(4)).tolist()
    assert (known + other).labels.tolist() == known.labels.tolist()
    assert (known + relationship(pairs())).is_sparse == known.is_sparse
    with pytest.raises(lmm.KinshipError, match=r"1 of 4 in one alone, the first is 'b' \(the other has .* subset"):
        known + known.subset(["a", "c", "d"])
    with pytest.raises(lmm.KinshipError, match="1 of 4 in one alone, the first is 'b'"):
        known.subset(["a", "c", "d"]) + known
    with pytest.raises(TypeError):
        known + 1


@pytest.mark.parametrize("two", [2, 2.0, np.float64(2), np.int64(2)])
def test_multiples(known, two):
    for found in (two * known, known * two):
        assert isinstance(found, lmm.genetics.Relationship)
        assert found.is_sparse == known.is_sparse
        assert found.to_array(TEXT).tolist() == (2 * VALUES).tolist()
    assert known.to_array(TEXT).tolist() == VALUES.tolist()


def test_multiples_of_something_else(known):
    with pytest.raises(lmm.KinshipError, match="finite number, got nan"):
        known * np.nan
    for other in (known, "2", True):
        with pytest.raises(TypeError):
            known * other


def test_it_never_changes(known):
    with pytest.raises(AttributeError):
        known.labels = TEXT
    entries = known.matrix.data if known.is_sparse else known.matrix
    with pytest.raises(ValueError, match="read-only"):
        entries[0] = 2.0
    mine = VALUES.copy()
    taken = relationship(mine, TEXT)
    mine[0, 0] = 100.0
    assert taken.to_array()[0, 0] == 1.0
    copy = taken.to_array()
    copy[0, 0] = 100.0
    assert taken.to_array()[0, 0] == 1.0


def test_blocks_of_dense_and_sparse_agree():
    rng = np.random.default_rng(1)
    values = np.eye(60)
    for one, two in rng.integers(60, size=(25, 2)):
        values[one, two] = values[two, one] = 1.0
    dense, thin = relationship(values, range(60)), relationship(sparse.csr_array(values), range(60))
    assert dense.blocks().tolist() == thin.blocks().tolist()
    blocks = dense.blocks()
    assert not values[blocks[:, None] != blocks[None, :]].any()
    assert np.unique(blocks, return_index=True)[1].tolist() == sorted(np.unique(blocks, return_index=True)[1])


def test_it_says_what_it_is(known):
    held = "sparse, 8 entries" if known.is_sparse else "dense"
    assert repr(known) == f"<Relationship: 4 ids, {held}, mean diagonal 1.125>"
    assert len(known) == 4


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [TEXT, NUMBERS, ["ä", "007", "x y", "long" * 30]])
def test_npz_round_trip(labels, tmp_path):
    for index, known in enumerate(
        (relationship(VALUES / 3, labels), relationship(sparse.csr_array(VALUES / 3), labels))
    ):
        path = tmp_path / f"K{index}.npz"
        known.save(path)
        back = lmm.load(path)
        assert back.labels.equals(known.labels)
        assert back.is_sparse == known.is_sparse
        assert back.to_array().tobytes() == known.to_array().tobytes()
    with pytest.raises(lmm.KinshipError, match=r"ends in .npz, got 'K.csv'"):
        known.save("K.csv")


def test_other_npz_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=VALUES)
    with pytest.raises(lmm.KinshipError, match=r"a.npz: expected a matrix saved by .* got arrays named x"):
        lmm.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", kind="jaxlmm relationship", version=99)
    with pytest.raises(lmm.KinshipError, match="version 1, got version 99"):
        lmm.load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", kind="jaxlmm relationship", version=1)
    with pytest.raises(lmm.KinshipError, match="cannot be read"):
        lmm.load(tmp_path / "c.npz")
    (tmp_path / "d.npz").write_text("no archive")
    with pytest.raises(lmm.KinshipError, match="cannot be read"):
        lmm.load(tmp_path / "d.npz")
    with pytest.raises(FileNotFoundError):
        lmm.load(tmp_path / "e.npz")


def write_gcta(folder, values, families="f1 f1 f2 f3", samples="1 2 NA 4", counts=None):
    """Write a matrix as GCTA does: the lower triangle row by row in single precision."""
    rows, columns = np.tril_indices(len(values))
    values[rows, columns].astype("<f4").tofile(folder / "all.grm.bin")
    lines = zip(families.split(), samples.split(), strict=True)
    (folder / "all.grm.id").write_text("".join(f"{one}\t{two}\n" for one, two in lines))
    if counts is not None:
        counts[rows, columns].astype("<f4").tofile(folder / "all.grm.N.bin")
    return folder / "all.grm.bin"


def test_gcta(tmp_path):
    single = VALUES.astype(np.float32)
    found = lmm.load(write_gcta(tmp_path, VALUES, counts=np.full((4, 4), 500.0)))
    assert found.labels.tolist() == ["1", "2", "NA", "4"]
    assert found.to_array().tolist() == single.tolist()
    assert lmm.load(write_gcta(tmp_path, VALUES, samples="1 2 1 4")).labels.tolist() == ["f1_1", "f1_2", "f2_1", "f3_4"]
    counts = np.full((4, 4), 500.0)
    counts[3, 1] = 0.0
    with pytest.raises(lmm.KinshipError, match="1 pairs share no marker, the first are '4' and '2'"):
        lmm.load(write_gcta(tmp_path, VALUES, counts=counts))
    with pytest.raises(lmm.KinshipError, match=r"4 individuals .* 10 numbers of 4 bytes, got 6"):
        lmm.load(write_gcta(tmp_path, VALUES[:3, :3]))
    (tmp_path / "all.grm.id").unlink()
    with pytest.raises(FileNotFoundError):
        lmm.load(tmp_path / "all.grm.bin")


def test_gemma():
    path, ids = GENETICS / "bxd" / "BXD.cXX.txt.gz", [f"BXD{number}" for number in range(198)]
    found = lmm.load(path, labels=ids)
    assert found.labels.tolist() == ids
    table = np.loadtxt(path)
    assert np.abs(found.to_array() - table).max() == 0.0
    with pytest.raises(lmm.KinshipError, match=r"has no ids: expected labels=, the \.fam file"):
        lmm.load(path)
    with pytest.raises(lmm.KinshipError, match="each of 198 rows, got 3 labels"):
        lmm.load(path, labels=ids[:3])


def test_gemma_with_the_ids_of_a_fam_file():
    folder = GENETICS / "synthetic100"
    found = lmm.load(folder / "gemma_kinship.cXX.txt.gz", labels=folder / "test.fam")
    ids = [line.split()[1] for line in (folder / "test.fam").read_text().splitlines()]
    assert found.labels.tolist() == ids


def test_what_gemma_did_not_write(tmp_path):
    path = tmp_path / "a.cXX.txt"
    path.write_text("1 2\n3\n4 5 6\n")
    with pytest.raises(lmm.KinshipError, match="square of numbers"):
        lmm.load(path, labels=["a", "b"])
    path.write_text("1 x\nx 1\n")
    with pytest.raises(lmm.KinshipError, match="square of numbers"):
        lmm.load(path, labels=["a", "b"])


def test_tables_are_read_by_pandas():
    for name in ("K.csv", "K.txt", "K.csv.gz"):
        with pytest.raises(lmm.DataError, match=r"got a table; read it with pandas"):
            lmm.load(name)


def test_labels_are_for_files_without(tmp_path):
    relationship(frame()).save(tmp_path / "K.npz")
    with pytest.raises(lmm.OptionError, match="labels: expected none"):
        lmm.load(tmp_path / "K.npz", labels=TEXT)


# ---- the command line ------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Thirty families in files, their kinship matrix, and a response that runs in them."""
    folder = tmp_path_factory.mktemp("study")
    rows = [
        (10 * f + i, *((10 * f, 10 * f + 1) if i > 1 else (0, 0)), i % 2 + 1) for f in range(1, 31) for i in range(5)
    ]
    people = pd.DataFrame(rows, columns=["who", "father", "mother", "gender"])
    people.to_csv(folder / "people.csv", index=False)
    twins = pd.DataFrame({"id1": [12, 22], "id2": [14, 24], "code": ["MZ", "DZ"]})
    twins.to_csv(folder / "twins.tsv", index=False, sep="\t")
    phi = lmm.genetics.kinship(people, id="who", sex="gender", relations=twins)
    rng = np.random.default_rng(3)
    values = np.linalg.cholesky(2 * phi.to_array() + 1e-9 * np.eye(150)) @ rng.normal(size=150) + rng.normal(size=150)
    people.assign(y=values, z=values[::-1]).to_csv(folder / "data.csv", index=False)
    people.assign(y=values, who=people["who"].astype(str)).to_parquet(folder / "data.parquet")
    return folder, phi


def test_kinship_command(study):
    folder, phi = study
    options = ["--id", "who", "--sex", "gender", "--relations", folder / "twins.tsv"]
    result = run("kinship", folder / "people.csv", *options, "--out", folder / "K.npz")
    assert result.exit_code == 0, result.output
    assert "150 ids, sparse" in result.output
    back = lmm.load(folder / "K.npz")
    assert back.labels.equals(phi.labels)
    assert back.to_array().tobytes() == phi.to_array().tobytes()
    again = run("kinship", folder / "people.csv", *options, "--out", folder / "K.npz")
    assert again.exit_code == 2
    assert "--force" in again.output
    on_x = run("kinship", folder / "people.csv", *options, "--chromosome", "X", "--out", folder / "X.npz")
    assert on_x.exit_code == 0, on_x.output
    assert lmm.load(folder / "X.npz").diagonal().max() == 1.0


def test_kinship_command_exit_codes(study, tmp_path):
    folder, _ = study
    assert run("kinship", folder / "people.csv", "--out", tmp_path / "K.npz").exit_code == 3  # no column id
    assert run("kinship", folder / "people.csv", "--id", "who", "--out", tmp_path / "K.csv").exit_code == 2
    assert run("kinship", tmp_path / "none.csv", "--out", tmp_path / "K.npz").exit_code == 3
    assert run("kinship", folder / "people.csv", "--chromosome", "Y", "--out", tmp_path / "K.npz").exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["npz", "csv", "tsv", "parquet", "grm.bin", "pairs.csv", "pairs.parquet"])
def test_fit_takes_files_of_known_matrices(study, tmp_path, ending):
    folder, phi = study
    file = tmp_path / f"K.{ending}"
    table = phi.to_frame()
    lower = pairs(phi.labels, phi.to_array())
    match ending:
        case "npz":
            phi.save(file)
        case "csv" | "tsv":
            table.to_csv(file, sep="," if ending == "csv" else "\t")
        case "parquet":
            table.rename(columns=str).to_parquet(file)
        case "pairs.csv":
            lower.to_csv(file, index=False)
        case "pairs.parquet":
            lower.to_parquet(file, index=False)
        case "grm.bin":
            names = " ".join(map(str, phi.labels))
            write_gcta(tmp_path, phi.to_array(), names, names)
            file = tmp_path / "all.grm.bin"
    expected = lmm.fit("y ~ 1 + (1 | who)", pd.read_csv(folder / "data.csv"), kinship={"who": 2 * phi})
    for data in ("data.csv", "data.parquet"):
        out = tmp_path / f"{data}.json"
        result = run("fit", "y ~ 1 + (1 | who)", folder / data, "--kinship", f"who=2*{file}", "--out", out)
        assert result.exit_code == 0, result.output
        assert json.loads(out.read_text())["deviance"] == pytest.approx(expected.deviance, abs=1e-6)


def test_fit_takes_several_matrices_of_a_group(study, tmp_path):
    folder, phi = study
    phi.save(tmp_path / "kin.npz")
    relationship(np.eye(150), phi.labels).save(tmp_path / "own.npz")
    options = ["--kinship", f"who=2*{tmp_path}/kin.npz", "--kinship", f"who={tmp_path}/own.npz"]
    result = run("fit-many", "~ 1 + (1 | who)", folder / "data.csv", "--responses", "y", *options)
    assert result.exit_code == 0, result.output
    result = run("fit", "y ~ 1 + (1 | who)", folder / "data.csv", *options)
    assert "kin" in result.output
    assert "own" in result.output


def test_fit_without_the_file(study, tmp_path):
    folder, phi = study
    for argument in ("who", "who=none.npz", f"=2*{folder}/people.csv"):
        assert run("fit", "y ~ 1 + (1 | who)", folder / "data.csv", "--kinship", argument).exit_code == 2
    phi.save(tmp_path / "kin.npz")
    twice = ["--kinship", f"who={tmp_path}/kin.npz"] * 2
    assert run("fit", "y ~ 1 + (1 | who)", folder / "data.csv", *twice).exit_code == 2
    assert run("fit", "y ~ 1 + (1 | who)", folder / "data.csv", "--kinship", f"who={folder}/people.csv").exit_code == 3
