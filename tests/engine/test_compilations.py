"""A second data set of the same model class compiles nothing."""

import importlib

import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm._util import Program
from jaxlmm._util.programs import forget, made_ready
from jaxlmm.engine import compiled

of_programs = importlib.import_module("jaxlmm._util.programs.program")


def programs(function):
    """How many programs were made ready while ``function`` ran (compiled, or read from disk)."""
    before = made_ready()
    function()
    return made_ready() - before


def data(levels, rows, seed, unbalanced):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, rows + 1, levels) if unbalanced else np.full(levels, rows)
    g = np.repeat(np.arange(levels), sizes)
    frame = pd.DataFrame({"g": g, "x": np.concatenate([np.arange(size) for size in sizes]).astype(float)})
    effects = rng.normal(size=(levels, 2))
    frame["y"] = effects[g, 0] + (1.0 + 0.5 * effects[g, 1]) * frame["x"] + rng.normal(size=g.size)
    return frame


@pytest.mark.parametrize(("formula", "solver"), [("y ~ x + (x | g)", "moments"), ("y ~ x + (1 | g)", "dense")])
def test_other_rows_levels_criteria_and_covariates_compile_nothing(formula, solver):
    forget()  # so that the first fit below makes its programs anew
    first, second = data(18, 10, 1, False), data(23, 8, 2, solver == "moments")
    assert programs(lambda: lmm.fit(formula, first, solver=solver).summary()) > 0
    assert programs(lambda: lmm.fit(formula, second, solver=solver).summary()) == 0
    assert programs(lambda: lmm.fit(formula, second.iloc[3:], solver=solver).summary()) == 0
    assert programs(lambda: lmm.fit(formula, first, solver=solver, method="ML")) == 0
    assert programs(lambda: lmm.fit(formula.replace("x +", "1 +"), first, solver=solver)) == 0
    assert programs(lambda: lmm.fit(formula.replace("x +", "x + I(x**2) +"), first, solver=solver)) > 0
    assert programs(lambda: lmm.fit(formula.replace("x +", "x + I(x**2) + I(x**3) +"), first, solver=solver)) == 0


def test_few_programs_per_model():
    forget()
    assert programs(lambda: lmm.fit("y ~ x + (x | g)", data(18, 10, 1, False))) <= 4


@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_another_number_of_responses_compiles_nothing(missing):
    """Not where each response has rows of its own either: 300 patterns, which three programs serve, and 400 others."""
    frame, rng = data(30, 5, 1, False), np.random.default_rng(0)
    y = frame[["y"]].to_numpy() + rng.normal(size=(len(frame), 700))
    y[rng.random(y.shape) < missing] = np.nan
    forget()

    def fitted(columns):
        return lmm.fit_many("~ x + (1 | g)", frame, responses=y[:, columns], progress=False).tidy()

    assert 0 < programs(lambda: fitted(slice(0, 300))) <= (3 if missing else 4)
    assert programs(lambda: fitted(slice(300, None))) == 0


def made(function):
    """The names of the programs that were made ready while ``function`` ran."""
    names, ready = [], Program._ready

    def noted(program, signature, leaves):
        names.append(program.__name__)
        return ready(program, signature, leaves)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "_ready", noted)
        forget()
        function()
    return names


def crossed(rows):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": rng.permutation(np.resize(np.arange(20), rows)), "h": rng.permutation(rows) % 8})
    return frame.assign(x=rng.normal(size=rows), y=rng.normal(size=rows) + rng.normal(size=20)[frame["g"]])


@pytest.mark.parametrize("terms", ["(x | g)", "(1 | g) + (1 | h)"])
def test_more_rows_compile_what_reads_rows(terms):
    names = made(lambda: [lmm.fit(f"y ~ x + {terms}", crossed(rows)) for rows in (200, 1500)])
    assert names.count("run") == 1
    assert names.count("prepare") == names.count("examine_one") == 2


def test_other_rows_of_many_responses_compile_what_reads_rows():
    rng = np.random.default_rng(1)
    names = made(
        lambda: [
            lmm.fit_many("~ x + (x | g)", crossed(rows), responses=rng.normal(size=(rows, 70)), progress=False)
            for rows in (200, 230)
        ]
    )
    assert names.count("run") == names.count("examine_all") == 1
    assert names.count("prepare_responses") == 2


class SearchFoundError(Exception):
    """Raised in the place of compiling a search."""


@pytest.mark.parametrize(("terms", "is_optimized"), [("(x | g)", False), ("(x | g) + (1 | h)", True)])
def test_a_search_of_many_parameters_is_optimized(terms, is_optimized, monkeypatch):
    ready, options = Program._ready, {}

    def noted(program, signature, leaves):
        if program.__name__ == "run":
            options.update(signature.options)
            raise SearchFoundError
        return ready(program, signature, leaves)

    monkeypatch.setattr(Program, "_ready", noted)
    monkeypatch.setattr(compiled, "MAX_PARAMETERS_COMPILED_ONCE", 3)  # as it is outside of tests, and the next line
    monkeypatch.delitem(of_programs.CPU_OPTIONS, "xla_backend_optimization_level")
    forget()
    with pytest.raises(SearchFoundError):
        lmm.fit(f"y ~ x + {terms}", crossed(200))
    assert options
    assert ("xla_backend_optimization_level" not in options) == is_optimized
