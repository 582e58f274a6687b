"""Constant responses of families: those of which the likelihood has no bound are refused, others are fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.families import family_of

RNG = np.random.default_rng(3)
DATA = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "x": RNG.normal(size=120)})


class Plain(lmm.families.AbstractFamily):
    """Poisson's distribution by its log-density alone."""

    def log_density(self, y, eta, dispersion):
        return y * eta - jnp.exp(eta) - jax.lax.lgamma(y + 1.0)


BOUNDLESS = ["gamma", "inverse_gaussian", "tweedie", "beta", "student_t", lmm.families.Gaussian(link="log")]


@pytest.fixture
def reached(monkeypatch):
    """What is computed is an error of its own."""

    class ReachedError(Exception):
        pass

    def solve(*args, **options):
        raise ReachedError

    monkeypatch.setattr("jaxlmm.api.call.solve_single", solve)
    return ReachedError


@pytest.mark.parametrize("family", BOUNDLESS, ids=str)
def test_a_constant_response_of_a_density_without_bound_is_told_before_any_computing(reached, family):
    data, first = DATA.assign(c=0.5), family_of(family).parameters[0].name
    with pytest.raises(lmm.DataError, match=f"vary, got 0.5 in all 120 rows.*without bound in the parameter '{first}'"):
        lmm.fit("c ~ x + (1 | g)", data, family=family)
    with pytest.raises(reached):
        lmm.fit("c ~ x + (1 | g)", data, family=family, fixed={first: 1.0})


def test_other_constant_responses_are_fitted(reached):
    data = DATA.assign(c=1.0, zero=0.0)
    others = [
        ("c ~ x", {"family": "poisson"}),
        ("c ~ x", {"family": "nbinom2"}),
        ("c ~ x", {"family": "binomial", "trials": np.full(120, 3)}),
        ("c ~ 0 + x", {"family": "gamma"}),  # which cannot fit it exactly
        ("c ~ 1 + offset(x)", {"family": "gamma"}),
        ("I(c + (x > 0)) ~ x", {"family": "gamma"}),
        ("I(c * (x > 0)) ~ x", {"family": "gamma", "zero_inflated": "~ 1"}),
        ("c ~ x", {"family": Plain()}),
    ]
    for formula, options in others:
        with pytest.raises(reached):
            lmm.fit(formula, data, **options)
    with pytest.raises(lmm.DataError, match="in all 120 rows"):
        lmm.fit("c ~ x", data, family="gamma", zero_inflated="~ 1")


def test_constant_responses_have_no_fit_where_their_likelihood_has_no_bound():
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 3), "one": 1.0})
    data["some"] = data["one"].where(data["g"] > 2)
    data["infinite"] = data["one"].where(data["g"] > 2, np.inf)
    data["negative"] = -1.0
    many = lmm.fit_many("~ 1 + (1 | g)", data, responses=["one", "some", "infinite", "negative"], family="gamma")
    assert many.status.tolist() == ["failed"] * 4
    assert many.failed()["reason"].tolist() == ["constant", "constant", "infinite", "not_of_family"]
