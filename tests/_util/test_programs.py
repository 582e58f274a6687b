"""Compiled programs: read from disk by another process, never a wrong one, and let go before memory runs out."""

import os
import random
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxlmm as lmm
from jaxlmm._util import Struct, double_precision, static
from jaxlmm._util.programs import Store, forget, held, machine, made_ready, program, store
from jaxlmm._util.programs.digest import Unstable, digest
from jaxlmm.cli import app

opaque_object = object()

PROGRAM = sys.modules["jaxlmm._util.programs.program"]
STORE = sys.modules["jaxlmm._util.programs.store"]


SALT = 0.0
"""A constant of ``double`` that each test changes: JAX's own cache, where it is on, has no such function."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A store of its own, with no program in memory."""
    global SALT
    SALT, place = random.random(), tmp_path / "programs"
    monkeypatch.setenv("JAXLMM_CACHE_DIR", str(place))
    forget()
    return place


def written():
    """Wait until all is written."""
    STORE._writer().submit(lambda: None).result()


class Scaled(Struct):
    """A pytree with a value that is compiled in."""

    value: jax.Array
    power: int = static(default=2)

    def result(self):
        return self.value**self.power


@program()
def double(x):
    double.traced = getattr(double, "traced", 0) + 1
    return {"twice": x + x, "scaled": Scaled(x, 3), "salt": jnp.float32(SALT)}


def run(x):
    """Return twice ``x``, whether the function was traced, and how many programs were made ready."""
    before, ready = getattr(double, "traced", 0), made_ready()
    result = double(x)
    return np.asarray(result["twice"]).tolist(), getattr(double, "traced", 0) - before, made_ready() - ready


def test_a_program_in_memory_is_traced_once(folder):
    assert run(np.ones(2)) == ([2.0, 2.0], 1, 1)
    assert run(np.zeros(2)) == ([0.0, 0.0], 0, 0)
    assert run(np.zeros(3))[1:] == (1, 1)
    assert run(jnp.zeros(3, jnp.int32))[1:] == (1, 1)
    with double_precision():
        assert run(np.zeros(3))[1:] == (1, 1)


def test_a_program_on_disk_is_not_traced(folder):
    assert run(np.ones(2))[1] == 1
    written()
    assert len(list(folder.iterdir())) == 1
    forget()
    assert run(np.full(2, 3.0)) == ([6.0, 6.0], 0, 1)
    assert double(np.full(2, 3.0))["scaled"].result().tolist() == [27.0, 27.0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-10]),
        lambda file: file.write_bytes(b"x" * 1000),
        lambda file: (file.unlink(), file.mkdir()),
    ],
)
def test_a_damaged_file_is_made_again(folder, damage):
    run(np.ones(2))
    written()
    damage(next(folder.iterdir()))
    forget()
    assert run(np.ones(2)) == ([2.0, 2.0], 1, 1)


def test_a_file_whose_content_cannot_be_loaded_is_made_again(folder):
    run(np.ones(2))
    written()
    key = next(folder.iterdir()).stem
    store()._write(key, lambda: b"whole, but no program")
    forget()
    assert run(np.ones(2)) == ([2.0, 2.0], 1, 1)


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_to_is_not_used(folder, mode):
    run(np.ones(2))
    written()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(mode)
    forget()
    assert run(np.ones(2))[1] == 1
    written()
    assert len(list(folder.iterdir())) == 1


def test_a_folder_that_cannot_be_made_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXLMM_CACHE_DIR", str(tmp_path / "file" / "programs"))
    forget()
    assert run(np.ones(2)) == ([2.0, 2.0], 1, 1)
    written()
    assert store().contents().programs == 0


def test_a_full_disk_does_no_harm(folder, monkeypatch):
    def full(handle, mode):
        os.close(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(STORE.os, "fdopen", full)
    monkeypatch.setenv("JAXLMM_CACHE_DIR", str(folder))
    assert run(np.ones(2)) == ([2.0, 2.0], 1, 1)
    written()
    assert list(folder.iterdir()) == []


def test_no_folder_no_files(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXLMM_CACHE_DIR", "")
    forget()
    assert store() is None
    assert run(np.ones(2))[1] == 1
    forget()
    assert run(np.ones(2))[1] == 1


def test_the_programs_used_least_recently_go_first(folder, monkeypatch):
    for size in range(1, 5):
        run(np.ones(size))
        written()
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
    for number, file in enumerate(files):
        os.utime(file, (1000 + number, 1000 + number))
    forget()
    assert run(np.ones(1))[1] == 0  # read: now the most recent
    monkeypatch.setattr(STORE, "MAX_BYTES", int(2.5 * max(file.stat().st_size for file in files)))
    store()._shrink()
    assert set(folder.iterdir()) == {files[0], files[-1]}


@pytest.mark.parametrize(
    ("what", "value"),
    [("__version__", "0.0.1"), ("jaxlib", None), ("flags", None), ("processor", None), ("source", None)],
)
def test_another_version_or_machine_misses(folder, monkeypatch, what, value):
    """Another JAX, jaxlib, compiler flags, processor, or source of the package."""
    run(np.ones(2))
    written()
    forget()
    if what == "flags":
        monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_math=false")
    else:
        name = {"processor": "_hardware"}.get(what, "_software")
        before = getattr(machine, name)()
        monkeypatch.setattr(machine, name, lambda: (*before, what))
    assert run(np.ones(2))[1] == 1
    monkeypatch.undo()


def test_source_of_the_package_is_in_the_key(tmp_path, monkeypatch):
    before = machine._software()
    for file in machine.PACKAGE.rglob("*.py"):
        copy = tmp_path / file.relative_to(machine.PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    monkeypatch.setattr(machine, "PACKAGE", tmp_path)
    assert machine._software.__wrapped__() == before
    with (tmp_path / "covariance" / "base.py").open("a") as file:
        file.write("# changed\n")
    assert machine._software.__wrapped__() != before


def test_what_cannot_be_recognized_is_compiled_but_not_kept(folder):
    class Opaque:
        def __call__(self, value):
            return value + 1.0

    with pytest.raises(Unstable):
        digest(Opaque())
    opaque = Opaque()

    @program()
    def added(x):
        return opaque(x)

    assert added(np.ones(2)).tolist() == [2.0, 2.0]
    written()
    assert not folder.exists()


def test_two_threads_and_two_stores_at_once(folder):
    """Each gets the right result, and whole files are left."""
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda size: float(double(np.ones(size % 4 + 1))["twice"].sum()), range(32)))
    assert sums == [2.0 * (size % 4 + 1) for size in range(32)]
    content = os.urandom(100_000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Store(folder)._write("same", lambda: content), range(32)))
        assert all(pool.map(lambda number: Store(folder).read("same") == content, range(32)))
    written()
    assert not list(folder.glob("*.partial"))
    assert store().contents().programs == 5


def test_traced_and_checked_calls_are_those_of_jit(folder):
    assert jax.jit(lambda x: double(x)["twice"])(jnp.ones(2)).tolist() == [2.0, 2.0]
    assert jax.vmap(lambda x: double(x)["twice"])(jnp.ones((3, 2))).shape == (3, 2)
    assert jax.grad(lambda x: double(x)["twice"].sum())(jnp.ones(2)).tolist() == [2.0, 2.0]
    before = made_ready()
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        double(np.array([np.nan, 1.0]))
    with jax.disable_jit():
        assert double(np.ones(2))["twice"].tolist() == [2.0, 2.0]
    assert made_ready() == before


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="memory maps are counted on Linux")
def test_executables_are_let_go_before_memory_maps_run_out(folder, monkeypatch):
    """LLVM aborts a process that has no map left."""
    for size in range(1, 9):
        run(np.ones(size))
    taken = held._maps()
    assert 100 < taken < held._most_maps()
    monkeypatch.setattr(held, "MAX_SHARE_OF_MEMORY_MAPS", 0.0)
    for size in range(9, 13):
        run(np.ones(size))
    assert len(held._held) <= 1
    assert held._maps() < taken
    assert run(np.ones(1))[0] == [2.0]


def test_the_executables_used_last_are_held(folder, monkeypatch):
    monkeypatch.setattr(held, "MAX_EXECUTABLES", 2)
    for size in (1, 2, 1, 3, 1):
        run(np.ones(size))
    assert len(held._held) == 2
    assert run(np.ones(1))[2] == 0
    assert run(np.ones(2))[2] == 1


def test_an_option_that_the_compiler_does_not_know_is_left_out_alone(folder, monkeypatch):
    monkeypatch.setattr(PROGRAM, "ONCE_OPTIONS", {**PROGRAM.ONCE_OPTIONS, "xla_no_such_option": True})
    monkeypatch.setattr(PROGRAM, "_unknown", set())
    doubled = program(once=True)(lambda x: 2.0 * x)
    assert np.asarray(doubled(np.ones(2))).tolist() == [2.0, 2.0]
    assert "xla_no_such_option" in PROGRAM._unknown
    assert "xla_backend_optimization_level" not in PROGRAM._unknown


def test_what_jax_read_from_its_own_cache_is_not_written_again(folder, tmp_path):
    """Such an executable has lost its machine code: the file would load and then fail."""
    code = """
        import numpy as np
        from jaxlmm._util.programs import program, store
        function = program()(lambda x: (x @ x.T).sum(axis=0))
        print(function(np.eye(50, dtype=np.float32)).sum(), store().contents().programs)
    """
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(code))
    for kept in (folder, tmp_path / "second", tmp_path / "second"):
        environment["JAXLMM_CACHE_DIR"] = str(kept)
        done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, timeout=120)
        assert done.stdout.startswith("50.0"), done.stderr
    assert len(list(folder.iterdir())) == 1
    assert not (tmp_path / "second").exists()


def test_a_fit_is_the_same_from_disk(folder):
    data = lmm.datasets.sleepstudy()
    first = lmm.fit("Reaction ~ Days + (1 | Subject)", data)
    written()
    forget()
    again = lmm.fit("Reaction ~ Days + (1 | Subject)", data)
    assert again.deviance == first.deviance
    assert again.coef().equals(first.coef())
    assert again.ranef("Subject").equals(first.ranef("Subject"))


def test_the_shell_shows_and_clears_the_folder(folder):
    run(np.ones(2))
    written()
    shown = CliRunner().invoke(app, ["cache", "info"]).output
    assert str(folder) in shown
    assert "programs  1" in shown
    assert "1 programs" in CliRunner().invoke(app, ["cache", "clear"]).output
    assert not list(folder.iterdir())


def test_the_shell_says_that_nothing_is_kept(monkeypatch):
    monkeypatch.setenv("JAXLMM_CACHE_DIR", "")
    for command, code in (("info", 0), ("clear", 2)):
        result = CliRunner().invoke(app, ["cache", command])
        assert result.exit_code == code
        assert "JAXLMM_CACHE_DIR is empty" in result.output


def test_the_shell_says_why_a_folder_is_not_used(folder):
    def told():
        return CliRunner().invoke(app, ["cache", "info"]).output

    assert "not used" not in told()  # it will be made
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert "not used  others can write to it" in told()
    folder.rmdir()
    folder.write_text("")
    assert "not used  it is a file" in told()
