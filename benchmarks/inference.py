"""What comes after a fit, beside lme4, pbkrtest and emmeans: profiles, bootstraps, Kenward–Roger, marginal means.

Usage: python benchmarks/inference.py [--peers / --no-peers] [--out FILE]

Warm: medians of seven calls after a first one, with their range. Cold: the first call of this process, with compiled
programs in an empty folder. R's times are of one call, of the bootstrap of 200 refits times fifty. Written to
``results/inference.json``.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

R = """
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(emmeans)})
sleep <- read.csv(file.path(commandArgs(TRUE)[1], "sleepstudy.csv")); sleep$Subject <- factor(sleep$Subject)
cake <- read.csv(file.path(commandArgs(TRUE)[1], "cake.csv"))
for (f in c("replicate", "recipe", "temperature")) cake[[f]] <- factor(cake[[f]])
clock <- function(name, code) cat(name, system.time(code)[["elapsed"]], "\n")
m <- lme4::lmer(Reaction ~ Days + (Days | Subject), sleep)
ml <- lme4::lmer(Reaction ~ Days + (Days | Subject), sleep, REML = FALSE)
k <- lmerTest::lmer(angle ~ recipe * temperature + (1 | recipe:replicate), cake)
clock("profile", suppressWarnings(confint(ml, method = "profile", quiet = TRUE)))
clock("bootstrap", suppressWarnings(bootMer(m, function(f) c(fixef(f), getME(f, "theta")), nsim = 200, seed = 1)))
clock("kenward_roger", summary(k, ddf = "Kenward-Roger"))
clock("anova", anova(k, type = 3))
clock("influence", influence(m, groups = "Subject"))
clock("influence_rows", influence(m))
clock("emmeans", pairs(emmeans(k, ~ temperature | recipe, lmer.df = "satterthwaite")))
"""
NAMES = {
    "profile": "profile limits of the six parameters of the sleep study",
    "bootstrap": "10,000 bootstrap refits of the sleep study",
    "kenward_roger": "Kenward–Roger's table of the cakes",
    "anova": "type III tests of the cakes",
    "influence": "influence of the 18 subjects of the sleep study",
    "influence_rows": "influence of its 180 rows",
    "predict": "its predictions with standard errors",
    "profile_many": "the same profiles of 300 responses, each",
    "emmeans": "45 comparisons of marginal means of the cakes",
}


def measured(function, repeats=7):
    """Seconds of the first call, and the median and range of the next ones."""
    start = time.perf_counter()
    function()
    cold, warm = time.perf_counter() - start, []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        warm.append(time.perf_counter() - start)
    return {"cold": cold, "median": statistics.median(warm), "min": min(warm), "max": max(warm)}


def each(seconds, count):
    """Seconds of one of ``count`` responses."""
    return {name: value / count for name, value in seconds.items()}


def ours():
    import numpy as np

    import jaxlmm as lmm

    sleep, cake = lmm.datasets.sleepstudy(), lmm.datasets.cake()
    study = lmm.fit("Reaction ~ Days + (Days | Subject)", sleep)
    ml = lmm.fit("Reaction ~ Days + (Days | Subject)", sleep, method="ML")
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    cakes = lmm.fit(formula, cake)
    y = sleep[["Reaction"]].to_numpy() + 30.0 * np.random.default_rng(0).normal(size=(len(sleep), 300))
    many = lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=y, method="ML")
    fits = iter([cakes, *(lmm.fit(formula, cake) for _ in range(8))])  # a fit keeps what Kenward–Roger needs
    return {
        "profile": measured(lambda: ml.confint(method="profile")),
        "bootstrap": measured(lambda: study.bootstrap(10_000, seed=1)),
        "kenward_roger": measured(lambda: next(fits).coef("kenward-roger")),
        "anova": measured(lambda: cakes.anova()),
        "influence": measured(lambda: study.influence("Subject").to_frame()),
        "influence_rows": measured(lambda: study.influence().to_frame()),
        "predict": measured(lambda: study.predict()),
        "profile_many": each(measured(lambda: many.confint(method="profile"), 3), len(many)),
        "emmeans": measured(lambda: cakes.emmeans("temperature", by="recipe").pairs()),
    }


def of_r():
    data = Path(__file__).parent.parent / "jaxlmm" / "datasets"
    done = subprocess.run(["Rscript", "-e", R, str(data)], check=True, capture_output=True, text=True, timeout=600)
    lines = [line.split() for line in done.stdout.splitlines()]
    seconds = {words[0]: float(words[1]) for words in lines if len(words) == 2}
    seconds["bootstrap"] *= 50.0
    seconds["profile_many"] = seconds["profile"]
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "inference.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAXLMM_CACHE_DIR"] = folder
        import jax

        found = ours()
    peers = of_r() if arguments.peers and shutil.which("Rscript") else {}
    cases = {name: {"what": NAMES[name], **found[name], "R": peers.get(name)} for name in NAMES}
    results = {
        "python": platform.python_version(), "jax": jax.__version__, "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(), "cases": cases,
    }  # fmt: skip
    for case in cases.values():
        ratio = f"{case['R'] / case['median']:.1f}" if case["R"] else "-"
        print(f"{case['what']:60s} cold {case['cold']:.2f} s, warm {case['median']:.4f} s, R / warm {ratio}")
    Path(arguments.out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
