"""Settings of every test: strict JAX, and a timeout that prints all stacks; fixtures of several rooms."""

import faulthandler

import jax
import pytest

import models

TIMEOUT = 300
"""Seconds after which a test is taken to hang: all threads' stacks are printed and the run ends."""

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True)
def _timeout():
    faulthandler.dump_traceback_later(TIMEOUT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory():
    """Compiled programs of one file are let go before the next: a run holds hundreds of them otherwise."""
    yield
    jax.clear_caches()


@pytest.fixture
def double_precision():
    """JAX in double precision, for a test that calls traced functions itself."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def frame():
    """The data of the registry of models."""
    return models.data()
