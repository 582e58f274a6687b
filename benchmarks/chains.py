"""One series of 1,000, 10,000 and 100,000 rows along a Markov chain, beside nlme's ``gls``.

Usage: python benchmarks/chains.py [--peers / --no-peers] [--out FILE]

A chain of residuals (``residual="ou(t | 1)"``; nlme: ``gls`` with ``corCAR1``), and one observed with noise
(``ou(t | 1)``). nlme's matrices are n × n: it is timed with 1,000 rows, once. Cold: the first fit of this
process of that size, with compiled programs in an empty folder. Warm: the median of three later ones, with their
range; memory is the process's largest so far. Written to ``results/chains.json``.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

R = """
suppressMessages(library(nlme))
d <- read.csv(commandArgs(TRUE)[1])
seconds <- system.time(m <- gls(y ~ x + t, d, correlation = corCAR1(0.9, form = ~ t), method = "REML"))[["elapsed"]]
cat(seconds, sprintf("%.8f", -2 * as.numeric(logLik(m))))
"""
SIZES = (1_000, 10_000, 100_000)
LARGEST_OF_R = {"residual": 1_000, "noisy": 0}
NAMES = {"residual": "residuals along a chain", "noisy": "a chain observed with noise"}


def series(n, noisy):
    """Irregular times one unit apart on average, a covariate, and a chain of rate 0.05 and standard deviation 2."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(n)
    t = np.sort(rng.uniform(0.0, n, n))
    rho = np.exp(-0.05 * np.diff(t, prepend=t[0]))
    draws, u = rng.normal(size=n), np.zeros(n)
    u[0] = draws[0]
    for k in range(1, n):
        u[k] = rho[k] * u[k - 1] + np.sqrt(1.0 - rho[k] ** 2) * draws[k]
    x = rng.normal(size=n)
    return pd.DataFrame({"t": t, "x": x, "y": 1.0 + 0.5 * x + 2.0 * u + noisy * rng.normal(size=n)})


def ours(kind, data):
    """Seconds of the first fit, of three later ones, and what was found."""
    import jaxlmm as lmm

    formula = "y ~ x + t" + (" + ou(t | 1)" if kind == "noisy" else "")
    options = {"residual": "ou(t | 1)"} if kind == "residual" else {}

    def seconds():
        start = time.perf_counter()
        fit = lmm.fit(formula, data, **options)
        return time.perf_counter() - start, fit

    cold, fit = seconds()
    warm = [seconds()[0] for _ in range(3)]
    variance = fit.variance()
    return {
        "solver": fit.solver, "status": fit.status, "cold": cold, "median": statistics.median(warm), "min": min(warm),
        "max": max(warm), "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "deviance": fit.deviance, "estimates": variance["estimate"].tolist(),
        "std_errors": variance["std_error"].tolist(),
    }  # fmt: skip


def of_r(data, folder):
    path = Path(folder) / "series.csv"
    data.to_csv(path, index=False)
    done = subprocess.run(["Rscript", "-e", R, str(path)], capture_output=True, text=True, timeout=600)
    words = done.stdout.split()
    return (
        {"seconds": float(words[0]), "deviance": float(words[1])} if len(words) == 2 else {"error": done.stderr[-300:]}
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "chains.json"))
    arguments = parser.parse_args()
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAXLMM_CACHE_DIR"] = folder
        import jax

        for kind in NAMES:
            for n in SIZES:
                data = series(n, kind == "noisy")
                case = {"what": NAMES[kind], "rows": n, **ours(kind, data), "nlme": None}
                if arguments.peers and shutil.which("Rscript") and n <= LARGEST_OF_R[kind]:
                    case["nlme"] = of_r(data, folder)
                cases.append(case)
                print({name: case[name] for name in ("what", "rows", "cold", "median", "deviance", "nlme")}, flush=True)
    results = {
        "python": platform.python_version(), "jax": jax.__version__, "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(), "cases": cases,
    }  # fmt: skip
    Path(arguments.out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
