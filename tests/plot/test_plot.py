"""Pictures: what is drawn is what the tables say."""

import numpy as np
import pytest

import jaxlmm as lmm


@pytest.fixture(scope="module")
def many():
    """Forty responses, the first eight with an effect; one constant."""
    rng = np.random.default_rng(5)
    sleep = lmm.datasets.sleepstudy()[["Days", "Subject"]]
    values = rng.normal(size=(180, 40)) + rng.normal(size=(18, 40))[np.repeat(np.arange(18), 10)]
    values[:, :8] += np.outer(sleep["Days"], np.linspace(-1.0, 1.0, 8))
    values[:, 39] = 1.0
    return lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=values)


def test_volcano_draws_every_response_once(many):
    ax = lmm.plot.volcano(many, "Days")
    table = many.tidy().query("term == 'Days' and status != 'failed'")
    rest, marked = (line.get_xydata() for line in ax.get_lines()[:2])
    found = table["q_value"] < 0.05
    assert 8 <= found.sum() < 39
    assert marked[:, 0] == pytest.approx(table["estimate"][found])
    assert marked[:, 1] == pytest.approx(-np.log10(np.maximum(table["p_value"][found], np.finfo(float).tiny)))
    assert rest[:, 0] == pytest.approx(table["estimate"][~found])
    assert np.isfinite(marked).all()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("estimate of Days", "-log10 p")
    assert ax.get_legend().get_texts()[1].get_text() == f"q < 0.05: {found.sum()}"


def test_volcano_takes_axes_and_names_a_wrong_term(many):
    ax = lmm.plot.volcano(many, "Intercept")
    assert lmm.plot.volcano(many, "Days", ax=ax) is ax
    with pytest.raises(lmm.OptionError, match="did you mean Days"):
        lmm.plot.volcano(many, "Dais")
