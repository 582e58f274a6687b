"""Several processes that write programs to one folder, while another one clears it."""

import os
import subprocess
import sys
import textwrap

OWN = textwrap.dedent(
    """
    import os, pathlib, time
    import numpy as np
    from jaxlmm._util.programs import forget, program
    from jaxlmm._util.programs.store import store

    @program()
    def squares(x):
        squares.traced = getattr(squares, "traced", 0) + 1
        return x * x + {salt}

    def main(clears, count):
        pathlib.Path(f"ready{{os.getpid()}}").touch()
        while len(list(pathlib.Path().glob("ready*"))) < count:  # all of them have imported
            time.sleep(0.01)
        for turn in range(6):
            for size in (1, 2, 3):
                found = np.asarray(squares(np.full(size, float(turn))))
                assert found.tolist() == [turn**2 + {salt}] * size, found
            forget()  # so that the next turn reads again
            if clears:
                store().clear()
        print(getattr(squares, "traced", 0))
    """
)


def test_processes_race(tmp_path):
    """Each has the right numbers; afterwards a new process traces nothing, and nothing half written is left."""
    (tmp_path / "own.py").write_text(OWN.format(salt=float(os.getpid())))
    environment = {
        **{key: value for key, value in os.environ.items() if "COMPILATION_CACHE" not in key},
        "JAXLMM_CACHE_DIR": str(tmp_path / "programs"),
        "PYTHONPATH": str(tmp_path),
    }

    def started(clears, count):
        command, pipe = [sys.executable, "-c", f"import own; own.main({clears}, {count})"], subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=pipe, stderr=pipe)

    for group in ([False, False, True], [False], [False]):
        running = [started(clears, len(group)) for clears in group]
        try:
            ended = [(process.communicate(timeout=120), process.returncode) for process in running]
        finally:
            for process in running:
                process.kill()
        assert [code for _, code in ended] == [0] * len(group), ended
    (traced, _), _ = ended[0]
    assert traced.split() == ["0"]
    assert len(list((tmp_path / "programs").iterdir())) == 3
    assert not list((tmp_path / "programs").glob("*.partial"))


def test_lapack_is_found_by_a_process_that_only_reads(tmp_path):
    """A program that calls LAPACK was compiled by another process, and no other one does in this."""
    (tmp_path / "own.py").write_text(
        "import jax.numpy as jnp, numpy as np\n"
        "from jaxlmm._util.programs import program\n"
        "@program()\n"
        "def root(x):\n"
        "    print('traced')\n"
        "    return jnp.linalg.cholesky(x)\n"
        "print(float(root(np.diag([4.0, 9.0]))[1, 1]))\n"
    )
    environment = {
        **{key: value for key, value in os.environ.items() if "COMPILATION_CACHE" not in key},
        "JAXLMM_CACHE_DIR": str(tmp_path / "programs"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    for expected in (["traced", "3.0"], ["3.0"]):
        command = [sys.executable, "-c", "import own"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, text=True, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == expected
