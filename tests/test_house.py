"""The house: imports only go down, pandas stays in the labelled layers, nothing slow is imported early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxlmm

ROOT = Path(jaxlmm.__file__).parent
RANKS = {
    "_typing": 0, "errors": 0, "datasets": 0, "_struct": 0.5, "_precision": 0.5, "_shapes": 0.5, "_compile": 0.5,
    "_tables": 0.5, "_files": 0.5, "entries": 0.9, "rotations": 0.9, "linalg": 1, "covariance": 1.5, "optimise": 1.5,
    "model": 2, "genetics": 2.2, "formula": 2.5,
    "solvers": 3, "likelihood": 4, "inference": 5, "engine": 6, "results": 7, "plot": 7.5, "api": 8, "cli": 9,
}  # fmt: skip
LABELLED = {"_tables", "genetics", "formula", "results", "api", "datasets", "cli", "plot"}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "jaxlmm":
                yield from (f"jaxlmm.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize(("package", "path"), list(modules()), ids=lambda value: getattr(value, "stem", value))
def test_no_import_goes_up(package, path):
    assert package in RANKS, f"{package} has no place in the house"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "jaxlmm" and len(parts) > 1 and parts[1] != package and package != "cli":
            assert RANKS[parts[1]] < RANKS[package], f"{path.name} imports {name}"


@pytest.mark.parametrize(("package", "path"), list(modules()), ids=lambda value: getattr(value, "stem", value))
def test_pandas_stays_in_the_labelled_layers(package, path):
    if package not in LABELLED:
        assert "pandas" not in {name.split(".")[0] for name in imports(path)}


def test_import_loads_nothing_slow():
    code = (
        "import jax, pandas, sys; before = set(sys.modules); import jaxlmm; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(done.stdout.split())
    assert not loaded & {"formulaic", "optax", "matplotlib", "pyarrow", "typer", "rich", "narwhals"}
    assert "jaxlmm" in loaded


def test_import_leaves_jax_flags_alone():
    code = "import jax; before = jax.config.values.copy(); import jaxlmm; print(before == jax.config.values)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "True"
