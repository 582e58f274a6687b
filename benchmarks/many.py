"""One model, thousands of responses: jaxlmm beside a loop of lme4 and one of mixedlm, in one run.

Run ``python benchmarks/many.py [scale] [--cases abcdefg] [--out FILE]``. ``scale`` multiplies the numbers of responses
(0.02 for a quick trial); results of scale 1 go to ``benchmarks/results/many.json`` unless ``--out`` says otherwise, and
those of a trial are only printed.

Every case runs in a new process, so that its peak memory is its own. Ours is timed ``to the optimum`` (``fit_many``
without examination, certificate and standard errors: what lme4 does without its check) and ``to the table``
(``fit_many(...).tidy()`` with standard errors, Satterthwaite's df, q-values and a certificate for each response):
medians of warm repeats with their range. ``cold`` is the first call to the table in a new process without a compilation
cache, imports not counted. On a CPU responses are spread over its cores (``JAX_NUM_CPU_DEVICES``). lme4 is timed inside
R on the first responses, at most 200 of them: its time per response is measured, its time for all of them is
extrapolated, and called so. It is left out where there is no ``Rscript``.
Cases e, f and g are timed in turn with the same responses without their difficulty.
"""

import argparse
import contextlib
import dataclasses
import gc
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results" / "many.json"
LME4_RESPONSES, MIXEDLM_RESPONSES = 200, 5
COLD = "abc"
"""Cases whose first call in a new process is timed."""

R_SCRIPT = """
suppressMessages(library(lme4)); suppressMessages(library(jsonlite))
arguments <- commandArgs(TRUE)
data <- read.csv(arguments[1], stringsAsFactors = TRUE)
responses <- as.matrix(read.csv(arguments[2]))
formula <- as.formula(paste("y", arguments[3])); repeats <- as.integer(arguments[4])
quiet <- function(expression) suppressWarnings(suppressMessages(expression))
loop <- function(columns, control) {
  sapply(columns, function(j) {
    data$y <- responses[, j]
    as.numeric(logLik(quiet(lmer(formula, data, control = control))))
  })
}
clock <- function(control) {
  loop(1:2, control); times <- numeric(0)
  for (i in seq_len(repeats)) {
    start <- proc.time()[["elapsed"]]; loglik <- loop(seq_len(ncol(responses)), control)
    times <- c(times, proc.time()[["elapsed"]] - start)
  }
  list(times = times, loglik = loglik)
}
out <- list(lme4 = clock(lmerControl()), `lme4, calc.derivs = FALSE` = clock(lmerControl(calc.derivs = FALSE)))
out$versions <- list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  blas = extSoftVersion()[["BLAS"]])
cat(toJSON(out, auto_unbox = TRUE, digits = NA))
"""


@dataclasses.dataclass
class Case:
    """A model, its responses ``y`` (n, m), the same ``beside`` without a difficulty, and which have it (m,)."""

    formula: str
    data: pd.DataFrame
    y: np.ndarray
    beside: np.ndarray | None = None
    difficult: np.ndarray | None = None


def days(m: int) -> Case:
    """(a) 1,000 rows, 100 subjects, correlated intercepts and slopes."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"days": np.tile(np.arange(10.0), 100), "subject": np.repeat(np.arange(100), 10)})
    return Case("~ days + (days | subject)", data, slopes(rng, data["days"], data["subject"], m))


def slopes(rng: np.random.Generator, x: pd.Series, group: pd.Series, m: int) -> np.ndarray:
    """Responses with random intercepts and slopes; some slopes do not vary."""
    x, levels = x.to_numpy()[:, None], group.max() + 1
    intercepts = rng.normal(size=(levels, m)) * rng.uniform(0.0, 2.0, m)
    effects = rng.normal(size=(levels, m)) * rng.uniform(0.0, 0.6, m) * (rng.uniform(size=m) > 0.25)
    noise = rng.normal(size=(len(x), m))
    return 10.0 + intercepts[group] + (0.5 + effects[group]) * x + noise


def twins(m: int) -> Case:
    """(b) 35 MZ and 90 DZ pairs, a family variance for each kind; some variances are zero."""
    rng = np.random.default_rng(2)
    family = np.repeat(np.arange(125), 2)
    mz = (family < 35).astype(float)
    data = pd.DataFrame(
        {
            "family": family, "MZ": mz, "DZ": 1.0 - mz, "age": np.repeat(rng.integers(20, 41, 125), 2),
            "bmi": rng.normal(25.0, 4.0, 250).round(2), "diagnosis": rng.choice(["HC", "MDD", "BD", "SZ"], 250),
        }
    )  # fmt: skip
    sds = np.stack([rng.uniform(0.0, top, m) * (rng.uniform(size=m) > 0.3) for top in (1.4, 2.0)])
    effects = rng.normal(size=(125, m))[family] * sds[mz.astype(int)]
    y = 3.0 + 0.05 * rng.normal(size=m) * data[["age"]].to_numpy() + effects + rng.normal(size=(250, m))
    return Case("~ diagnosis + age + bmi + (0 + MZ | family) + (0 + DZ | family)", data, y)


def crossed(m: int) -> Case:
    """(c) 24 plates crossed with 12 samples, 400 rows."""
    rng = np.random.default_rng(3)
    cells = rng.permutation(24 * 12 * 2)[:400] // 2
    data = pd.DataFrame({"plate": cells // 12, "sample": cells % 12, "x": rng.normal(size=400)})
    plates = rng.normal(size=(24, m)) * rng.uniform(0.0, 2.0, m)
    samples = rng.normal(size=(12, m)) * rng.uniform(0.0, 2.0, m) * (rng.uniform(size=m) > 0.3)
    y = 1.0 + np.outer(data["x"], rng.normal(size=m)) + plates[data["plate"]] + samples[data["sample"]]
    return Case("~ x + (1 | plate) + (1 | sample)", data, y + rng.normal(size=(400, m)))


def irregular(m: int) -> Case:
    """(d) 1,000 subjects with 5 rows each, at times of their own."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"t": rng.uniform(0.0, 5.0, 5000), "subject": np.repeat(np.arange(1000), 5)})
    return Case("~ t + (t | subject)", data, slopes(rng, data["t"], data["subject"], m))


def missing(m: int) -> Case:
    """(e) As (a), each response with its own 5 % of the rows missing."""
    case = days(m)
    gone = np.random.default_rng(5).uniform(size=case.y.shape) < 0.05
    return dataclasses.replace(case, y=np.where(gone, np.nan, case.y), beside=case.y)


def hopeless(m: int) -> Case:
    """(f) As (a), 1 % of the responses constant, without a value, or with an infinite one."""
    case = days(m)
    some = np.arange(0, m, 100)
    y = case.y.copy()
    y[:, some[0::3]], y[:, some[1::3]], y[7, some[2::3]] = 1.0, np.nan, np.inf
    return dataclasses.replace(case, y=y, beside=case.y, difficult=np.isin(np.arange(m), some))


def hard(m: int) -> Case:
    """(g) As (a), 1 % of the responses hard: slope variances 1e6 times the residual's, or nearly perfect fits."""
    case, rng = days(m), np.random.default_rng(7)
    some = np.arange(0, m, 100)
    x, group = case.data["days"].to_numpy()[:, None], case.data["subject"]
    slope, intercept = rng.normal(size=(2, 100, some.size))
    noise = rng.normal(size=(len(x), some.size))
    steep, perfect = 1e3 * slope[group] * x + noise, intercept[group] + slope[group] * x + 1e-5 * noise
    y = case.y.copy()
    y[:, some] = np.where(np.arange(some.size) % 2 == 0, steep, perfect)
    return dataclasses.replace(case, y=y, beside=case.y, difficult=np.isin(np.arange(m), some))


CASES: dict[str, tuple[Callable[[int], Case], int]] = {
    "a": (days, 10_000), "b": (twins, 20_000), "c": (crossed, 2_000), "d": (irregular, 5_000), "e": (missing, 5_000),
    "f": (hopeless, 10_000), "g": (hard, 10_000),
}  # fmt: skip


def make(letter: str, scale: float) -> Case:
    builder, full = CASES[letter]
    return builder(max(round(full * scale), 20))


# ---- ours, in a process of its own -----------------------------------------------------------------------------------


@contextlib.contextmanager
def only_optima(evaluations: np.ndarray | None = None):
    """Let ``fit_many`` stop at each optimum; ``evaluations`` (m,) is filled where it is given."""
    from jaxlmm.api import responses as verb
    from jaxlmm.engine.many import batch as many
    from jaxlmm.engine.many import missing as rows_by_response
    from jaxlmm.results import many_estimates

    def add(collector, places, optima, column_cov, kept=None):
        if evaluations is not None:
            evaluations[places] = optima.n_evaluations

    def known(problems, optima, *rest):
        return optima

    with contextlib.ExitStack() as stack:
        for owner, name, other in (
            (many, "certified", known), (rows_by_response, "certified", known), (many_estimates.Collector, "add", add),
            (verb._ColumnCovariances, "of_all_rows", lambda self: np.zeros(())),
            (verb._ColumnCovariances, "by_response", lambda self, observed: np.zeros(())),
        ):  # fmt: skip
            stack.enter_context(mock.patch.object(owner, name, other))
        yield


def to_optimum(case: Case, y: np.ndarray) -> None:
    import jaxlmm as lmm

    with only_optima():
        lmm.fit_many(case.formula, case.data, responses=y, progress=False)


def to_table(case: Case, y: np.ndarray) -> None:
    import jaxlmm as lmm

    lmm.fit_many(case.formula, case.data, responses=y, progress=False).tidy()


KINDS = {"to the optimum": to_optimum, "to the table": to_table}


def peak_memory() -> float:
    """The largest memory in MiB that this process held; a new process starts at zero only in Linux's own count."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) / 1024, 1)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def spread(times: list[float], m: int) -> dict:
    middle = statistics.median(times)
    return {
        "seconds": middle, "min": min(times), "max": max(times), "repeats": len(times),
        "µs per response": round(middle / m * 1e6, 1),
    }  # fmt: skip


def clock(run: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def warm(letter: str, scale: float, repeats: int) -> dict:
    """Time one case in this process, and read its memory."""
    import jax

    import jaxlmm as lmm

    case, before = make(letter, scale), peak_memory()
    n, m = case.y.shape
    many = lmm.fit_many(case.formula, case.data, responses=case.y, progress=False)
    many.tidy()
    peak, stats = peak_memory(), jax.devices()[0].memory_stats() or {}
    row: dict = {
        "formula": case.formula, "rows": n, "responses": m, "device": str(jax.devices()[0]),
        "devices": len(jax.local_devices()),
        "solver": many.estimates.solver, "status": many.status.value_counts().to_dict(),
        "reasons": many.failed()["reason"].value_counts().to_dict(),
        "memory, MiB": {
            "responses": round(case.y.nbytes / 2**20, 1), "peak before the first fit": before, "peak": peak,
            **({"peak of the device": round(stats["peak_bytes_in_use"] / 2**20, 1)} if stats else {}),
        },
        "loglik": [None if np.isnan(value) else value for value in many.glance()["loglik"][:LME4_RESPONSES].tolist()],
    }  # fmt: skip
    del many
    evaluations = np.zeros(m, int)
    with only_optima(evaluations):
        lmm.fit_many(case.formula, case.data, responses=case.y, progress=False)
    difficult = np.zeros(m, bool) if case.difficult is None else case.difficult
    row["evaluations"] = {"median": float(np.median(evaluations[~difficult])), "most": int(evaluations.max())}
    if difficult.any():
        row["evaluations"]["median of the difficult ones"] = float(np.median(evaluations[difficult]))
    tables = {"": case.y} if case.beside is None else {"": case.y, " without the difficulty": case.beside}
    for kind, run in KINDS.items():
        times: dict[str, list[float]] = {name: [] for name in tables}
        for y in tables.values():
            run(case, y)
        for _ in range(repeats):
            for name, y in tables.items():
                times[name].append(clock(lambda run=run, y=y: run(case, y)))
        for name, found in times.items():
            row[kind + name] = spread(found, m)
        if case.beside is not None:
            pairs = np.array(times[""]) / np.array(times[" without the difficulty"])
            row[f"ratio, {kind}"] = {
                "median": round(float(np.median(pairs)), 3), "min": round(pairs.min(), 3), "max": round(pairs.max(), 3)
            }  # fmt: skip
    return row


def cold(letter: str, scale: float) -> dict:
    """Time the first and the second call of this process, with what is compiled for the first."""
    import formulaic  # noqa: F401
    import jax

    import jaxlmm as lmm  # noqa: F401

    compiled: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(seconds)

    case = make(letter, scale)
    jax.monitoring.register_event_duration_secs_listener(listen)
    first = clock(lambda: to_table(case, case.y))
    programs, spent = len(compiled), sum(compiled)
    second = clock(lambda: to_table(case, case.y))
    return {
        "first call": first, "second call": second, "tracing and compiling": first - second,
        "compiling alone": spent, "programmes": programs,
    }  # fmt: skip


def peer(letter: str, scale: float) -> dict:
    """Time mixedlm on a few responses."""
    try:
        import mixedlm
    except ImportError:
        return {"left out": "not installed"}
    case = make(letter, scale)
    times, logliks = [], []
    try:
        for j in range(min(MIXEDLM_RESPONSES, case.y.shape[1])):
            data = case.data.assign(y=case.y[:, j])
            data = data[np.isfinite(data["y"])].reset_index(drop=True)
            for timed in (False, True) if j == 0 else (True,):
                start = time.perf_counter()
                fit = mixedlm.lmer(f"y {case.formula}", data)
                if timed:
                    times.append(time.perf_counter() - start)
            logliks.append(float(fit.logLik().value))
    except Exception as error:
        return {"left out": f"{type(error).__name__}: {error}"[:200]}
    per_response = statistics.median(times)
    return {
        "responses": len(times), "seconds per response": per_response, "min": min(times), "max": max(times),
        "loglik": logliks,
    }  # fmt: skip


# ---- the run ---------------------------------------------------------------------------------------------------------


def child(what: str, letter: str, scale: float, repeats: int, *, cached: bool = True) -> dict:
    environment = {key: value for key, value in os.environ.items() if cached or "CACHE" not in key}
    environment |= {} if cached else {"JAXLMM_CACHE_DIR": ""}
    environment.setdefault("JAX_NUM_CPU_DEVICES", str(os.cpu_count()))
    command = [sys.executable, __file__, str(scale), "--child", what, "--cases", letter, "--repeats", str(repeats)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def lme4(letter: str, scale: float, repeats: int) -> dict:
    """Time lme4 in R on the first responses."""
    if shutil.which("Rscript") is None:
        return {"left out": "no Rscript"}
    case = make(letter, scale)
    some = min(LME4_RESPONSES, max(round(LME4_RESPONSES * scale), 5), case.y.shape[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case.data.to_csv(folder / "data.csv", index=False)
        pd.DataFrame(case.y[:, :some]).add_prefix("y").to_csv(folder / "responses.csv", index=False)
        (folder / "lme4.R").write_text(R_SCRIPT)
        files = [str(folder / file) for file in ("lme4.R", "data.csv", "responses.csv")]
        done = subprocess.run(["Rscript", *files, case.formula, str(repeats)], capture_output=True, text=True)
    if done.returncode:
        return {"left out": done.stderr.strip()[-300:]}
    return json.loads(done.stdout)


def beside(row: dict, theirs: dict, mixedlm: dict) -> None:
    """Put the peers, and the ratios of times per response, into a row."""
    m, ours = row["responses"], np.array(row["loglik"], float)
    peers = {"lme4": theirs} if "left out" in theirs else theirs
    per_response = {}
    for name, found in peers.items():
        row[name] = found
        if "times" in found:
            logliks = np.atleast_1d(found["loglik"]).astype(float)
            k = logliks.size
            each = statistics.median(found["times"]) / k
            per_response[name] = each
            above = logliks - ours[:k]
            row[name] = {
                "responses": k, "seconds per response": each, "min": min(found["times"]) / k,
                "max": max(found["times"]) / k, "repeats": len(found["times"]),
                "seconds for all, extrapolated": each * m,
                "its loglik above ours, at most": float(above.max()),
                "its loglik below ours by more than 1e-3": int(np.sum(above < -1e-3)),
            }  # fmt: skip
    if "loglik" in mixedlm:
        per_response["mixedlm"] = mixedlm["seconds per response"]
        above = np.array(mixedlm.pop("loglik")) - ours[: mixedlm["responses"]]
        mixedlm |= {
            "seconds for all, extrapolated": mixedlm["seconds per response"] * m,
            "its loglik above ours, at most": float(above.max()),
            "its loglik below ours by more than 1e-3": int(np.sum(above < -1e-3)),
        }
    row["mixedlm"] = mixedlm
    row["ratios: theirs / ours"] = {
        name: {kind: round(each * m / row[kind]["seconds"], 1) for kind in KINDS} for name, each in per_response.items()
    }
    del row["loglik"]


def main(scale: float, cases: str, out: Path | None) -> None:
    repeats = 5 if scale >= 1 else 2
    packages = ("jax", "jaxlib", "numpy", "pandas", "jaxlmm")
    results: dict = {
        "scale": scale, "python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in packages}, "cases": {},
    }  # fmt: skip
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        results["versions"]["mixedlm"] = importlib.metadata.version("mixedlm")
    for letter in cases:
        row = child("warm", letter, scale, repeats)
        if letter in COLD:
            row["cold"] = child("cold", letter, scale, repeats, cached=False)
        if letter == "f":
            theirs = mixedlm = {"left out": "a loop stops at the first hopeless response"}
        else:
            theirs, mixedlm = lme4(letter, scale, min(repeats, 3)), child("peer", letter, scale, repeats)
        results["versions"] |= theirs.pop("versions", {})
        results["device"] = row["device"]
        beside(row, theirs, mixedlm)
        name = str(CASES[letter][0].__doc__).splitlines()[0]
        results["cases"][name] = row
        print(name, json.dumps(row, indent=1, ensure_ascii=False), flush=True)
        if out is not None:
            out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("scale", type=float, nargs="?", default=1.0)
    parser.add_argument("--cases", default="".join(CASES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=("warm", "cold", "peer"))
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.child is None:
        main(given.scale, given.cases, given.out or (RESULTS if given.scale >= 1 else None))
    else:
        work = {
            "warm": lambda: warm(given.cases, given.scale, given.repeats),
            "cold": lambda: cold(given.cases, given.scale),
            "peer": lambda: peer(given.cases, given.scale),
        }
        print(json.dumps(work[given.child]()))
