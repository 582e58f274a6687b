"""The house: rooms in one order, imports only down and through a room's ``__init__``, nothing slow imported early."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxlmm
from jaxlmm.covariance.parameters import KINDS
from jaxlmm.solvers import SOLVERS

import shapes

ROOT = Path(jaxlmm.__file__).parent
ROOMS = [
    "errors", "datasets", "_version", "_util", "linalg", "optimize",
    "covariance", "covariance.contract", "families",
    "model",
    "genetics.ids", "genetics.formats", "genetics.equilibrium", "genetics.blocks", "genetics.genotypes",
    "genetics.matrices", "genetics.pedigrees", "genetics",
    "formula.tokens", "formula.functions", "formula.coding", "formula.syntax", "formula.columns", "formula.groups",
    "formula.newdata", "formula",
    "solvers.base", "solvers.kinds", "solvers.level_qr", "solvers.clusters", "solvers.moments", "solvers.blocked",
    "solvers.spectral", "solvers.chain", "solvers.dense", "solvers.repeated", "solvers", "solvers.contract", "testing",
    "likelihood.laplace", "likelihood", "inference", "engine",
    "results.foreign", "results.levels", "results.certificate", "results.plain", "results.estimates",
    "results.many_estimates",
    "results.fitted", "results.tables", "results.rows", "results.hypotheses", "results.intervals", "results.summary",
    "results.serialize", "results.refit", "results.maketables", "results.fit", "results.many", "results",
    "api",
    "scanning.kernels", "scanning.output", "scanning.options", "scanning.loco", "scanning.data", "scanning.null_fits",
    "scanning.patterns", "scanning.shared", "scanning.group_scan", "scanning.checkpoint", "scanning",
    "loading", "plot", "", "cli",
]  # fmt: skip
"""From the ground up. A room is a package or a file, and a package whose parts are listed is its remaining files; the
empty name is the package itself, which only the shell stands upon."""

LABELLED = {"_util", "genetics", "formula", "results", "api", "scanning", "loading", "datasets", "plot", "cli"}
"""Rooms that know pandas."""
UNLABELLED = {"scanning.kernels"}

MOST_LINES, MOST_FILES = 300, 12

TESTS = Path(__file__).parents[1]
MOST_TEST_LINES = 400


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def room_of(name):
    """Return the room of a module: the longest name in the list that it begins with."""
    parts = name.split(".")
    longest_first = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found = next((room for room in longest_first if room in ROOMS), None)
    return "" if name == "" else found


def typing_only(tree):
    """Return the nodes below ``if TYPE_CHECKING``."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    return {node for block in blocks for node in ast.walk(block)}


def imports(name, *, at_run_time=False, by_the_door=False):
    """Yield the modules that a module imports; ``by_the_door`` a package where it imports a file from it."""
    tree = ast.parse(FILES[name].read_text())
    left_out = typing_only(tree) if at_run_time else set()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module.removeprefix("jaxlmm").removeprefix(".")
            for alias in node.names if node.module.split(".")[0] == "jaxlmm" else ():
                submodule = f"{inside}.{alias.name}".strip(".")
                is_file = submodule in FILES and not by_the_door
                yield f"jaxlmm.{submodule if is_file else inside}".rstrip(".")
            if node.module.split(".")[0] != "jaxlmm":
                yield node.module


def ours(name, **options):
    return {found.removeprefix("jaxlmm").removeprefix(".") for found in imports(name, **options)
            if found.split(".")[0] == "jaxlmm"}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_no_import_goes_up(name):
    room = room_of(name)
    assert room is not None, f"{name} has no place in the house"
    for found in ours(name):
        there = room_of(found)
        assert ROOMS.index(there) <= ROOMS.index(room), f"{name} imports {found or 'jaxlmm'}"


@pytest.mark.parametrize("name", FILES)
def test_rooms_are_entered_by_the_door(name):
    """Packages are reached through their ``__init__``, but by their own files and those of the packages inside."""
    package = name if name in PACKAGES else name.rpartition(".")[0]
    for found in ours(name, by_the_door=True):
        inside = found.rpartition(".")[0]
        own = package == inside or package.startswith(f"{inside}.") or inside == "" or name == ""
        module_of_a_room = found not in PACKAGES and not own
        assert not module_of_a_room or room_of(found) == room_of(name), f"{name} imports {found}, not {inside}"


def test_files_stand_in_no_circle():
    """Also inside a room; what only a type checker reads may name what stands above."""
    known = {name: ours(name, at_run_time=True) - {name} for name in FILES if name not in PACKAGES}
    while ready := [name for name, needs in known.items() if not needs & known.keys()]:
        for name in ready:
            del known[name]
    assert not known


def test_files_are_short_and_folders_small():
    long = {name: lines for name, path in FILES.items() if (lines := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long
    for package in PACKAGES - {""}:
        files = [name for name in FILES.keys() - PACKAGES if name.rpartition(".")[0] == package]
        assert len(files) <= MOST_FILES, package


def test_tests_are_short_and_stand_in_the_folders_of_rooms():
    """Names are unique over all folders; ``project`` is for the house itself, documents, the site and notebooks."""
    files = sorted(TESTS.rglob("test_*.py"))
    folders = {room.split(".")[0] for room in ROOMS} | {"project"}
    astray = [path for path in files if path.parent.parent != TESTS or path.parent.name not in folders]
    assert not astray, f"expected in a folder named after the room that they test: {astray}"
    assert len({path.name for path in files}) == len(files)
    long = {path.name: lines for path in files if (lines := len(path.read_text().splitlines())) > MOST_TEST_LINES}
    assert not long


@pytest.mark.parametrize("name", FILES)
def test_rooms_above_solvers_know_none_by_name(name):
    """Neither a class, by whatever way it is imported, nor a name as a text: what a solver can do it says itself."""
    if ROOMS.index(room_of(name)) <= ROOMS.index("testing"):
        return
    classes = {solver.__name__ for solver in SOLVERS.values()}
    packages = {solver.__module__.removeprefix("jaxlmm.").rpartition(".")[0] for solver in SOLVERS.values()}
    assert not {found for found in ours(name) for package in packages if f"{found}.".startswith(f"{package}.")}
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        named = [getattr(node, field, None) for field in ("id", "attr", "name")]  # names, attributes, imported names
        assert not classes & {word for word in named if isinstance(word, str)}, f"line {node.lineno}"
        assert not isinstance(node, ast.Constant) or node.value not in SOLVERS, f"line {node.lineno}: {node.value!r}"
        asks = isinstance(node, ast.Name) and node.id == "SOLVERS"
        assert not asks, f"line {node.lineno}: which solvers there are is for select to know"


@pytest.mark.parametrize("name", FILES)
def test_pandas_stays_in_the_labelled_rooms(name):
    if name.split(".")[0] not in LABELLED or room_of(name) in UNLABELLED:
        assert "pandas" not in {found.split(".")[0] for found in imports(name)}


@pytest.mark.parametrize("name", FILES)
def test_only_a_parameter_knows_what_its_kind_means(name):
    """Others ask it for bounds, unit, scale and square. Tokens and columns of formulas have a kind "number" too."""
    if name.startswith("covariance.parameters"):
        return
    words = KINDS.keys() - ({"number"} if name.startswith("formula.") else set())
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        parts = [*ast.walk(node)] if isinstance(node, ast.Compare | ast.Call | ast.Subscript | ast.Match) else []
        texts = {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        asked = any(isinstance(part, ast.Attribute) and part.attr == "kind" for part in parts)
        assert not (asked and texts & words), f"{name}, line {node.lineno}"


def test_import_loads_nothing_slow():
    code = (
        "import jax, pandas, sys; before = set(sys.modules); import jaxlmm; "
        "jaxlmm.fit; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(done.stdout.split())
    slow = {"formulaic", "optax", "matplotlib", "pyarrow", "typer", "rich", "narwhals"}
    slow |= {f"scipy.{part}" for part in ("linalg", "sparse", "special", "stats", "interpolate", "optimize")}
    assert not loaded & slow
    assert "jaxlmm.api" in loaded


def test_import_leaves_jax_flags_alone():
    code = "import jax; before = jax.config.values.copy(); import jaxlmm; print(before == jax.config.values)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("name", sorted(shapes.DOORS | shapes.CALL_USERS))
def test_functions_without_full_checks_exist(name):
    """A name in ``tests/shapes.py`` that nothing has would leave a new function unchecked one day, unseen."""
    assert pkgutil.resolve_name(name.split(".<locals>")[0])
