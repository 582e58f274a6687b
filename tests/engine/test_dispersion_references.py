"""Models of dispersion against nlme (varIdent, varExp, varPower) and glmmTMB; tolerances as in ``test_references``.

Their log-likelihoods, fixed effects and fitted values are compared there, with those of all references.
"""

import numpy as np
import pytest

from references import fitted, records

VARIANCE, COEFFICIENT, CORRELATION, MODE_IN_SD = 1e-4, 1e-4, 1e-4, 1e-3

NLME = {
    "bodyweight_varPower_time_ml": ("log(Time)", lambda given: given),
    "orthodont_int_varIdent_ml": ("Sex[T.Female]", lambda given: np.log(given[1])),
    "orthodont_int_varIdent_reml": ("Sex[T.Female]", lambda given: np.log(given[1])),
    "orthodont_varIdent_reml": ("Sex[T.Female]", lambda given: np.log(given[1])),
    "orthodont_varExp_reml": ("age", lambda given: given),
    "orthodont_int_corAR1_varIdent_reml": ("Sex[T.Female]", lambda given: np.log(given[1])),
}
"""The column of each model, and its coefficient from nlme's parameters: ratios of standard deviations, or a power."""


@pytest.mark.parametrize("name", NLME)
def test_parameters_are_those_of_nlme(name):
    record, fit, (column, coefficient) = records()[name], fitted(name), NLME[name]
    table = fit.variance()
    given = record["variance_function"]["parameters"]
    (expected,) = np.ravel(coefficient(np.array(given)))
    row = table.loc[f"Residual: log sd({column})"]
    assert row["estimate"] == pytest.approx(expected, abs=COEFFICIENT * row["std_error"])
    assert fit.sigma == pytest.approx(record["sigma"], rel=VARIANCE)
    wanted = [part["sdcor"] for part in record["varcorr"] if part["group"] != "Residual"]
    assert table["estimate"].to_numpy()[: len(wanted)] == pytest.approx(wanted, rel=VARIANCE)
    sds = fit.residuals() / fit.residuals("pearson")
    head = record["variance_function"]["residual_sd_head"]
    if not name.startswith("bodyweight"):  # whose rows nlme sorts by group
        assert sds.to_numpy()[: len(head)] == pytest.approx(head, rel=VARIANCE)


@pytest.mark.parametrize("name", NLME)
def test_modes_are_those_of_nlme(name):
    record, fit = records()[name], fitted(name)
    for group, expected in record["ranef"].items():
        modes, sds = (
            part.set_axis(part.index.astype(str)).loc[expected["levels"]]
            for part in (fit.ranef(group), fit.ranef_sd(group))
        )
        assert (np.abs(modes.to_numpy() - np.array(expected["condmode"])) <= MODE_IN_SD * sds.to_numpy()).all()


def test_the_correlation_beside_a_dispersion_is_that_of_nlme():
    """Of neighbors, which are two years apart."""
    name = "orthodont_int_corAR1_varIdent_reml"
    (phi,) = records()[name]["correlation"]["parameters"]
    assert fitted(name).variance().loc["Residual: rho", "estimate"] ** 2 == pytest.approx(phi, rel=CORRELATION)


def test_parameters_are_those_of_glmmtmb():
    """Whose dispersion is log sigma², and whose model is nlme's varIdent."""
    record, fit = records()["tmb_disp_sex_reml"], fitted("tmb_disp_sex_reml")
    table, given = fit.variance()["estimate"], record["disp_fixef"]
    assert 2.0 * np.log(table["Residual: sd"]) == pytest.approx(given["(Intercept)"], rel=VARIANCE)
    assert 2.0 * table["Residual: log sd(Sex[T.Female])"] == pytest.approx(given["SexFemale"], rel=VARIANCE)
    assert table["Subject: sd(Intercept)"] == pytest.approx(record["varcorr"][0]["sdcor"], rel=VARIANCE)
