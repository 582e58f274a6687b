"""How long a new process takes from ``python`` to the printed sleepstudy summary, and where the time goes.

Run ``python benchmarks/first_call.py [repeats]``. Each repeat starts a new interpreter, once without a compilation
cache and once with JAX's persistent cache filled by an earlier process; the results, medians and ranges in seconds,
are printed and written to ``benchmarks/results/first_call.json``.
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

CHILD = """
import json, sys, time
marks = {}
def mark(name, since):
    now = time.perf_counter(); marks[name] = now - since; return now
t = time.perf_counter()
import jax, pandas
t = mark("import jax, pandas", t)
import jaxlmm as lmm
t = mark("import jaxlmm", t)
compiling = {}
def listen(event, seconds, **_):
    compiling[event] = compiling.get(event, 0.0) + seconds
jax.monitoring.register_event_duration_secs_listener(listen)
data = lmm.datasets.sleepstudy()
import formulaic
t = mark("read data, import formulaic", t)
fit = lmm.fit("Reaction ~ Days + (Days | Subject)", data)
t = mark("fit", t)
print(fit.summary(), file=sys.stderr)
mark("summary", t)
parts = {"trace_duration": "of fit: tracing", "lower_jaxpr": "of fit: lowering", "jaxpr_to_mlir": "of fit: lowering",
         "backend_compile": "of fit: compiling (or reading the cache)"}
for event, seconds in compiling.items():
    for piece, name in parts.items():
        if piece in event:
            marks[name] = marks.get(name, 0.0) + seconds
t = time.perf_counter()
lmm.fit("Reaction ~ Days + (Days | Subject)", data)
marks["a second fit"] = time.perf_counter() - t
print(json.dumps(marks))
"""


def once(environment: dict[str, str]) -> dict[str, float]:
    """Run one new process; ``total`` is its life as the shell sees it, less the second fit."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    total = time.perf_counter() - started
    marks = json.loads(done.stdout.splitlines()[-1])
    return {"total": total - marks["a second fit"], **marks}


def main(repeats: int) -> None:
    import jax

    plain = {key: value for key, value in os.environ.items() if "COMPILATION_CACHE" not in key}
    results = {"python": platform.python_version(), "jax": jax.__version__, "cores": os.cpu_count(), "repeats": repeats}
    with tempfile.TemporaryDirectory() as folder:
        cached = {
            **plain,
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
        once(cached)
        runs = {"no cache": [], "persistent cache": []}
        for _ in range(repeats):
            runs["no cache"].append(once(plain))
            runs["persistent cache"].append(once(cached))
    for kind, rows in runs.items():
        results[kind] = {
            name: {
                "median": round(statistics.median(row.get(name, 0.0) for row in rows), 3),
                "min": round(min(row.get(name, 0.0) for row in rows), 3),
                "max": round(max(row.get(name, 0.0) for row in rows), 3),
            }
            for name in rows[0]
        }
    names = list(results["no cache"])
    print(f"{'seconds: median (min-max)':45s} {'no cache':>22s} {'persistent cache':>22s}")
    for name in names:
        cells = [results[kind].get(name, {"median": 0, "min": 0, "max": 0}) for kind in runs]
        print(f"{name:45s} " + " ".join(f"{c['median']:8.3f} ({c['min']:.3f}-{c['max']:.3f})" for c in cells))
    out = Path(__file__).parent / "results" / "first_call.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
