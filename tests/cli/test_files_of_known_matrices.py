"""Known matrices at the command line: made by ``jaxlmm kinship``, read by ``jaxlmm fit``."""

import json

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from known_matrices import pairs, write_gcta
from shell import run

relationship = lmm.genetics.relationship


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
