"""Nested factors: time and memory against size, up to 100,000 classes in 5,000 schools and two million rows.

Run ``python benchmarks/nested.py``. Each size runs in a new process: its first fit (compilation included, no cache
of it), the median of three warm ones, and the largest memory that the process held. Results go to
``benchmarks/results/nested.json``.
"""

import itertools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

SCHOOLS = (1250, 2500, 5000)

CHILD = """
import json, resource, statistics, sys, time
import numpy as np, pandas as pd
import formulaic
import jaxlmm as lmm

schools, per_school, per_class = int(sys.argv[1]), 20, 20
rng = np.random.default_rng(0)
classes = schools * per_school
own = np.repeat(np.arange(classes), per_class)
school = own // per_school
x = rng.normal(size=own.size)
y = 1.0 + 0.5 * x + 0.6 * rng.normal(size=classes)[own] + 0.4 * rng.normal(size=schools)[school]
data = pd.DataFrame({"y": y + rng.normal(size=own.size), "x": x, "school": school, "class": own % per_school})
times = []
for _ in range(4):
    start = time.perf_counter()
    fit = lmm.fit("y ~ x + (1 | school/class)", data)
    times.append(time.perf_counter() - start)
print(json.dumps({
    "schools": schools, "classes": classes, "rows": own.size, "cold": times[0], "warm": statistics.median(times[1:]),
    "warm range": [min(times[1:]), max(times[1:])],
    "peak memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "status": fit.status,
    "solver": fit.solver_reason, "estimates": fit.variance()["estimate"].round(4).to_dict(),
}))
"""


def main() -> None:
    import jax

    environment = {key: value for key, value in os.environ.items() if "CACHE" not in key} | {"JAXLMM_CACHE_DIR": ""}
    rows = []
    for schools in SCHOOLS:
        command = [sys.executable, "-c", CHILD, str(schools)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    for smaller, larger in itertools.pairwise(rows):
        larger["warm, as a multiple of half the size"] = larger["warm"] / smaller["warm"]
    results = {"python": platform.python_version(), "jax": jax.__version__, "cores": os.cpu_count(), "sizes": rows}
    out = Path(__file__).parent / "results" / "nested.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
