"""Settings of every test: strict JAX, programs in a folder of the run, a timeout that prints all stacks; fixtures."""

import ctypes
import faulthandler
import gc
import importlib
import os
import shutil
import sys
import tempfile

import jax
import pytest

from jaxlmm.engine import compiled

import models

TIMEOUT = 600
"""Seconds after which a test is taken to hang: all threads' stacks are printed and the run ends."""

LIBC = ctypes.CDLL("libc.so.6") if sys.platform == "linux" else None
"""The C library, where it can be told to give free memory back."""

PROGRAMS = "JAXLMM_CACHE_DIR"
"""Where programs are kept: all test processes share a folder that is removed at the end, unless one is given."""

programs = importlib.import_module("jaxlmm._util.programs.program")

# Compiling takes most of the time of tests, and few run a function twice: none is optimized, in no process.
OPTIONS = {name: value for name, value in programs.ONCE_OPTIONS.items() if name != "xla_disable_hlo_passes"}
FLAGS = [f"--{name}={str(value).lower()}" for name, value in OPTIONS.items()]
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
jax.config.update("jax_disable_most_optimizations", True)
compiled.MAX_PARAMETERS_COMPILED_ONCE = 100
programs.CPU_OPTIONS.update(OPTIONS)

# Traces make objects by the million, few of them garbage: looking for it less often saves a twentieth of the time.
gc.set_threshold(50_000, 20, 50)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_configure(config):
    if PROGRAMS not in os.environ:  # the processes of pytest-xdist inherit it
        os.environ[PROGRAMS] = config.folder_of_programs = tempfile.mkdtemp(prefix="jaxlmm-programs-")


def pytest_unconfigure(config):
    shutil.rmtree(getattr(config, "folder_of_programs", ""), ignore_errors=True)


@pytest.fixture(autouse=True)
def _timeout():
    faulthandler.dump_traceback_later(TIMEOUT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory():
    """What was compiled and traced for one file is let go before the next, which reads it from disk."""
    from jaxlmm._util.programs import forget

    yield
    forget()
    jax.clear_caches()
    gc.collect()
    gc.freeze()  # what is left stays: the next collection looks at what is new alone
    if LIBC is not None:
        LIBC.malloc_trim(0)  # else free memory stays with the process, gigabytes of it


@pytest.fixture
def monkeypatch(monkeypatch):
    """Keep no programs on disk beside changed code: their keys do not tell a package that a test has changed."""
    from jaxlmm._util.programs import forget, made_ready

    before, replace = made_ready(), monkeypatch.setattr

    def setattr_without_programs(target, *args, **options):
        home = getattr(target, "__module__", None) or getattr(target, "__name__", "")
        if not home.startswith("jaxlmm._util.programs"):  # which keeps them, and is in none of them
            monkeypatch.setenv(PROGRAMS, "")
        replace(target, *args, **options)

    monkeypatch.setattr = setattr_without_programs
    yield monkeypatch
    if made_ready() != before:
        forget()


@pytest.fixture
def double_precision():
    """JAX in double precision, for a test that calls traced functions itself."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def frame():
    """The data of the registry of models."""
    return models.data()
