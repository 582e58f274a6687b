"""Notes on the data, in every print: codes for missing values that are fitted as numbers, responses of two values."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app
from jaxlmm.cli.common import read
from jaxlmm.formula import ModelOptions, build_frame, notes_of_responses, parse

from scans import FOLDER

FORMULA = "y ~ x + (1 | g)"


def people(n=60, **columns):
    rng = np.random.default_rng(3)
    g = np.repeat([f"g{k}" for k in range(n // 5)], 5)
    x, effects = rng.normal(size=n), np.repeat(rng.normal(size=n // 5), 5)
    return pd.DataFrame({"y": x + effects + rng.normal(size=n), "x": x, "g": g} | columns)


def coded(values, code, count=12):
    """Return values of which the first ``count`` are the code."""
    return np.r_[np.full(count, code), np.asarray(values, type(code))[count:]]


@pytest.fixture(scope="module")
def noted():
    data = people()
    data["y"] = coded(data["y"], -9.0)
    return lmm.fit(FORMULA, data)


def test_a_code_in_the_response_is_said_with_its_count_and_what_to_do(noted):
    (note,) = noted.estimates.notes
    assert note.startswith("-9 is the only value below -8 in y (12 values).")
    assert "--missing-code -9" in note
    assert "NaN" in note
    assert note in str(noted.summary())
    assert "1 note" in repr(noted)


def test_notes_are_in_the_file(noted, tmp_path):
    noted.save(tmp_path / "fit.json")
    again = lmm.load(tmp_path / "fit.json")
    assert again.estimates.notes == noted.estimates.notes
    assert str(again.summary()) == str(noted.summary())


def test_another_response_has_notes_of_its_own(noted):
    rng = np.random.default_rng(1)
    assert noted.refit(rng.normal(size=60)).estimates.notes == ()
    assert "takes only the values 0 and 1" in noted.refit(rng.integers(0, 2, 60)).estimates.notes[0]


def test_many_responses_have_one_note(tmp_path):
    data, rng = people(), np.random.default_rng(2)
    Y = pd.DataFrame(rng.normal(size=(60, 7)), columns=[f"gene{k}" for k in range(7)])
    Y.iloc[:3, 1:6] = -9.0
    data["x"] = coded(data["x"], -9.0, 4)
    many = lmm.fit_many("~ x + (1 | g)", data, responses=Y)
    assert len(many.estimates.notes) == 2
    for_y, for_x = many.estimates.notes
    assert "in 5 of 7 responses, 15 in all: gene1 (3 values), gene2 (3 values), gene3 (3 values) and 2 more" in for_y
    assert "in x (4 values)" in for_x
    assert for_y in str(many)
    assert for_x in str(many)
    assert "2 notes" in repr(many)
    many.save(tmp_path / "many.json")
    again = lmm.load(tmp_path / "many.json")
    assert str(again) == str(many)


def test_a_scan_says_it_in_its_header(tmp_path):
    mice = lmm.datasets.genotypes().iloc[:, :20]
    data = people(100, id=mice.index)
    data["y"] = coded(data["y"], -9.0)
    hits = lmm.scan("y ~ x + (1 | g)", data, genotypes=mice, id="id", variances="null", out=tmp_path / "scan")
    assert "in y (12 values)" in str(hits)
    assert "in y (12 values)" in str(lmm.load(tmp_path / "scan"))


# ---- neighbors: which columns have a note, by the design alone ------------------------------------------------------

X = people()["x"]
CODED = {
    "floats": (coded(X, -9.0), "-9"),
    "whole numbers": (coded(np.arange(60), -9), "-9"),
    "nullable whole numbers": (pd.array(coded(np.arange(60), -9), "Int64"), "-9"),
    "single precision": (coded(X, -9.0).astype(np.float32), "-9"),
    "objects": (pd.Series(coded(np.arange(60), -9), dtype=object), "-9"),
    "a level in text": (np.r_[["-9"] * 12, ["a", "b"] * 24], "-9"),
    "a level among numbers in text": (np.r_[["-9"] * 12, ["1", "2"] * 24], "-9"),
    "a level of a categorical": (pd.Categorical(np.r_[[-9] * 12, [1, 2] * 24]), "-9"),
    "-99": (coded(X, -99.0), "-99"),
    "-999": (coded(X, -999.0), "-999"),
}
PLAUSIBLE = {
    "lower values": np.r_[coded(X, -9.0)[:-1], -12.5],
    "lower whole numbers": np.arange(60) - 30,
    "two codes": np.r_[coded(X, -9.0)[:-1], -99.0],
    "almost": coded(X, -8.99),
    "9": coded(X, 9.0),
    "-8": coded(X, -8.0),
    "logical": X.to_numpy() > 0,
    "words": np.r_[["minus 9"] * 12, ["a", "b"] * 24],
    "lower numbers in text": np.r_[["-9"] * 12, ["-10", "2"] * 24],
}


def notes_of(formula, data, **options):
    frame = build_frame(parse(formula), data, ModelOptions(**options))
    return frame.notes_of_y + frame.notes


@pytest.mark.parametrize("name", CODED)
def test_a_covariate_with_a_code(name):
    values, code = CODED[name]
    (note,) = notes_of("y ~ z + (1 | g)", people(z=values))
    assert note.startswith(f"{code} is the only value below -8 in z (12 values).")
    assert f"--missing-code {code} " in note


@pytest.mark.parametrize("name", PLAUSIBLE)
def test_a_covariate_without_a_code(name):
    assert notes_of("y ~ z + (1 | g)", people(z=PLAUSIBLE[name])) == ()


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("log(z + 20) ~ x + (1 | g)", {}),
        ("z ~ 1", {}),
        ("y ~ poly(z, 2) + (1 | g)", {}),
        ("y ~ x + (0 + z | g)", {}),
        ("y ~ x + offset(z) + (1 | g)", {}),
        ("y ~ x + (1 | g)", {"offset": "z"}),
        ("y ~ x + (1 | z)", {}),
    ],
)
def test_wherever_the_model_uses_it(formula, options):
    values = np.repeat(np.r_[-9, np.arange(14)], 4) if formula.endswith("z)") else coded(X, -9.0, 4)
    (note,) = notes_of(formula, people(z=values), **options)
    assert "in z (4 values)" in note


def test_nowhere_else():
    data = people(unused=coded(X, -9.0))
    assert notes_of("y ~ x + (1 | g)", data) == ()
    data["y"] = np.r_[np.full(12, np.nan), data["y"][12:]]  # the rows with codes are not used
    assert notes_of("y ~ unused + (1 | g)", data) == ()


def test_among_thousands_of_responses():
    Y = np.random.default_rng(4).normal(size=(60, 3000))
    Y[:2, 10:2010] = -9.0
    Y[2, 10] = -20.0
    Y[5, 7], Y[:5, 7] = -9.0, np.nan
    codes, *rest = notes_of_responses([f"y{k}" for k in range(3000)], Y)
    assert (
        "in 2,000 of 3,000 responses, 3,999 in all: y7 (1 value), y11 (2 values), y12 (2 values) and 1,997 m" in codes
    )
    assert rest == []


def test_two_values_are_said_of_numbers_and_of_logicals():
    numbers = np.random.default_rng(5).integers(0, 2, 60)
    for values in (numbers, numbers.astype(float), numbers.astype(bool), pd.array(numbers.astype(bool), "boolean")):
        (note,) = notes_of("y ~ x + (1 | g)", people(y=values))
        assert note.startswith("y takes only the values 0 and 1, and is fitted as Gaussian")
    (note,) = notes_of("y ~ x + (1 | g)", people(y=numbers + 1))  # cases are 2 in PLINK
    assert "the values 1 and 2" in note
    (note,) = notes_of("I(y > 0) ~ x + (1 | g)", people())
    assert note.startswith("I(y > 0) takes only the values 0 and 1")
    assert notes_of("y ~ x + (1 | g)", people(y=np.arange(60) % 3)) == ()
    Y = np.c_[numbers, np.arange(60), np.where(numbers == 1, np.nan, np.arange(60) % 2), np.ones(60)].astype(float)
    (note,) = notes_of_responses(["a", "b", "c", "d"], Y)
    assert note.startswith("2 of 4 responses take only two values, such as 0 and 1, and are: a, c; fitted as Gaussian")


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table with codes in the response, a covariate, a factor and a large number, in all formats; the same as NaN."""
    data = people(s=np.r_[["-9"] * 3, ["a", "b", "c"] * 19], big=2**60 + np.arange(60))
    data["y"] = coded(data["y"].round(3), -9.0, 4)
    data["k"] = coded(np.arange(60) % 7, -9, 6)
    data.loc[59, "big"] = -9
    right = data.assign(
        y=data["y"].replace(-9.0, np.nan), s=data["s"].replace("-9", None), k=data["k"].replace(-9, np.nan)
    )
    folder = tmp_path_factory.mktemp("coded")
    data.to_csv(folder / "data.csv", index=False)
    data.to_csv(folder / "data.tsv", index=False, sep="\t")
    data.to_parquet(folder / "data.parquet")
    return folder, right


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_codes_are_missing_in_every_column(files, ending):
    folder, right = files
    read_again = read(folder / f"data.{ending}", codes=["-9"])
    columns = ["y", "x", "g", "s", "k"]
    pd.testing.assert_frame_equal(read_again[columns].astype(right[columns].dtypes), right[columns])
    assert read_again["big"].isna().sum() == 1
    if ending == "parquet":
        assert read_again["big"][58] == 2**60 + 58


def test_several_codes(files):
    folder, _ = files
    both = read(folder / "data.csv", codes=["-9", "a"])
    assert both["s"].isna().sum() == 3 + 19
    assert read(folder / "data.parquet", codes=["-9", "a"])["s"].isna().sum() == 3 + 19


def test_fit_says_it_and_takes_the_code(files, noted):
    folder, right = files
    said = run("fit", "y ~ k + (1 | g)", folder / "data.csv")
    assert "in y (4 values)" in said.output
    assert "in k (6 values)" in said.output
    assert "--missing-code -9" in said.output
    taken = run("fit", "y ~ k + (1 | g)", folder / "data.csv", "--missing-code", "-9")
    assert taken.output.strip() == str(lmm.fit("y ~ k + (1 | g)", right).summary())
    assert "missing-code" not in taken.output
    assert "Rows: 54 (6 dropped: missing values)" in taken.output


def test_the_files_of_responses_and_covariates_have_codes_too(files, tmp_path):
    mice = lmm.datasets.genotypes().iloc[:, :20]
    data = people(100, id=mice.index)
    data.drop(columns=["y", "x"]).to_csv(tmp_path / "data.csv", index=False)
    data.assign(y=coded(data["y"], -9.0))[["id", "y"]].to_csv(tmp_path / "y.csv", index=False)
    covariates = data.assign(age=coded(data["x"], -9.0, 15)).rename(columns={"id": "IID"})[["IID", "age"]]
    covariates.to_csv(tmp_path / "age.covar", index=False, sep=" ")

    from jaxlmm.cli.fitting import responses_of
    from jaxlmm.cli.samples import with_covariates

    found = responses_of([str(tmp_path / "y.csv")], data, ["-9"])
    assert found["y"].isna().sum() == 12
    frame, formula, _ = with_covariates(data, "~ (1 | g)", tmp_path / "age.covar", "id", ["-9"])
    assert formula == "~ (1 | g) + age"
    assert frame["age"].isna().sum() == 15
    many = run(
        "fit-many", "~ (1 | g)", tmp_path / "data.csv", "--responses", tmp_path / "y.csv", "--id", "id",
        "--missing-code", "-99,-9",
    )  # fmt: skip
    assert many.exit_code == 0, many.output
    assert " 88 " in many.output
    assert "only value below" not in many.output


def test_a_scan_says_it_and_takes_the_code(tmp_path):
    bed = FOLDER / "synthetic100" / "test.bed"
    fam = pd.read_csv(bed.with_suffix(".fam"), sep=r"\s+", header=None, dtype={0: str, 1: str})
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"id": fam[1], "y": coded(rng.normal(size=100), -9.0)})
    data.to_csv(tmp_path / "data.csv", index=False)
    ages = pd.DataFrame({"FID": fam[0], "IID": fam[1], "age": coded(rng.normal(size=100), -9.0, 15)})
    ages.to_csv(tmp_path / "age.txt", sep=" ", index=False)
    command = [
        "scan", "y ~ (1 | id)", tmp_path / "data.csv", "--genotypes", bed, "--kinship", "auto", "--variances", "null",
        "--covariates", tmp_path / "age.txt", "--chromosome", "1", "--no-progress",
    ]  # fmt: skip
    said = run(*command)
    assert said.exit_code == 0, said.output
    assert "in y (12 values)" in said.output
    assert "in age (15 values)" in said.output
    taken = run(*command, "--missing-code", "-9")
    assert "Rows: 85 (15 dropped: missing values)" in taken.output
    assert "missing-code" not in taken.output
