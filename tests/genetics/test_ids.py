"""Ids are text, in every table and file; matrices in single precision.

Neighbors of each kind that are tried here:

- ids: leading zeros, exponents, 18 digits (with a missing one, unsigned, in floats of both precisions, in decimals),
  ``1.0`` after a merge, NA, None, TRUE, 1_000, 0x1F, +5, spaces, nullable and categorical columns, parquet,
  interactions; in the data, matrices, pairs, responses and predictions;
- single precision: frames, arrays, sparse ones, both triangles in pairs, npz, GCTA, GEMMA, eigenvalues below zero.
"""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import jaxlmm as lmm
from jaxlmm.cli.common import Stop
from jaxlmm.cli.ids import read_data
from jaxlmm.cli.matrices import matrices
from jaxlmm.genetics import relationship
from jaxlmm.genetics.ids.samples import match_samples, text_ids

from people import LONG, ROOT, TEXTS, WHO, K, X, square, table
from shell import run

SAME = 1e-9
"""Relative: the same model, with other names of its levels."""
RNG = np.random.default_rng(11)


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
