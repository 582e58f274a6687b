"""Compiled functions are lowered for CUDA on a machine without a GPU: no call in them is one that only CPUs know.

The functions are those of fits with each solver, of many responses, of the optimum as a function, and of a scan.
Their loops are counted.
"""

import re

import jax
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm._util import Program
from jaxlmm._util.programs.executable import of_leaves

import models

FRAME = models.data()

MOST_LOOPS, FEW_LOOPS = {"run": 15, "_estimate": 5}, 2
"""Loops in the searches, the most beside what is held, and in any other function: a GPU asks the host at each turn."""


def many():
    rng = np.random.default_rng(0)
    return lmm.fit_many("~ x + (1 + z | g)", FRAME, responses=rng.normal(size=(len(FRAME), 3)), progress=False)


def scan():
    matrix = models.kinship(FRAME)
    calls = np.random.default_rng(0).integers(0, 3, (len(matrix), 20)).astype(float)
    genotypes = pd.DataFrame(calls, index=matrix.index).rename(columns=str)
    return lmm.scan("y ~ x + (1 | g)", FRAME, genotypes=genotypes, kinship={"g": matrix}, progress=False)


def estimate():
    with jax.enable_x64(True):
        return lmm.estimate(models.design("slope", FRAME), FRAME["y"].to_numpy())


CALLS = {
    "moments": lambda: models.fit("slope", FRAME),
    "blocked": lambda: models.fit("crossed", FRAME),
    "spectral": lambda: models.fit("kinship intercept", FRAME),
    "dense": lambda: models.fit("ou", FRAME),
    "held": lambda: models.fit("slope", FRAME, fixed={"g: sd(z)": 0.5}),
    "many": many,
    "estimate": estimate,
    "scan": scan,
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_can_be_lowered_for_cuda(name, monkeypatch):
    found, ready = {}, Program._ready

    def recorded(program, signature, leaves):
        shapes = [jax.ShapeDtypeStruct(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
        found.setdefault(program.__name__, (program.function, signature, shapes))
        return ready(program, signature, leaves)

    monkeypatch.setattr(Program, "_ready", recorded)
    CALLS[name]()
    assert found
    for program, (function, signature, shapes) in found.items():
        with jax.enable_x64(True):
            flat = jax.jit(of_leaves(function, signature.tree, dict(signature.static)))
            text = flat.trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()
        calls = set(re.findall(r"custom_call @(\w+)", text))
        assert not calls, f"{program} calls {calls}"
        assert text.count("stablehlo.while") <= MOST_LOOPS.get(program, FEW_LOOPS), program
