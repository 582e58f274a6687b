"""The command line: the same results as the functions, and exit codes."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app
from jaxlmm.cli.common import read

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def sleep_csv(tmp_path):
    path = tmp_path / "sleep.csv"
    lmm.datasets.sleepstudy().to_csv(path, index=False)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_fit_prints_the_summary_and_writes_json(sleep_csv, tmp_path):
    out = tmp_path / "fit.json"
    result = run("fit", FORMULA, sleep_csv, "--method", "ml", "--out", out)
    assert result.exit_code == 0, result.output
    fit = lmm.fit(FORMULA, lmm.datasets.sleepstudy(), method="ML")
    assert result.output.strip() == str(fit.summary())
    record = json.loads(out.read_text())
    assert record["deviance"] == pytest.approx(fit.deviance, abs=1e-9)
    assert record["coef"]["term"] == ["Intercept", "Days"]
    assert record["coef"]["std_error"] == pytest.approx(fit.coef()["std_error"].tolist())
    assert record["certificate"]["status"] == record["status"] == "interior"
    assert len(record["ranef"]["Subject"]["levels"]) == 18
    assert str(lmm.load(out).summary()) == result.output.strip()
    again = run("fit", FORMULA, sleep_csv, "--out", out)
    assert again.exit_code == 2
    assert "--force" in again.output
    assert run("fit", FORMULA, sleep_csv, "--out", out, "--force").exit_code == 0


def test_json_of_a_ridge_has_null_where_nothing_is_known(tmp_path):
    out = tmp_path / "fit.json"
    lmm.fit("height ~ variant1 + variant2 + variant3 + (1 | family)", lmm.datasets.variants5()).save(out)
    record = json.loads(out.read_text())
    assert record["coef"]["std_error"] == [None] * 4
    assert len(record["certificate"]["ridge"]) == 2


def test_exit_codes(sleep_csv, tmp_path):
    wrong = run("fit", "Reaction ~ Dais + (Days | Subject)", sleep_csv)
    assert wrong.exit_code == 2
    assert "did you mean Days" in wrong.output
    assert run("fit", FORMULA, tmp_path / "none.csv").exit_code == 3
    assert run("fit", FORMULA, tmp_path / "none.xls").exit_code == 2
    assert run("fit", FORMULA, sleep_csv, "--out", tmp_path / "fit.txt").exit_code == 2
    assert run("fit", FORMULA, sleep_csv, "--solver", "quick").exit_code == 2
    constant = tmp_path / "constant.csv"
    lmm.datasets.sleepstudy().assign(Reaction=1.0).to_csv(constant, index=False)
    assert run("fit", FORMULA, constant).exit_code == 3


def test_fixed_and_started_parameters(sleep_csv, wide_csv):
    formula, sleep = "Reaction ~ Days + (1 | Subject)", pd.read_csv(sleep_csv)
    given = ["--fixed", "Residual: sd=30", "--start", "Subject: sd(Intercept) = 20"]
    result = run("fit", formula, sleep_csv, *given)
    assert result.exit_code == 0, result.output
    fit = lmm.fit(formula, sleep, fixed={"Residual: sd": 30.0}, start={"Subject: sd(Intercept)": 20.0})
    assert result.output.strip() == str(fit.summary())
    many = ["fit-many", "~ Days + (1 | Subject)", wide_csv, "--responses", "microbe1"]
    for command in (["fit", formula, sleep_csv], many):
        for option in ("--start", "--fixed"):
            for wrong, message in {
                "Subject: sd=1": f"{option[2:]}: no parameter is named 'Subject: sd'",
                "Residual: sd": f"{option}: expected NAME=VALUE such as 'Residual: sd=1', got 'Residual: sd'",
                "=1": f"{option}: expected NAME=VALUE",
                "Residual: sd=-1": f"{option[2:]}: expected a standard deviation above 0",
            }.items():
                failed = run(*command, option, wrong)
                assert (failed.exit_code, message in failed.output) == (2, True), failed.output
    twice = run("fit", formula, sleep_csv, "--fixed", "Residual: sd=1", "--fixed", "Residual: sd=2")
    assert (twice.exit_code, "each parameter once" in twice.output) == (2, True)


def test_columns_that_dispersion_alone_names(tmp_path):
    """They are those of the file; one of ids that are text is refused, as among the formula's variables."""
    sleep = lmm.datasets.sleepstudy()
    sleep["week"], sleep["id"] = sleep["Days"] // 7, "0" + sleep["Subject"].astype(str)
    path = tmp_path / "sleep.csv"
    sleep.to_csv(path, index=False)
    formula = "Reaction ~ Days + (1 | Subject)"
    result = run("fit", formula, path, "--dispersion", "~ week")
    assert result.output.strip() == str(lmm.fit(formula, sleep, dispersion="~ week").summary())
    unknown = run("fit", formula, path, "--dispersion", "~ wek")
    assert (unknown.exit_code, "did you mean week" in unknown.output) == (2, True)
    both = run(
        "fit-many", "~ Days + (1 | Subject)", path, "--responses", "Reaction", "--id", "id", "--dispersion", "~ id"
    )
    assert (both.exit_code, "'id' names individuals and is a variable of the model" in both.output) == (2, True)


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_levels_that_are_called_none_are_no_missing_values(tmp_path, ending):
    table = pd.DataFrame({"cut": ["None", "N/A", "NULL", "S1"], "x": [1.0, np.nan, 2.0, 3.0]})
    path = tmp_path / f"table{ending}"
    table.to_csv(path, sep="," if ending == ".csv" else "\t", index=False, na_rep="NA")
    pd.testing.assert_frame_equal(read(path), table)


def test_kinship_file(tmp_path, sleep_csv):
    import numpy as np

    ids = [int(label) for label in lmm.datasets.sleepstudy()["Subject"].cat.categories]
    matrix = tmp_path / "K.csv"
    pd.DataFrame(np.eye(len(ids)), index=ids, columns=ids).to_csv(matrix)
    result = run("fit", "Reaction ~ Days + (1 | Subject)", sleep_csv, "--kinship", f"Subject={matrix}")
    assert result.exit_code == 0, result.output
    assert "1786.4651" in result.output
    packed = tmp_path / "L.npz"
    lmm.genetics.relationship(np.eye(len(ids)), labels=ids).save(packed)
    again = run("fit", "Reaction ~ Days + (1 | Subject)", sleep_csv, "--kinship", f"Subject={packed}")
    assert again.output == result.output
    two = [f"Subject={matrix}", "--kinship", f"Subject={packed}"]
    both = run("fit", "Reaction ~ Days + (1 | Subject)", sleep_csv, "--kinship", *two)
    assert f"Subject[{matrix.stem}], 18; Subject[L], 18" in both.output
    assert "not_identified" in both.output  # the same matrix twice
    assert run("fit", FORMULA, sleep_csv, "--kinship", "Subject").exit_code == 2


def test_demo_saves_a_picture(tmp_path):
    picture = tmp_path / "effects.png"
    result = run("demo", "--out", picture)
    assert result.exit_code == 0, result.output
    assert "847.7554" in result.output
    assert "1743.6283" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo_checks_the_file_before_it_fits(tmp_path):
    assert run("demo", "--out", tmp_path / "effects.foo").exit_code == 2


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.output == f"jaxlmm {lmm.__version__}\n"


def test_info():
    assert "jaxlmm" in run("info").output


MANY = "~ Days + (Days | Subject)"


@pytest.fixture
def wide_csv(tmp_path):
    """The sleep study with three responses, one of them hopeless."""
    sleep = lmm.datasets.sleepstudy().assign(row=lambda table: [f"r{place}" for place in range(len(table))])
    path = tmp_path / "wide.csv"
    sleep.assign(
        microbe1=sleep["Reaction"] ** 0.5, microbe2=sleep["Reaction"] / 7.0, microbe3=1.0, Reaction=0.0
    ).to_csv(path, index=False)
    return path


def many_of(path, **options):
    return lmm.fit_many(MANY, pd.read_csv(path), **options)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".tsv"])
def test_fit_many_writes_the_table(wide_csv, tmp_path, ending):
    out = tmp_path / f"results{ending}"
    result = run("fit-many", MANY, wide_csv, "--responses", "microbe*", "--method", "ml", "--out", out)
    assert result.exit_code == 0, result.output
    expected = many_of(wide_csv, responses="microbe*", method="ML").tidy()
    if ending == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(out), expected, check_dtype=False)
    else:
        table = pd.read_csv(out, sep="," if ending == ".csv" else "\t", keep_default_na=False, na_values=[""])
        assert table["estimate"].to_numpy() == pytest.approx(expected["estimate"].to_numpy(), nan_ok=True)
        assert table.columns.tolist() == expected.columns.tolist()
    again = run("fit-many", MANY, wide_csv, "--responses", "microbe*", "--out", out)
    assert again.exit_code == 2
    assert "--force" in again.output
    assert run("fit-many", MANY, wide_csv, "--responses", "microbe*", "--out", out, "--force").exit_code == 0


def test_fit_many_prints_what_it_found(wide_csv):
    result = run("fit-many", MANY, wide_csv, "--responses", "microbe*", "--no-progress")
    assert result.exit_code == 0, result.output
    assert "3 linear mixed models by REML" in result.output
    assert "constant" in result.output.split("Without a proven optimum:")[1].split("Coefficients:")[0]
    assert result.output.split("Coefficients:")[1].count("microbe1") == 2
    two = run("fit-many", MANY, wide_csv, "--responses", "microbe1", "--responses", "microbe2")
    assert "2 linear mixed models by REML" in two.output
    assert "Without a proven optimum" not in two.output
    bound = run("fit-many", f"cbind(microbe1, microbe2) {MANY}", wide_csv)
    assert bound.output.split("Coefficients:")[1] == two.output.split("Coefficients:")[1]


def test_fit_many_prints_a_few_rows_of_long_tables(wide_csv):
    pairs = {f"m{place}": pd.read_csv(wide_csv)["microbe1"] + place for place in range(7)}
    pd.DataFrame(pairs).to_csv(wide_csv.with_name("responses.csv"), index=False)
    result = run("fit-many", MANY, wide_csv, "--responses", wide_csv.with_name("responses.csv"))
    assert result.exit_code == 0, result.output
    assert "matched by position" in result.output
    assert "... and 4 more rows" in result.output


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".tsv"])
def test_fit_many_takes_responses_of_a_file(wide_csv, tmp_path, ending):
    """Rows in another order are found by their label."""
    table, out = pd.read_csv(wide_csv), tmp_path / "out.csv"
    file = tmp_path / f"responses{ending}"
    shuffled = table[["row", "microbe1"]].sample(frac=1.0, random_state=1)
    if ending == ".parquet":
        shuffled.to_parquet(file, index=False)
    else:
        shuffled.to_csv(file, index=False, sep="," if ending == ".csv" else "\t")
    result = run("fit-many", MANY, wide_csv, "--responses", file, "--id", "row", "--out", out)
    assert result.exit_code == 0, result.output
    assert "matched by row" in result.output
    expected = many_of(wide_csv, responses="microbe1").tidy()["estimate"].to_numpy()
    assert pd.read_csv(out)["estimate"].to_numpy() == pytest.approx(expected, rel=1e-9)


def test_fit_many_exit_codes(wide_csv, tmp_path):
    assert run("fit-many", MANY, wide_csv).exit_code == 2
    assert run("fit-many", "~ Dais + (1 | Subject)", wide_csv, "--responses", "microbe1").exit_code == 2
    assert run("fit-many", MANY, wide_csv, "--responses", "microb1").exit_code == 3
    assert run("fit-many", MANY, wide_csv, "--responses", tmp_path / "none.csv").exit_code == 3
    assert run("fit-many", MANY, wide_csv, "--responses", "a.csv", "--responses", "microbe1").exit_code == 2
    assert run("fit-many", MANY, tmp_path / "none.csv", "--responses", "microbe1").exit_code == 3
    assert run("fit-many", MANY, wide_csv, "--responses", "microbe1", "--out", tmp_path / "a.json").exit_code == 2
    assert run("fit-many", MANY, wide_csv, "--responses", "microbe1", "--solver", "quick").exit_code == 2


def test_columns_between_commas_are_responses_one_by_one(wide_csv):
    result = run("fit-many", MANY, wide_csv, "--responses", "microbe1, microbe2")
    assert (result.exit_code, "write --responses microbe1 --responses microbe2." in result.output) == (2, True)
    assert "no column of the data" in run("fit-many", MANY, wide_csv, "--responses", "microbe1,none").output


def test_interrupted(wide_csv, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(lmm, "fit_many", interrupt)
    assert run("fit-many", MANY, wide_csv, "--responses", "microbe1").exit_code == 4
