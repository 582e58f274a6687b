"""Responses spread over several devices give the numbers of one device; an accelerator takes more at once."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from jaxlmm._util import devices
from jaxlmm.engine import problems
from jaxlmm.engine.many import batch
from jaxlmm.likelihood import likelihood_of
from jaxlmm.solvers import Moments

import models

PROGRAM = """
import sys
import jax, numpy as np, pandas as pd
import jaxlmm as lmm
from jaxlmm.engine import descent

seen = []
run = descent.run
def watched(*arguments, **options):
    found = run(*arguments, **options)
    seen.append(len(found.minimum.x.sharding.device_set))
    return found
descent.run = watched

rng = np.random.default_rng(0)
frame = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "x": np.tile(np.arange(6.0), 20)})
y = rng.normal(size=(120, 150)) + (rng.normal(size=(20, 150)) * rng.uniform(0, 2, 150))[frame["g"]]
y[3:7, 10] = np.nan
found = lmm.fit_many("~ x + (1 | g)", frame, responses=y)
table = found.tidy()[["estimate", "std_error", "df"]].to_numpy(float)
np.savez(sys.argv[1], table=table, deviance=found.glance()["deviance"], fitted=found.fitted(), devices=max(seen))
"""


@pytest.mark.parametrize("flag", ["--xla_force_host_platform_device_count=4"])
def test_several_devices_equal_one(flag, tmp_path):
    results = []
    for name, flags in (("one", ""), ("four", flag)):
        file = tmp_path / f"{name}.npz"
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(file)], env={**os.environ, "XLA_FLAGS": flags}, check=True, timeout=240
        )
        results.append(np.load(file))
    one, four = results
    assert (int(one["devices"]), int(four["devices"])) == (1, 4)
    for name in ("table", "deviance", "fitted"):
        assert four[name] == pytest.approx(one[name], rel=1e-10, abs=1e-10, nan_ok=True)


NAMED = """
import json
import jax, numpy as np, pandas as pd
import jaxlmm as lmm
from jaxlmm._util.programs import executable

used = set()
call = executable.Executable.__call__
def watched(code, leaves):
    results = call(code, leaves)
    used.update(str(device) for leaf in jax.tree.leaves(results) for device in leaf.devices())
    return results
executable.Executable.__call__ = watched

rng = np.random.default_rng(0)
frame = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "y": rng.normal(size=120)})
with jax.default_device(jax.devices()[2]):
    lmm.fit("y ~ (1 | g)", frame)
    many = lmm.fit_many("~ (1 | g)", frame, responses=rng.normal(size=(120, 70)))
print(json.dumps([sorted(used), len(many.glance())]))
"""


def test_the_device_that_is_named_computes():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = subprocess.run(
        [sys.executable, "-c", NAMED],
        env={**os.environ, **flags},
        check=True,
        timeout=240,
        capture_output=True,
        text=True,
    )
    used, count = json.loads(done.stdout.splitlines()[-1])
    assert used == ["cpu:2"]
    assert count == 70


def test_an_accelerator_takes_more_at_once(monkeypatch):
    """Batches of 8,192, and a sixteenth of its memory; a CPU takes what fits into its caches."""
    narrow, likelihood = (
        likelihood_of(design, Moments.build(design), "REML")
        for design in (models.design(name, models.data()) for name in ("intercept", "slope"))
    )
    cpu = batch._Sizes.of(likelihood)
    assert cpu.evaluated == problems.SMALL_BATCH  # one 2 x 2 factor a level
    assert batch._Sizes.of(narrow).evaluated == problems.LARGE_BATCH  # one number a level
    some = types.SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 2**34})
    for module in (batch, problems, devices):
        monkeypatch.setattr(module, "default_device", lambda: some)
    sizes = batch._Sizes.of(likelihood)
    assert (sizes.prepared, sizes.evaluated) == (8192, 8192)
    assert sizes.in_memory == cpu.in_memory  # on the host
    assert batch.bytes_at_once() == 2**30
    some.memory_stats = lambda: None  # a device that does not say
    assert batch.bytes_at_once() == batch.BYTES_AT_ONCE
