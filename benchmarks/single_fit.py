"""One model, one response: jaxlmm beside lme4, mixedlm and statsmodels, warm and cold, in one run.

Run ``python benchmarks/single_fit.py [repeats]``. Every engine gets the same table from memory and the same
formula; times are medians over repeats with their range, in seconds. lme4 is timed inside R, with and without its
derivative check; it is left out where there is no ``Rscript``. Results go to
``benchmarks/results/single_fit.json``.

Ours are timed in four parts: ``formula to Fit`` (everything: parsing, optimum, standard errors, df, modes,
certificate), ``formula to optimum`` (what lme4 does without its check), ``design to optimum``, and ``arrays to
optimum`` (the compiled program alone). ``cold`` is the first fit of a new process, compilation included, imports not.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
DATA = HERE.parent / "tests" / "reference" / "data"
TWINS = "y ~ Age.at.metagenomics.sample + IndividualBMI + (0 + MZ | IndividualFamilyID) + (0 + DZ | IndividualFamilyID)"

R_SCRIPT = """
suppressMessages(library(lme4)); suppressMessages(library(jsonlite))
arguments <- commandArgs(TRUE)
specs <- fromJSON(arguments[1], simplifyVector = FALSE)
out <- list()
clock <- function(expression, repeats) {
  times <- numeric(0)
  for (i in seq_len(repeats)) {
    start <- proc.time()[["elapsed"]]; fit <- suppressWarnings(suppressMessages(eval(expression)))
    times <- c(times, proc.time()[["elapsed"]] - start)
  }
  list(times = times, loglik = as.numeric(logLik(fit)))
}
for (spec in specs) {
  data <- read.csv(spec$file, stringsAsFactors = FALSE)
  for (name in names(data)) if (is.character(data[[name]])) data[[name]] <- factor(data[[name]])
  for (name in unlist(spec$factors)) data[[name]] <- factor(data[[name]])
  formula <- as.formula(spec$formula); reml <- spec$method == "REML"; inner <- spec$inner
  # The clock of R has a resolution of 1 ms: a quick fit is repeated inside it.
  checked <- quote({for (j in seq_len(inner)) fit <- lmer(formula, data, REML = reml); fit})
  unchecked <- quote({for (j in seq_len(inner))
    fit <- lmer(formula, data, REML = reml, control = lmerControl(calc.derivs = FALSE)); fit})
  clock(unchecked, 1)
  one <- clock(checked, spec$repeats); two <- clock(unchecked, spec$repeats)
  out[[spec$name]] <- list(lme4 = list(times = one$times / inner, loglik = one$loglik),
    `lme4, calc.derivs = FALSE` = list(times = two$times / inner, loglik = two$loglik))
}
out$versions <- list(R = R.version.string, lme4 = as.character(packageVersion("lme4")),
  blas = extSoftVersion()[["BLAS"]])
cat(toJSON(out, auto_unbox = TRUE, digits = NA))
"""

COLD = """
import json, sys, time, pickle
import jaxlmm as lmm, formulaic
spec = pickle.load(open(sys.argv[1], "rb"))
start = time.perf_counter()
lmm.fit(spec["formula"], spec["data"], method=spec["method"])
print(time.perf_counter() - start)
"""


def reference(file: str) -> pd.DataFrame:
    """Read a reference data set with its factors."""
    schema = json.loads((DATA / f"{file}.schema.json").read_text())["columns"]
    text = [name for name, column in schema.items() if column["type"] in ("factor", "ordered", "string")]
    data = pd.read_csv(next(DATA.glob(f"{file}.csv*")), dtype=dict.fromkeys(text, str))
    for name, column in schema.items():
        if column["type"] in ("factor", "ordered"):
            data[name] = pd.Categorical(data[name], column["levels"], ordered=column["type"] == "ordered")
    return data


def slopes(levels: int = 200, rows: int = 10) -> pd.DataFrame:
    """A 3 × 3 random-slope model."""
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(levels), rows)
    x, z = rng.normal(size=(2, g.size))
    effects = rng.normal(size=(levels, 3)) @ np.linalg.cholesky([[1.0, 0.3, 0.1], [0.3, 0.5, 0.1], [0.1, 0.1, 0.4]]).T
    y = 1.0 + 0.5 * x + effects[g, 0] + effects[g, 1] * x + effects[g, 2] * z + rng.normal(size=g.size)
    return pd.DataFrame({"y": y, "x": x, "z": z, "g": [f"g{level}" for level in g]})


def models() -> dict[str, dict]:
    """The models: formula, data, method, how often."""
    import jaxlmm as lmm

    twins = lmm.datasets.twins()
    instruction = reference("InstEval")
    return {
        "sleepstudy": {
            "formula": "Reaction ~ Days + (Days | Subject)", "data": lmm.datasets.sleepstudy(), "group": "Subject",
            "statsmodels": ("Reaction ~ Days", "~Days"),
        },
        "twins": {"formula": TWINS, "data": twins},
        "Penicillin": {"formula": "diameter ~ 1 + (1 | plate) + (1 | sample)", "data": lmm.datasets.penicillin()},
        "slopes 3 x 3": {
            "formula": "y ~ x + z + (1 + x + z | g)", "data": slopes(), "group": "g",
            "statsmodels": ("y ~ x + z", "~x + z"),
        },
        "InstEval, service": {
            "formula": "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)", "data": instruction, "large": True,
        },
        "InstEval, dept * service": {
            "formula": "y ~ dept * service + (1 | s) + (1 | d)", "data": instruction, "large": True, "method": "ML",
        },
    }  # fmt: skip


def clock(run, repeats: int, warm: int = 2) -> dict:
    """Time ``run``; the first calls do not count."""
    for _ in range(warm):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return spread(times)


def spread(times: list[float]) -> dict:
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "repeats": len(times)}


def ours(spec: dict, repeats: int) -> dict[str, dict]:
    """Time the parts of a fit."""
    import jax

    import jaxlmm as lmm
    from jaxlmm.engine import descent, single
    from jaxlmm.formula import ModelOptions, build_frame, parse
    from jaxlmm.solvers import select

    formula, data, method = spec["formula"], spec["data"], spec["method"]
    fit = lmm.fit(formula, data, method=method)

    def to_optimum():
        frame = build_frame(parse(formula), data, ModelOptions())
        return single.solve_single(frame.design, frame.y, solver=select(frame.design).solver, method=method)

    solver = select(fit.design).solver
    with jax.enable_x64(True):
        seen = []
        original = descent.run

        def watched(*arguments, **options):
            seen.append((arguments, options))
            return original(*arguments, **options)

        descent.run = watched
        to_optimum()
        descent.run = original
        arguments, options = seen[0]
        found = {
            "formula to Fit": clock(lambda: lmm.fit(formula, data, method=method), repeats),
            "formula to optimum": clock(to_optimum, repeats),
            "design to optimum": clock(
                lambda: single.solve_single(fit.design, fit.frame.y, solver=solver, method=method), repeats
            ),
            "arrays to optimum": clock(lambda: jax.block_until_ready(original(*arguments, **options)), repeats),
        }
    return {
        "jaxlmm": {
            **found, "loglik": fit.loglik, "solver": fit.solver, "evaluations": fit.solution.n_evaluations,
            "status": fit.status,
        }
    }  # fmt: skip


def cold(spec: dict, folder: Path, repeats: int) -> dict:
    """Time the first fit of new processes, without a compilation cache."""
    file = folder / "spec.pickle"
    pd.to_pickle({key: spec[key] for key in ("formula", "data", "method")}, file)
    environment = {key: value for key, value in os.environ.items() if "CACHE" not in key} | {"JAXLMM_CACHE_DIR": ""}
    times = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", COLD, str(file)], env=environment, capture_output=True, text=True, check=True
        )
        times.append(float(done.stdout.splitlines()[-1]))
    return spread(times)


def peers(spec: dict, repeats: int) -> dict[str, dict]:
    """Time the peers that run in Python."""
    found = {}
    try:
        import mixedlm

        def run_mixedlm():
            return mixedlm.lmer(spec["formula"], spec["data"], REML=spec["method"] == "REML")

        found["mixedlm"] = {**clock(run_mixedlm, repeats, warm=1), "loglik": float(run_mixedlm().logLik().value)}
    except ImportError:
        found["mixedlm"] = {"left out": "not installed"}
    except Exception as error:
        found["mixedlm"] = {"left out": f"{type(error).__name__}: {error}"[:200]}
    if "statsmodels" not in spec:
        found["statsmodels"] = {"left out": "crossed factors and two terms on one factor are outside MixedLM's model"}
        return found
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM

        fixed, random = spec["statsmodels"]

        def run_statsmodels():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = MixedLM.from_formula(fixed, spec["data"], re_formula=random, groups=spec["group"])
                return model.fit(reml=spec["method"] == "REML")

        found["statsmodels"] = {**clock(run_statsmodels, repeats, warm=1), "loglik": float(run_statsmodels().llf)}
    except ImportError:
        found["statsmodels"] = {"left out": "not installed"}
    return found


def lme4(specs: dict[str, dict], folder: Path) -> dict:
    """Time lme4 on all models in one R process."""
    if shutil.which("Rscript") is None:
        return {}
    listed = []
    for name, spec in specs.items():
        file = folder / f"{len(listed)}.csv"
        spec["data"].to_csv(file, index=False)
        factors = [str(column) for column, kind in spec["data"].dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
        listed.append(
            {"name": name, "file": str(file), "formula": spec["formula"], "method": spec["method"],
             "repeats": spec["repeats"], "inner": 1 if spec.get("large") else 10, "factors": factors}
        )  # fmt: skip
    (folder / "specs.json").write_text(json.dumps(listed))
    (folder / "lme4.R").write_text(R_SCRIPT)
    command = ["Rscript", str(folder / "lme4.R"), str(folder / "specs.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main(repeats: int) -> None:
    import jax

    results: dict = {
        "python": platform.python_version(), "jax": jax.__version__, "cores": os.cpu_count(),
        "device": str(jax.devices()[0]), "models": {},
    }  # fmt: skip
    specs = models()
    for spec in specs.values():
        spec.setdefault("method", "REML")
        spec["repeats"] = max(repeats // 4, 3) if spec.get("large") else repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = lme4(specs, folder)
        results["R"] = theirs.pop("versions", None)
        for model, spec in specs.items():
            print(model, flush=True)
            row = {"formula": spec["formula"], "method": spec["method"], "rows": len(spec["data"])}
            row |= ours(spec, spec["repeats"])
            row["jaxlmm"]["cold"] = cold(spec, folder, 1 if spec.get("large") else 3)
            row |= peers(spec, spec["repeats"])
            for engine, found in theirs.get(model, {}).items():
                row[engine] = {**spread(found["times"]), "loglik": found["loglik"]}
            whole, optimum = (row["jaxlmm"][part]["median"] for part in ("formula to Fit", "formula to optimum"))
            row["ratios: theirs / ours"] = {
                engine: {
                    "to formula to Fit": round(row[engine]["median"] / whole, 2),
                    "to formula to optimum": round(row[engine]["median"] / optimum, 2),
                }
                for engine in ("lme4", "lme4, calc.derivs = FALSE", "mixedlm", "statsmodels")
                if "median" in row.get(engine, {})
            }
            results["models"][model] = row
            print(json.dumps(row, indent=1), flush=True)
    out = HERE / "results" / "single_fit.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
