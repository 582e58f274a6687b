"""Known matrices by label: what they are made of, arithmetic, files."""

import io

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

import jaxlmm as lmm

from known_matrices import NUMBERS, TEXT, VALUES, frame, pairs, write_gcta
from references import HERE

GENETICS = HERE / "genetics"

relationship = lmm.genetics.relationship


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
