"""Generalized linear mixed models: jaxlmm beside glmmTMB and lme4's glmer, in one run.

Run ``python benchmarks/glmm.py [scale] [--out FILE]``. ``scale`` multiplies the number of responses of the first case
(0.02 for a quick trial); results of scale 1 go to ``benchmarks/results/glmm.json`` unless ``--out`` says otherwise, and
those of a trial are only printed.

Cases: ``many``, negative binomial counts of many taxa, 320 rows of 80 subjects, to the table with standard errors and
a certificate for each, spread over the cores; others, models of data that come with R's packages, from formula to
result. Ours are medians of warm repeats with their range, and ``cold`` the first call in this process without a
compilation cache. R's are medians inside R; of the many responses the first 20, one by one. They are left out where
there is no ``Rscript`` with glmmTMB and lme4; so is gpboost, of the same 20 responses, where it is not installed.
statsmodels has no maximum likelihood of these models.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["JAXLMM_CACHE_DIR"] = ""  # what is compiled is not kept: a first call is a first call
os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))
import numpy as np
import pandas as pd

import jaxlmm as lmm

HERE = Path(__file__).parent
RESULTS, DATA = HERE / "results" / "glmm.json", HERE.parent / "tests" / "reference" / "data"
RESPONSES, RESPONSES_OF_R = 2_000, 20

R_SCRIPT = """
suppressMessages({library(lme4); library(glmmTMB); library(jsonlite)})
job <- fromJSON(commandArgs(TRUE)[1], simplifyVector = FALSE)
d <- read.csv(job$data, stringsAsFactors = TRUE)
for (name in unlist(job$factors)) d[[name]] <- factor(d[[name]])
quiet <- function(expression) suppressWarnings(suppressMessages(expression))
clock <- function(fit, repeats) {
  fit(); times <- numeric(0)
  for (i in seq_len(repeats)) {
    t0 <- proc.time()[["elapsed"]]; f <- fit(); times <- c(times, proc.time()[["elapsed"]] - t0)
  }
  list(seconds = median(times), loglik = as.numeric(logLik(f)))
}
families <- list(nbinom2 = nbinom2, poisson = poisson, binomial = binomial)
out <- list(versions = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
                            glmmTMB = as.character(packageVersion("glmmTMB"))))
if (!is.null(job$responses)) {
  loop <- function() sapply(unlist(job$responses), function(name) {
    d$y <- d[[name]]; f <- quiet(glmmTMB(as.formula(job$formula), d, family = families[[job$family]]))
    as.numeric(logLik(f)) })
  t0 <- proc.time()[["elapsed"]]; loglik <- loop()
  out$glmmTMB <- list(seconds = (proc.time()[["elapsed"]] - t0) / length(loglik), loglik = unname(loglik))
} else {
  form <- as.formula(job$formula); family <- families[[job$family]]
  out$glmmTMB <- clock(function() quiet(glmmTMB(form, d, family = family)), job$repeats)
  if (job$family != "nbinom2") out$glmer <- clock(function() quiet(glmer(form, d, family = family)), job$repeats)
}
cat(toJSON(out, auto_unbox = TRUE, digits = NA))
"""


def taxa(m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts of ``m`` taxa in 320 samples of 80 subjects, of various overdispersion and variances between subjects."""
    rng = np.random.default_rng(1)
    subject = np.repeat(np.arange(80), 4)
    data = pd.DataFrame({"subject": subject.astype(str), "visit": np.tile(np.arange(4.0), 80)})
    data["dx"] = np.repeat(rng.choice(["HC", "MD1", "MD2"], 80), 4)
    effects = rng.normal(size=(80, m)) * rng.uniform(0.1, 1.2, m)
    eta = rng.uniform(0.0, 4.0, m) + 0.05 * data[["visit"]].to_numpy() + effects[subject]
    size = np.exp(rng.uniform(-0.5, 3.0, m))
    counts = rng.negative_binomial(size, size / (size + np.exp(eta)))
    return data, pd.DataFrame(counts, columns=[f"t{number}" for number in range(m)])


SINGLE = {
    "cbpp": ("cbind(incidence, failure) ~ period + (1 | herd)", "cbpp.csv", "binomial", ["period", "herd"]),
    "salamanders": ("count ~ spp * mined + (1 | site)", "Salamanders.csv", "nbinom2", ["site"]),
    "grouseticks": (
        "TICKS ~ YEAR + scale(HEIGHT) + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", "grouseticks.csv", "poisson",
        ["YEAR", "BROOD", "INDEX", "LOCATION"],
    ),
}  # fmt: skip
"""Formula, file, family, and columns that are factors."""


def timed(function: Callable[[], object], repeats: int) -> tuple[object, dict[str, float]]:
    """Return the result, the first call's time and the median of ``repeats`` more with its range."""
    start = time.perf_counter()
    result = function()
    cold, times = time.perf_counter() - start, []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return result, {"cold": cold, "median": statistics.median(times), "min": min(times), "max": max(times)}


def by_r(job: dict[str, object], data: pd.DataFrame | Path) -> dict[str, object] | None:
    """Return what R measured, None where it cannot."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = data if isinstance(data, Path) else Path(folder) / "data.csv"
        if not isinstance(data, Path):
            data.to_csv(path, index=False)
        (Path(folder) / "job.json").write_text(json.dumps({**job, "data": str(path)}))
        (Path(folder) / "run.R").write_text(R_SCRIPT)
        done = subprocess.run(
            ["Rscript", str(Path(folder) / "run.R"), str(Path(folder) / "job.json")],
            capture_output=True, text=True, timeout=3600, check=False,
        )  # fmt: skip
    if done.returncode:
        print(done.stderr[-500:], file=sys.stderr)
        return None
    found: dict[str, object] = json.loads(done.stdout)
    return found


def by_gpboost(data: pd.DataFrame, counts: pd.DataFrame) -> dict[str, object] | None:
    """Return the time of a response by gpboost, and the log-likelihoods; None where it is not installed."""
    try:
        gpboost = importlib.import_module("gpboost")
    except ImportError:
        return None
    x = pd.get_dummies(data[["dx", "visit"]], columns=["dx"], drop_first=True).astype(float)
    x.insert(0, "intercept", 1.0)
    logliks, start = [], time.perf_counter()
    for name in counts:
        model = gpboost.GPModel(group_data=data["subject"].to_numpy(), likelihood="negative_binomial")
        model.fit(y=counts[name].to_numpy(float), X=x.to_numpy())
        model.get_coef(std_err=True)
        logliks.append(-float(model.get_current_neg_log_likelihood()))
    taken = (time.perf_counter() - start) / len(logliks)
    return {"seconds": taken, "loglik": logliks, "version": importlib.metadata.version("gpboost")}


def many(m: int) -> dict[str, object]:
    """Measure many responses."""
    data, counts = taxa(m)
    formula = "~ dx + visit + (1 | subject)"
    fits, ours = timed(lambda: lmm.fit_many(formula, data, responses=counts, family="nbinom2", progress=False), 3)
    fits.tidy()
    own = ours["median"] / m
    found: dict[str, object] = ours | {"responses": m, "per response": own}
    found["statuses"] = pd.Series(fits.estimates.words).value_counts().to_dict()
    some = list(counts.columns[:RESPONSES_OF_R])
    loglik = -0.5 * fits.estimates.deviance[: len(some)]
    job = {"formula": "y " + formula, "family": "nbinom2", "responses": some, "factors": ["subject"]}
    theirs = by_r(job, pd.concat([data, counts[some]], axis=1)) or {}
    peers = {"glmmTMB": theirs.get("glmmTMB"), "gpboost": by_gpboost(data, counts[some])}
    for name, peer in peers.items():
        if peer is not None:
            above = loglik - np.array(peer["loglik"])
            found[name] = {"seconds": peer["seconds"], "ours above": [float(above.min()), float(above.max())]}
    return found | {"R": theirs.get("versions", {})}


def single(name: str) -> dict[str, object]:
    """Measure one model."""
    formula, file, family, factors = SINGLE[name]
    data = pd.read_csv(DATA / file, dtype=dict.fromkeys(factors, str))
    fit, ours = timed(lambda: lmm.fit(formula, data, family=family), 15)
    found: dict[str, object] = ours | {"formula": formula, "family": family, "status": fit.status}
    theirs = by_r({"formula": formula, "family": family, "factors": factors, "repeats": 5}, DATA / file) or {}
    for engine in ("glmmTMB", "glmer"):
        if engine in theirs:
            own = theirs[engine]
            found[engine] = {"seconds": own["seconds"], "ours above": fit.loglik - own["loglik"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", nargs="?", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    first = many(max(int(RESPONSES * arguments.scale), RESPONSES_OF_R))
    found = {
        "device": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")},
        "R": first.pop("R"),
        "many": first,
        "single": {name: single(name) for name in SINGLE},
    }
    print(json.dumps(found, indent=1))
    out = arguments.out or (RESULTS if arguments.scale == 1.0 else None)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
