"""The solver that is chosen for each registered model, with its reason, and what solvers say that they cannot do."""

import importlib

import pytest

import jaxlmm as lmm
from jaxlmm.solvers import SOLVERS, Choice, select

import models

DATA = models.data()
ALL_ROWS = "a known matrix across levels; largest cluster 51 rows"
ONE, NO_EFFECTS = "one grouping factor, independent residuals", "no random effects"
KNOWN = {"kinship": {"g": models.kinship(DATA)}}
TWO_KNOWN = {"kinship": {"g": [models.kinship(DATA), models.low_rank(DATA)]}}
CONNECTED = "{} grouping factors; {} connected effects once the largest is eliminated"
SPECTRAL = "one known matrix{}, independent residuals; decomposed once, {} levels together at most"
EXPECTED = {
    **dict.fromkeys(
        ("intercept", "slope", "uncorrelated", "diag", "factor", "two dummies", "weights, offset", "user's structure",
         "no intercept"),
        ("moments", ONE),
    ),
    "crossed": ("blocked", CONNECTED.format(2, 4)),
    "nested": ("blocked", CONNECTED.format(2, 1)),
    "three crossed": ("blocked", CONNECTED.format(3, 7)),
    "crossed and nested": ("blocked", CONNECTED.format(3, 17)),
    "slopes on both": ("blocked", CONNECTED.format(2, 8)),
    "slopes on both, weights": ("blocked", CONNECTED.format(2, 4)),
    "ou": ("dense", "a term over positions; largest cluster 6 rows"),
    "ou beside slopes, weights": ("dense", "a term over positions; largest cluster 6 rows"),
    "ou residual": ("dense", "a residual structure; largest cluster 6 rows"),
    "ou residual, weights": ("dense", "a residual structure; largest cluster 6 rows"),
    "kinship intercept": ("spectral", SPECTRAL.format(" in 5 clusters", 3)),
    "kinship slope, weights": ("spectral", SPECTRAL.format("", 14)),
    "kinship": ("dense", "a known matrix across levels; largest cluster 13 rows"),
}  # fmt: skip
OTHERS = {
    "linear": ("y ~ x", {}, ("moments", NO_EFFECTS)),
    "linear, residual": ("y ~ x", {"residual": "ou(t | g)"}, ("dense", "a residual structure; largest cluster 6 rows")),
    "a matrix beside a factor": ("y ~ x + (1 | g) + (1 | h)", KNOWN, ("dense", ALL_ROWS)),
    "two matrices": ("y ~ x + (1 | g)", TWO_KNOWN, ("dense", ALL_ROWS)),
}


def design_of(name):
    return models.design(name, DATA) if name in models.MODELS else lmm.design(OTHERS[name][0], DATA, **OTHERS[name][1])


@pytest.mark.parametrize("name", [*EXPECTED, *OTHERS])
def test_the_first_that_can_do_it_is_chosen(name):
    assert set(EXPECTED) == set(models.MODELS)
    design = design_of(name)
    expected, reason = EXPECTED[name] if name in EXPECTED else OTHERS[name][2]
    choice = select(design)
    assert (choice.name, choice.reason) == (expected, reason)
    assert choice == Choice(SOLVERS[expected], reason) == select(design, expected) == select(design, choice.solver)


@pytest.mark.parametrize("name", [*EXPECTED, *OTHERS])
def test_each_solver_does_what_it_says_that_it_can(name):
    """Names, and classes in their place; what cannot be done is an error that names those that can."""
    design = design_of(name)
    able = {solver for solver, one in SOLVERS.items() if not one.unsuitable(design)}
    assert able >= set(models.MODELS[name].solvers if name in models.MODELS else ["dense"])
    for solver, one in SOLVERS.items():
        if solver in able:
            assert select(design, one) == select(design, solver)
            continue
        with pytest.raises(lmm.OptionError, match=f"solver='{solver}' cannot do this model: ") as error:
            select(design, one)
        assert one.unsuitable(design) in str(error.value)
        assert str(error.value).endswith(" or 'dense'.")
        assert {other for other in SOLVERS if f"'{other}'" in str(error.value)} == {solver, *able}


def test_reasons_where_another_is_asked_for():
    assert select(design_of("slope"), "blocked").reason == ONE
    assert select(design_of("slope"), "dense").reason == "asked for; largest cluster 6 rows"
    assert select(design_of("linear"), "dense").reason == "asked for; largest cluster 1 rows"
    assert select(design_of("crossed"), "dense").reason == "2 grouping factors; largest cluster 51 rows"


@pytest.mark.parametrize(
    ("solver", "limit"), [("dense", "MAX_ROWS_OF_CLUSTER"), ("blocked", "MAX_EFFECTS_OF_COMPONENT")]
)
def test_a_model_that_is_too_large_is_refused_whoever_asks(solver, limit, monkeypatch):
    module = {"dense": "jaxlmm.solvers.dense.dense", "blocked": "jaxlmm.solvers.blocked.components"}[solver]
    monkeypatch.setattr(importlib.import_module(module), limit, 3)
    design = design_of({"dense": "ou", "blocked": "crossed"}[solver])
    for asked in ("auto", solver):
        with pytest.raises(lmm.OptionError, match=f"solver='{solver}' takes .*up to 3 "):
            select(design, asked)
