"""Residual structures of trials beside nlme and glmmTMB: time, memory, and how often an optimum is found.

Usage: python benchmarks/structures.py [--peers / --no-peers] [--out FILE]

- A trial of 1,000 subjects with 10 visits and 14 % of these missing, an unstructured covariance of 55 parameters and 23
  coefficients; the same with twice and four times the subjects, ours alone; and one that lost half of its subjects.
- 100 trials of 100 subjects with 6 visits, of whom half drop out, an unstructured covariance: how many fits end at an
  optimum by their own word; peers fit the first 30. Of ours: a certificate; of nlme: no error; of glmmTMB:
  ``convergence`` 0 and a positive definite Hessian. How many have a deviance that differs from ours by more than 1e-4
  is counted too, whatever their word.
- A kernel across 400 sites, in one fit: the first and later ones.

Cold: the first fit of this process of that case, compiled programs being those of the cases before it in a folder
that was empty. Warm: the median of five later ones, with their range; memory is the process's largest so far. Peers are
timed once, with their own defaults. Written to ``results/structures.json``.
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

R = {
    "nlme": """
suppressMessages(library(nlme))
one <- function(d) {
  d$v <- as.integer(d$visit)
  m <- gls(y ~ base + race + arm * visit, d, correlation = corSymm(form = ~ v | id),
           weights = varIdent(form = ~ 1 | visit), method = "REML", na.action = na.omit)
  c(-2 * as.numeric(logLik(m)), 1)
}
""",
    "glmmTMB": """
suppressMessages(library(glmmTMB))
one <- function(d) {
  m <- glmmTMB(y ~ base + race + arm * visit + us(0 + visit | id), d, dispformula = ~ 0, REML = TRUE)
  c(-2 * as.numeric(logLik(m)), m$fit$convergence == 0 && isTRUE(m$sdr$pdHess))
}
""",
}
RUN = """
for (path in commandArgs(TRUE)) {
  d <- read.csv(path, stringsAsFactors = TRUE)
  seconds <- system.time(value <- tryCatch(suppressWarnings(one(d)), error = function(e) c(NA, 0)))[["elapsed"]]
  cat(seconds, sprintf("%.8f", value[1]), value[2], "\\n")
}
"""
LIMIT = 200
"""Seconds that a peer has for one task."""

TRIALS_OF_PEERS = 30

FORMULA, RESIDUAL = "y ~ base + race + arm * visit", "us(visit | id)"


def trial(subjects, visits, *, missing=0.0, dropout=0.0, seed=0):
    """A trial with correlated visits whose variances grow, missing at random, or with subjects that drop out."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    arm, race, base = rng.integers(0, 2, subjects), rng.integers(0, 3, subjects), rng.normal(size=subjects)
    t = np.arange(visits)
    covariance = 25.0 * 0.9 ** np.abs(t[:, None] - t) + 10.0 + np.diag(2.0 + t)
    errors = rng.multivariate_normal(np.zeros(visits), covariance, subjects)
    mean = 70.0 + 5.0 * base[:, None] + 2.0 * (race == 1)[:, None] + 0.3 * arm[:, None] * t + 0.2 * t
    data = pd.DataFrame(
        {
            "id": np.repeat([f"s{k:05}" for k in range(subjects)], visits),
            "visit": np.tile([f"v{k:02}" for k in t], subjects),
            "arm": np.repeat(np.where(arm == 1, "trt", "ctl"), visits),
            "race": np.repeat(np.array(["a", "b", "c"])[race], visits),
            "base": np.repeat(base, visits),
            "y": (mean + errors).reshape(-1),
        }
    )
    last = np.where(rng.random(subjects) < dropout, rng.integers(1, visits, subjects), visits)
    kept = (np.tile(t, subjects) < np.repeat(last, visits)) & (rng.random(len(data)) >= missing)
    return data[kept].reset_index(drop=True)


def timed(function, repeats=5):
    """Seconds of the first call, the median and range of later ones, and what the last returned."""
    start = time.perf_counter()
    function()
    cold, warm = time.perf_counter() - start, []
    for _ in range(repeats):
        start = time.perf_counter()
        found = function()
        warm.append(time.perf_counter() - start)
    return {"cold": cold, "median": statistics.median(warm), "min": min(warm), "max": max(warm)}, found


def of_trial(data):
    import jaxlmm as lmm

    seconds, fit = timed(lambda: lmm.fit(FORMULA, data, residual=RESIDUAL))
    return {
        **seconds, "rows": len(data), "subjects": data["id"].nunique(), "solver": fit.solver_reason,
        "status": fit.status, "deviance": fit.deviance,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }  # fmt: skip


def of_r(peer, tables, folder):
    """Seconds, deviances (None after an error) and own words of a peer; or how it failed."""
    paths = []
    for number, data in enumerate(tables):
        paths.append(str(Path(folder) / f"trial{number}.csv"))
        data.to_csv(paths[-1], index=False)
    try:
        done = subprocess.run(
            ["Rscript", "-e", R[peer] + RUN, *paths], capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"more than {LIMIT} s"}
    lines = [line.split() for line in done.stdout.splitlines()]
    if len(lines) != len(tables):
        return {"error": " ".join(done.stderr[-300:].split())}
    return {
        "seconds": [float(seconds) for seconds, _, _ in lines],
        "deviances": [None if value == "NA" else float(value) for _, value, _ in lines],
        "optimum by its own word": [word == "1" for _, _, word in lines],
    }


def kernel():
    """A Gaussian process across 400 sites in the plane, five rows each."""
    import numpy as np
    import pandas as pd

    import jaxlmm as lmm

    rng = np.random.default_rng(3)
    places = pd.DataFrame(rng.uniform(0.0, 10.0, (400, 2)), columns=["u", "v"], index=[f"s{k:03}" for k in range(400)])
    distance = np.linalg.norm(places.to_numpy()[:, None] - places.to_numpy()[None, :], axis=2)
    effects = rng.multivariate_normal(np.zeros(400), np.exp(-0.5 * (distance / 1.5) ** 2) + 1e-9 * np.eye(400))
    site, x = np.repeat(np.arange(400), 5), rng.normal(size=2000)
    data = pd.DataFrame({"site": places.index[site], "x": x, "y": 1.0 + x + effects[site] + rng.normal(size=2000)})
    known = {"site": lmm.covariance.Gaussian(coords=places)}
    seconds, fit = timed(lambda: lmm.fit("y ~ x + (1 | site)", data, kinship=known))
    return {
        **seconds,
        "rows": len(data),
        "status": fit.status,
        "evaluations": fit.solution.n_evaluations,
        "deviance": fit.deviance,
    }


def small_trials(peers, folder):
    """How many of 100 trials have an optimum, by ours and by peers."""
    import jaxlmm as lmm

    tables = [trial(100, 6, dropout=0.5, seed=100 + number) for number in range(100)]
    start = time.perf_counter()
    fits = [lmm.fit(FORMULA, data, residual=RESIDUAL) for data in tables]
    found = {
        "trials": len(tables), "seconds": time.perf_counter() - start,
        "with an optimum": sum(fit.status in ("interior", "boundary") for fit in fits),
    }  # fmt: skip
    for peer in peers:
        result = of_r(peer, tables[:TRIALS_OF_PEERS], folder)
        if "error" not in result:
            pairs = list(zip(result["deviances"], [fit.deviance for fit in fits[:TRIALS_OF_PEERS]], strict=True))
            result = {
                "trials": TRIALS_OF_PEERS,
                "seconds": sum(result["seconds"]),
                "with an optimum": sum(result["optimum by its own word"]),
                "as ours": sum(value is not None and abs(value - own) <= 1e-4 for value, own in pairs),
                "lower than ours": sum(value is not None and value < own - 1e-4 for value, own in pairs),
                "higher than ours": sum(value is not None and value > own + 1e-4 for value, own in pairs),
            }
        found[peer] = result
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "structures.json"))
    arguments = parser.parse_args()
    peers = list(R) if arguments.peers and shutil.which("Rscript") else []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAXLMM_CACHE_DIR"] = folder
        import jax

        large = trial(1000, 10, missing=0.14)
        trials = {
            "1,000 subjects": {**of_trial(large), **{peer: of_r(peer, [large], folder) for peer in peers}},
            "2,000 subjects": of_trial(trial(2000, 10, missing=0.14)),
            "4,000 subjects": of_trial(trial(4000, 10, missing=0.14)),
            "half of 1,000 drop out": of_trial(trial(1000, 10, dropout=0.5)),
        }
        print(json.dumps(trials, indent=1), flush=True)
        results = {
            "python": platform.python_version(), "jax": jax.__version__, "device": str(jax.devices()[0].device_kind),
            "cores": os.cpu_count(), "trials": trials, "kernel across 400 sites": kernel(),
        }  # fmt: skip
        print(json.dumps(results["kernel across 400 sites"], indent=1), flush=True)
        results["small trials"] = small_trials(peers, folder)
        print(json.dumps(results["small trials"], indent=1), flush=True)
    Path(arguments.out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
