"""What a new process waits for: imports, the first fit of a model and the next, with compiled programs on disk or not.

Run ``python benchmarks/first_call.py [repeats [case ...]]`` (15 minutes; of some cases the others stay in the file).
Each repeat starts new interpreters: one whose folder of compiled programs is empty, and one that finds there what the
first has compiled. Medians and ranges of wall and CPU seconds are printed and written to
``benchmarks/results/first_call.json``. Times of the steps are beyond ``import jax, pandas``. The largest data are
fitted three times at most.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START = """
import json, sys, time
marks = {}
class step:
    def __init__(self, name): self.name = name
    def __enter__(self): self.wall, self.cpu = time.perf_counter(), time.process_time()
    def __exit__(self, *_): marks[self.name] = (time.perf_counter() - self.wall, time.process_time() - self.cpu)
with step("import jax, pandas"):
    import jax, pandas as pd, numpy as np
with step("import jaxlmm, and what fit needs"):
    import jaxlmm as lmm
    lmm.fit, lmm.datasets
with step("import formulaic"):
    import formulaic
"""

ONE = """
data = lmm.datasets.sleepstudy()
data["x"] = data["Days"] ** 2
with step("sleepstudy to the printed summary"):
    fit = lmm.fit("Reaction ~ Days + (Days | Subject)", data)
    print(fit.summary(), file=sys.stderr)
with step("  then ML"):
    lmm.fit("Reaction ~ Days + (Days | Subject)", data, method="ML")
with step("  then one fixed effect less"):
    lmm.fit("Reaction ~ 1 + (Days | Subject)", data)
with step("  then one fixed effect more"):
    lmm.fit("Reaction ~ Days + x + (Days | Subject)", data)
with step("  then another data set"):
    lmm.fit("Reaction ~ Days + (Days | Subject)", data[data["Subject"].astype(str) < "350"])
with step("  then the same again"):
    lmm.fit("Reaction ~ Days + (Days | Subject)", data)
"""

CROSSED = """
data = lmm.datasets.penicillin()
with step("crossed: penicillin"):
    lmm.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
"""

MANY = """
rng = np.random.default_rng(0)
data = lmm.datasets.penicillin()
y = data[["diameter"]].to_numpy() + rng.normal(size=(len(data), 600))
with step("fit_many: crossed, 600 responses"):
    lmm.fit_many("~ 1 + (1 | plate) + (1 | sample)", data, responses=y, progress=False)
with step("  then another 300"):
    lmm.fit_many("~ 1 + (1 | plate) + (1 | sample)", data, responses=y[:, :300], progress=False)
"""

ESTIMATE = """
data = lmm.datasets.sleepstudy()
design = lmm.design("~ Days + (Days | Subject)", data)
with jax.enable_x64(True):
    y = jax.numpy.asarray(data["Reaction"].to_numpy())
    with step("estimate without jit"):
        lmm.estimate(design, y).theta.block_until_ready()
    with step("  then again"):
        lmm.estimate(design, y).theta.block_until_ready()
"""

LARGE = """
def ratings(users, items, n, seed=1):
    rng = np.random.default_rng(seed)
    active, popular = rng.lognormal(0.0, 1.0, users), rng.lognormal(0.0, 1.4, items)
    user, item = rng.choice(users, n, p=active / active.sum()), rng.choice(items, n, p=popular / popular.sum())
    if users * items == n:
        user, item = np.divmod(np.arange(n), items)
    y = 3.5 + 0.45 * rng.normal(size=users)[user] + 0.6 * rng.normal(size=items)[item] + 0.9 * rng.normal(size=n)
    return pd.DataFrame({"user": user, "item": item, "y": y})
def fit(data):
    lmm.fit("y ~ 1 + (1 | user) + (1 | item)", data)
"""

BALANCED = (
    LARGE
    + """
data = ratings(200, 100, 20_000)
with step("crossed: 200 x 100, 20,000 rows"):
    fit(data)
for again in range(3):
    with step("  then again"):
        fit(data)
"""
)

RATINGS = (
    LARGE
    + """
data = ratings(6_040, 3_706, 1_000_209)
with step("crossed: MovieLens-1M's shape, simulated"):
    fit(data)
with step("  then again"):
    fit(data)
"""
)

SCAN = """
import shutil, subprocess, os
files = ["mouse.bed", "mouse.bim", "mouse.fam", "mouse.pheno.csv"]
with tempfile.TemporaryDirectory() as folder:
    for name in files:
        shutil.copy(Path(MOUSE) / name, folder)
    command = [sys.executable, "-m", "jaxlmm.cli", "scan", "trait1 ~ (1 | id)", "mouse.pheno.csv", "--genotypes",
               "mouse.bed", "--kinship", "auto", "--maf", "0.01", "--out", "out", "--no-progress"]
    with step("scan of 9,100 markers from the shell"):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
"""

END = """
import resource
marks["peak memory, GB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, float("nan"))
print(json.dumps(marks))
"""

MOUSE = Path(__file__).parent.parent / "tests" / "reference" / "genetics" / "mouse"
SCAN = f"import tempfile\nfrom pathlib import Path\nMOUSE = {str(MOUSE)!r}\n" + SCAN
SCRIPTS = {
    "one": ONE, "crossed": CROSSED, "many": MANY, "estimate": ESTIMATE, "balanced": BALANCED, "ratings": RATINGS,
    "scan": SCAN,
}  # fmt: skip


def once(script: str, folder: str) -> dict[str, tuple[float, float]]:
    """Run one new process; the seconds of each step, wall and CPU."""
    environment = {key: value for key, value in os.environ.items() if "COMPILATION_CACHE" not in key}
    environment["JAXLMM_CACHE_DIR"] = folder
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", START + script + END],
        env=environment, capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    marks: dict[str, tuple[float, float]] = json.loads(done.stdout.splitlines()[-1])
    marks["whole process"] = (time.perf_counter() - started, float("nan"))
    return marks


def main(repeats: int, only: list[str]) -> None:
    import jax

    out = Path(__file__).parent / "results" / "first_call.json"

    results = {
        "python": platform.python_version(), "jax": jax.__version__, "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(), "repeats": repeats,
    }  # fmt: skip
    print(f"{'seconds, wall / CPU: median (min-max of wall)':48s} {'nothing compiled':>26s} {'second process':>26s}")
    if only:  # the others stay as they were measured
        results = json.loads(out.read_text()) | results
    for name, script in SCRIPTS.items():
        if only and name not in only:
            continue
        runs: dict[str, list[dict[str, tuple[float, float]]]] = {"nothing compiled": [], "second process": []}
        for _ in range(min(repeats, 3) if name == "ratings" else repeats):
            with tempfile.TemporaryDirectory() as folder:
                for rows in runs.values():
                    rows.append(once(script, folder))
        results[name] = {
            kind: {
                label: {
                    "wall": round(statistics.median(row[label][0] for row in rows), 4),
                    "cpu": round(statistics.median(row[label][1] for row in rows), 4),
                    "min": round(min(row[label][0] for row in rows), 4),
                    "max": round(max(row[label][0] for row in rows), 4),
                }
                for label in rows[0]
            }
            for kind, rows in runs.items()
        }
        for label in runs["nothing compiled"][0]:
            cells = [results[name][kind][label] for kind in runs]
            texts = [f"{c['wall']:.3f} / {c['cpu']:.3f} ({c['min']:.2f}-{c['max']:.2f})" for c in cells]
            print(f"{label:48s} {texts[0]:>26s} {texts[1]:>26s}", flush=True)
    out.write_text(json.dumps(results, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:])
