"""Likelihood-ratio tests between residual structures: which is a special case of which, and by what distribution."""

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.covariance import (
    AR1,
    ARMA,
    AnteDependence,
    ByLevel,
    CompoundSymmetry,
    Diagonal,
    Exponential,
    Gaussian,
    Matern,
    Toeplitz,
    Unstructured,
)
from jaxlmm.formula import build_frame
from jaxlmm.formula.syntax import ModelOptions, parse
from jaxlmm.results.hypotheses.compare import Parts, null_distribution
from jaxlmm.results.hypotheses.nesting import is_special_case


@pytest.mark.parametrize(
    ("smaller", "larger", "expected"),
    [
        (None, Diagonal(hom=True), True),
        (None, AR1(), True),
        (CompoundSymmetry(hom=True), CompoundSymmetry(), True),
        (CompoundSymmetry(), CompoundSymmetry(hom=True), False),
        (CompoundSymmetry(), Toeplitz(), True),
        (AR1(), AnteDependence(hom=True), True),
        (AR1(hom=False), Toeplitz(hom=True), False),
        (AR1(), ARMA(p=1, q=1), True),
        (AR1(), ARMA(p=0, q=1), False),
        (Toeplitz(), Unstructured(), True),
        (Unstructured(), Toeplitz(), False),
        (Exponential(), Exponential(nugget=True), True),
        (Exponential(nugget=True), Matern(), False),
        (Exponential(), Matern(), True),
        (Gaussian(), Matern(), False),
        (AR1(), ByLevel(Toeplitz(), ("a", "b")), True),
        (ByLevel(AR1(), ("a", "b")), Unstructured(), False),
        (ByLevel(AR1(), ("a", "b")), ByLevel(Unstructured(), ("a", "b")), True),
    ],
)
def test_special_cases(smaller, larger, expected):
    assert is_special_case(smaller, larger) == expected


def test_models_of_a_table():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"id": np.repeat(np.arange(30), 3), "visit": pd.Categorical(list("abc") * 30)})
    data["y"] = rng.normal(size=30).repeat(3) + rng.normal(size=90)
    tags = (None, "cs(visit | id, hom=True)", "toep(visit | id)", "us(visit | id)")
    fits = [lmm.fit("y ~ visit", data, residual=tag) for tag in tags]
    table = lmm.compare(*fits)
    assert list(table["model"]) == ["y ~ visit", *(f"y ~ visit, residual: {tag}" for tag in tags[1:])]
    assert list(table["null_distribution"][1:]) == ["chi2(1)", "chi2(3)", "chi2(1)"]
    assert (table["statistic"][1:] >= 0).all()
    other = lmm.fit("y ~ visit", data, residual="ar1(visit | id)")
    assert lmm.compare(other, fits[1])["null_distribution"].iloc[1] == "not nested"


def test_parameters_of_one_name_do_not_nest_two_kernels():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"id": np.repeat(np.arange(20), 4), "t": np.tile(np.arange(4.0), 20), "y": rng.normal(size=80)})

    def parts(residual):
        frame = build_frame(parse("y ~ 1"), data, ModelOptions(residual=residual))
        n_params = len(frame.labels.natural)
        return Parts.from_frame(frame, np.full(n_params, np.nan), n_params)

    plain, other, general = (parts(f"{tag} | id{more})") for tag, more in (
        ("exp(t", ""), ("gau(t", ", nugget=True"), ("exp(t", ", nugget=True")
    ))  # fmt: skip
    assert {p.name for p in plain.natural} < {p.name for p in other.natural}
    assert null_distribution(plain, other).name == "not nested"
    assert null_distribution(plain, general).name == "chi2(1)"
