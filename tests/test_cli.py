"""The command line: the same results as the functions, and exit codes."""

import json

import pytest
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm.cli import app

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


def test_kinship_file(tmp_path, sleep_csv):
    import numpy as np
    import pandas as pd

    ids = [int(label) for label in lmm.datasets.sleepstudy()["Subject"].cat.categories]
    matrix = tmp_path / "K.csv"
    pd.DataFrame(np.eye(len(ids)), index=ids, columns=ids).to_csv(matrix)
    result = run("fit", "Reaction ~ Days + (1 | Subject)", sleep_csv, "--kinship", f"Subject={matrix}")
    assert result.exit_code == 0, result.output
    assert "1786.4651" in result.output
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
