"""Digests by which another process recognizes values and code, and none where it could not."""

import math
import os
import subprocess
import sys
import types

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlmm._util.programs.digest import Unstable, digest

opaque_object = object()

OWN = """
import functools
import jax
import jax.numpy as jnp
import numpy as np
import jaxlmm as lmm
from typing import NamedTuple

POWER = 2
SETTINGS = {"scale": 1.0, "names": ["a", "b"], "kinds": {"x", "y"}}

def helper(value):
    return value ** POWER

@jax.jit
def jitted(value):
    return helper(value)

def outer(factor):
    def inner(theta, coords):
        return factor * jitted(theta[0]) * jnp.eye(coords.shape[0]) * SETTINGS["scale"]
    return inner

function = functools.partial(outer(3.0))

class Own(lmm.covariance.AbstractCovariance):
    def n_params(self, q):
        return 1

    def cholesky(self, theta, coords):
        return self.sized(theta[0]) * jnp.eye(coords.shape[0])

    @staticmethod
    def sized(value):
        return value

    @property
    def weight(self):
        return np.ones(2)
"""

EDITS = [
    ("POWER = 2", "POWER = 3"),
    ("value ** POWER", "value * POWER"),
    ("outer(3.0)", "outer(4.0)"),
    ('"scale": 1.0', '"scale": 2.0'),
    ("return 1", "return 2"),
    ("        return value", "        return -value"),
    ("np.ones(2)", "np.zeros(2)"),
]


def digest_of(source):
    """Return the digest of what a user's module defines."""
    own = types.ModuleType("own")
    sys.modules["own"] = own
    try:
        exec(compile(source, "own.py", "exec"), vars(own))
        return digest(own.Own(), own.function, own.Own)
    finally:
        del sys.modules["own"]


def test_code_of_users_is_in_the_key():
    plain = digest_of(OWN)
    assert digest_of(OWN) == plain
    assert digest_of("# a comment\n" + OWN) == plain
    edited = [digest_of(OWN.replace(*edit)) for edit in EDITS]
    assert len({plain, *edited}) == len(EDITS) + 1


def test_a_module_imported_within_a_function_is_not_recognized():
    def known():
        import math

        return math.pi

    def unknown():
        import models  # a module of users, whose code may change

        return models.data()

    assert digest(known)
    with pytest.raises(Unstable):
        digest(unknown)


def test_constants_of_jax_are_those_of_numpy():
    assert digest(jnp.arange(3.0)) == digest(np.asarray(jnp.arange(3.0))) != digest(jnp.arange(4.0))


def test_another_process_finds_the_same_key(tmp_path):
    """Whatever the order of its sets and the addresses of its objects."""
    (tmp_path / "own.py").write_text(OWN)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import own, optax\n"
        "from jaxlmm._util.programs.digest import digest\n"
        "print(digest(own.Own(), own.function, own.Own), digest(optax.adam(0.1)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found.pop().split()[1] == digest(optax.adam(0.1)) != digest(optax.adam(0.2))


@pytest.mark.parametrize("value", [object(), np.array([object()]), lambda: math.nan is opaque_object])
def test_values_of_unknown_kinds_have_no_digest(value):
    with pytest.raises(Unstable):
        digest(value)
