"""A second data set of the same model class compiles nothing."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm._util import compiled

LOWERED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: LOWERED.append(event) if "jaxpr_to_mlir_module" in event else None
)


def programs(function):
    """How many programs were made ready while ``function`` ran (whether or not a cache on disk held them)."""
    before = len(LOWERED)
    function()
    return len(LOWERED) - before


def data(levels, rows, seed, unbalanced):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, rows + 1, levels) if unbalanced else np.full(levels, rows)
    g = np.repeat(np.arange(levels), sizes)
    frame = pd.DataFrame({"g": g, "x": np.concatenate([np.arange(size) for size in sizes]).astype(float)})
    effects = rng.normal(size=(levels, 2))
    frame["y"] = effects[g, 0] + (1.0 + 0.5 * effects[g, 1]) * frame["x"] + rng.normal(size=g.size)
    return frame


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="memory maps are counted on Linux")
def test_compiled_functions_are_forgotten_before_memory_maps_run_out(monkeypatch):
    """LLVM aborts a process that has no map left."""
    frame = data(18, 10, 1, False)
    first = lmm.fit("y ~ x + (x | g)", frame)
    taken = compiled._maps()
    assert 100 < taken < compiled._most_maps()
    monkeypatch.setattr(compiled, "MAX_SHARE_OF_MEMORY_MAPS", 0.0)
    lmm.fit("y ~ (1 | g)", frame)  # what it compiles is forgotten, and all before
    assert compiled._maps() < taken
    monkeypatch.undo()
    assert lmm.fit("y ~ x + (x | g)", frame).deviance == first.deviance
    assert compiled._maps() > taken - 100


@pytest.mark.parametrize(("formula", "solver"), [("y ~ x + (x | g)", "moments"), ("y ~ x + (1 | g)", "dense")])
def test_other_rows_and_levels_compile_nothing(formula, solver):
    jax.clear_caches()  # so that the first fit below makes its programs anew
    first, second = data(18, 10, 1, False), data(23, 8, 2, solver == "moments")
    assert programs(lambda: lmm.fit(formula, first, solver=solver).summary()) > 0
    assert programs(lambda: lmm.fit(formula, second, solver=solver).summary()) == 0
    assert programs(lambda: lmm.fit(formula, second.iloc[3:], solver=solver).summary()) == 0
    assert programs(lambda: lmm.fit(formula, first, solver=solver, method="ML")) > 0


def test_few_programs_per_model():
    jax.clear_caches()
    assert programs(lambda: lmm.fit("y ~ x + (x | g)", data(18, 10, 1, False))) <= 4


@pytest.mark.parametrize("missing", [0.0, 0.05])
def test_another_number_of_responses_compiles_nothing(missing):
    """Not where each response has rows of its own either: 300 patterns, which three programs serve, and 400 others."""
    frame, rng = data(30, 5, 1, False), np.random.default_rng(0)
    y = frame[["y"]].to_numpy() + rng.normal(size=(len(frame), 700))
    y[rng.random(y.shape) < missing] = np.nan
    jax.clear_caches()

    def fitted(columns):
        return lmm.fit_many("~ x + (1 | g)", frame, responses=y[:, columns], progress=False).tidy()

    assert 0 < programs(lambda: fitted(slice(0, 300))) <= (3 if missing else 4)
    assert programs(lambda: fitted(slice(300, None))) == 0


def test_an_option_that_the_compiler_does_not_know_is_left_out_alone(monkeypatch):
    monkeypatch.setattr(compiled, "ONCE_OPTIONS", {**compiled.ONCE_OPTIONS, "xla_no_such_option": True})
    monkeypatch.setattr(compiled, "_unknown", set())
    doubled = compiled.program(once=True)(lambda x: 2.0 * x)
    assert np.asarray(doubled(np.ones(2))).tolist() == [2.0, 2.0]
    assert "xla_no_such_option" in compiled._unknown
    assert "xla_backend_optimization_level" not in compiled._unknown
