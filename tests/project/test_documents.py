"""The printed numbers of the documents that the package grew from (the twin study, the five people); CITATION.cff, the
oldest versions and the table of reasons say what the package says.
"""

import re
import tomllib
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.inference import REASONS, Reason

from references import records

TWINS = (
    "y ~ 1 + Age.at.metagenomics.sample + IndividualBMI"
    ' + (0 + dummy(twinstatus, "MZ") | IndividualFamilyID) + (0 + dummy(twinstatus, "DZ") | IndividualFamilyID)'
)
FIVE = "height ~ {} + (1 | family)"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def twins():
    return lmm.fit(TWINS, lmm.datasets.twins())


@pytest.fixture(scope="module")
def full():
    return lmm.fit(FIVE.format("variant1 + variant2 + variant3"), lmm.datasets.variants5())


def test_twin_study(twins):
    assert f"{twins.deviance:.1f}" == "847.8"
    variance = twins.variance("variance")["estimate"]
    assert [f"{value:.4f}" for value in variance] == ["2.0493", "0.8777", "0.8889"]
    table = twins.coef()
    assert [f"{value:.5f}" for value in table["estimate"]] == ["0.11482", "0.99824", "1.04561"]
    assert [f"{value:.5f}" for value in table["std_error"]] == ["0.55299", "0.01789", "0.07044"]
    covariance = twins.vcov().to_numpy()
    correlation = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert [f"{correlation[i, j]:.3f}" for i, j in ((1, 0), (2, 0), (2, 1))] == ["-0.980", "-0.004", "-0.001"]


def test_twin_study_family_effects(twins):
    """One frame of 125 families, zero where a term does not apply."""
    effects = twins.ranef("IndividualFamilyID")
    assert effects.shape == (125, 2)
    printed = records()["seed1_twin"]["printed_in_seed"]
    mz, dz = effects.iloc[:6, 0], effects.iloc[-6:, 1]
    assert mz.to_numpy() == pytest.approx([float(text) for text in printed["ranef_MZ_1to6"]], abs=5e-6)
    assert dz.to_numpy() == pytest.approx([float(text) for text in printed["ranef_DZ_120to125"]], abs=5e-6)
    assert (effects.iloc[:35, 1] == 0.0).all()
    assert (effects.iloc[35:, 0] == 0.0).all()
    scaled = np.quantile(twins.residuals("pearson"), [0, 0.25, 0.5, 0.75, 1])
    assert scaled == pytest.approx([float(text) for text in printed["scaled_resid"]], abs=1e-5)


@pytest.mark.parametrize(
    ("variant", "effect", "family", "residual", "pve", "share", "status"),
    [
        ("variant1", -0.5000913, 0.0, 0.9998782, (20.00779, 0.0, 79.9922), 0.0, "boundary"),
        ("variant2", 0.8525024, 0.0, 0.3643196, (66.60926, 0.0, 33.39074), 0.0, "boundary"),
        ("variant3", 1.04884, 0.04201681, 0.007307271, (95.70867, 3.655575, 0.6357522), 0.8518519, "interior"),
    ],
)
def test_five_people(variant, effect, family, residual, pve, share, status):
    fit = lmm.fit(FIVE.format(variant), lmm.datasets.variants5())
    assert fit.fixef()[variant] == pytest.approx(effect, rel=2e-6)
    variance = fit.variance("variance")["estimate"].to_numpy()
    assert variance == pytest.approx([family, residual], rel=2e-6)
    assert 100.0 * fit.pve()["estimate"].to_numpy() == pytest.approx(pve, rel=2e-6)
    assert fit.pve()["estimate"].sum() == pytest.approx(1.0)
    assert fit.ratio("family")["estimate"] == pytest.approx(share, rel=1e-6)
    assert fit.status == status
    if status == "boundary":
        assert variance[0] == 0.0
        assert fit.certificate.multipliers["family: sd(Intercept)"] > 0.1
        assert np.isnan(fit.variance()["std_error"].iloc[0])
        assert fit.variance()["at_boundary"].tolist() == [True, False]


def test_multiplier_is_the_slope_of_the_deviance_in_the_variance():
    fit = lmm.fit(FIVE.format("variant1"), lmm.datasets.variants5())
    with jax.enable_x64(True):
        f = lmm.deviance(fit.design)
        at = [float(f(np.array([theta]), fit.frame.y)) for theta in (0.0, 1e-3)]
    slope = (at[1] - at[0]) / 1e-6
    assert fit.certificate.multipliers["family: sd(Intercept)"] == pytest.approx(slope, rel=1e-4)


def test_full_model_is_a_ridge(full):
    """One residual degree of freedom determines one equation for two variances."""
    assert full.status == "not_identified"
    ridge = full.certificate.ridge
    assert ridge["family: sd(Intercept)"] * ridge["Residual: sd"] < 0.0
    assert full.variance()["std_error"].isna().all()
    assert full.coef()["std_error"].isna().all()
    assert np.isnan(full.ratio("family")["std_error"])
    text = str(full.summary())
    assert "their ratio is not identified either" in text.replace("\n", " ")
    assert "not_identified" in text


def test_deviance_is_constant_along_the_ridge(full):
    with jax.enable_x64(True):
        f = lmm.deviance(full.design)
        for point in records()["seed2_full"]["flat_ridge"]:
            value = float(f(np.array([float(point["theta"])]), full.frame.y))
            assert value == pytest.approx(point["REMLcrit"], abs=1e-8)
            assert value == pytest.approx(full.deviance, abs=1e-8)


def test_full_model_lies_on_the_ridge(full):
    """At the reported theta, beta and sigma are those of generalized least squares, in plain NumPy."""
    family = lmm.datasets.variants5()["family"].to_numpy()
    inverse = np.linalg.inv(np.eye(5) + full.theta[0] ** 2 * (family[:, None] == family[None, :]))
    x, y = full.frame.x, full.frame.y
    beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    assert full.fixef().to_numpy() == pytest.approx(beta, abs=1e-9)
    rest = y - x @ beta
    assert full.sigma**2 == pytest.approx(rest @ inverse @ rest / (5 - 4), rel=1e-9)


def test_citation_is_of_this_version():
    """Its lines are `key: value`, or belong to the key above them: no reader of YAML is needed."""
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z-]+: ?.*|  .*", line) for line in lines)
    top = dict(line.split(":", 1) for line in lines if not line.startswith(" "))
    top = {key: value.strip() for key, value in top.items()}
    assert {"cff-version", "message", "title", "authors"} <= set(top)  # what the format requires
    assert top["cff-version"] == "1.2.0"
    assert top["version"] == lmm.__version__
    assert top["license"] == "Apache-2.0"


def test_oldest_versions_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(requirement.split(">=") for requirement in project["dependencies"])
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    held = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert set(held) == set(floors)
    for name, floor in floors.items():
        assert re.fullmatch(rf"{re.escape(floor)}(\.0)*", held[name]), name


def test_reasons_are_listed_and_explained_in_the_guide():
    """Types see that only members of `Reason` are given; each has its meaning, in code and guide alike."""
    assert set(REASONS) == set(get_args(Reason))
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "many.md").read_text(), re.MULTILINE)
    assert rows == list(REASONS.items())
