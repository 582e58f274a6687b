"""Meta-analysis: a residual standard deviation that is known, against metafor."""

import json

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm

from references import HERE

METAFOR = 1e-6
"""metafor stops when its steps in the variance are below 1e-14, or cannot be told from rounding."""


META = json.loads((HERE / "meta_analysis.json").read_text())


@pytest.mark.parametrize("place", [0, 1], ids=["REML", "ML"])
@pytest.mark.parametrize("model", ["intercept", "ablat"])
def test_meta_analysis(model, place):
    """A residual standard deviation of 1 with weights: metafor, whose REML likelihood counts half log|XᵀX| besides."""
    expected, studies = META[model][place], pd.DataFrame(META["studies"])
    studies = studies.assign(study=np.arange(len(studies)).astype(str), w=1.0 / studies["vi"])
    formula = "yi ~ 1 + (1 | study)" if model == "intercept" else "yi ~ ablat + (1 | study)"
    found = lmm.fit(formula, studies, method=expected["method"], weights="w", fixed={"Residual: sd": 1.0})
    x = found.model_matrix().to_numpy()
    constant = 0.5 * np.linalg.slogdet(x.T @ x)[1] if expected["method"] == "REML" else 0.0
    assert found.loglik + constant == pytest.approx(expected["loglik"], abs=1e-8)
    assert found.fixef().to_numpy() == pytest.approx(np.atleast_1d(expected["fixef"]), rel=METAFOR)
    assert found.coef()["std_error"].to_numpy() == pytest.approx(np.atleast_1d(expected["se"]), rel=METAFOR)
    assert found.variance("variance")["estimate"].iloc[0] == pytest.approx(expected["tau2"], rel=METAFOR)
    assert (found.status, found.n_params) == ("interior", x.shape[1] + 1)


def test_levels_with_one_row_need_a_known_residual():
    studies = pd.DataFrame(META["studies"]).assign(study=[f"s{i}" for i in range(13)])
    with pytest.raises(lmm.DataError, match="fixed="):
        lmm.fit("yi ~ 1 + (1 | study)", studies)
