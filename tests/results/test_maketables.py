"""Fits side by side in tables of the package maketables, which finds them by their members alone."""

import zipfile

import maketables
import pytest

import jaxlmm as lmm

SLEEP = lmm.datasets.sleepstudy()


@pytest.fixture(scope="module")
def fits():
    formulas = ("Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + I(Days**2) + (1 | Subject)")
    return [lmm.fit(formula, SLEEP) for formula in formulas]


def test_tables_hold_the_numbers_of_the_fits(fits, tmp_path):
    table = maketables.ETable(fits, model_stats=["N", "groups", "sigma", "ll", "aic", "r2_marginal", "r2_conditional"])
    text, page = table.make(type="tex"), str(table.make(type="html"))
    for fit in fits:
        for number in (*fit.fixef(), *fit.coef()["std_error"], fit.sigma, fit.loglik):
            assert f"{number:,.3f}" in text
            assert f"{number:,.3f}" in page
        assert all(f"{round(share, 3)}" in text for share in fit.r2()["estimate"])
    assert "Reaction" in text
    assert "Subject 18" in text
    table.save(type="docx", file_name=str(tmp_path / "table.docx"), replace=True)
    with zipfile.ZipFile(tmp_path / "table.docx") as document:
        words = document.read("word/document.xml").decode()
    assert f"{fits[0].fixef()['Days']:.3f}" in words


def test_what_a_loaded_fit_and_a_dropped_column_have(fits, tmp_path):
    fits[0].save(tmp_path / "fit.jaxlmm")
    loaded = lmm.load(tmp_path / "fit.jaxlmm")
    assert loaded.__maketables_stat__("aic") == fits[0].aic
    assert loaded.__maketables_stat__("F") is None
    twice = lmm.fit("Reaction ~ Days + I(2 * Days) + (1 | Subject)", SLEEP)
    assert list(twice.__maketables_coef_table__.index) == ["Intercept", "Days"]
    assert list(twice.__maketables_coef_table__.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"]
