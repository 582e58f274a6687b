"""Known matrices in tables: squares and pairs are told apart by their content; ids beside binary matrices.

Neighbors that are tried here: people called as the columns of pairs, permuted columns and rows, no corner, tsv,
quotes, BOM, duplicates.
"""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.cli.matrices import matrices
from jaxlmm.genetics import relationship
from jaxlmm.genetics.ids.samples import text_ids

from shell import at, run

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
