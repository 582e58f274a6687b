"""Known matrices: several on one term, families with households, the GAW pedigrees, beside other programs.

Run ``python benchmarks/kinship.py [scale] [--cases NAME …]``; ``scale`` shrinks the sizes for a trial. Every program
gets the same numbers. Times are seconds, medians with their range; a peer's is also given as a multiple of ours.
Results go to ``benchmarks/results/kinship.json`` (with a scale of 1 and all cases).

The first two cases (``one_matrix.py``) are those of an eigenbasis, the others those where none serves:

one      One response on one genomic matrix of 2,000 people.
many     5,000 responses on one genomic matrix of 500 people, beside the rotation and the optima in plain NumPy.
two      Two genomic matrices on 1,000 people who are all related: one cluster, so each evaluation is a dense one.
families A pedigree's matrix and households in families of 5 to 40, for 300, 600 and 1,200 families: the cost is to be
         linear, so that twice the families take less than 2.5 times as long.
gaw      The three fits of lmekin's document: about 1,000 people in 23 pedigrees.

Ours is ``lmm.fit``, everything from the formula to standard errors, modes and certificate; ``cold`` is the first of a
new process without a compilation cache. Peers: the optimum alone by SciPy (L-BFGS-B on the log standard deviations,
Cholesky of V, family by family where there are families, as one would write it); GEMMA's ``-vc 2`` with its reading of
files; ``lmekin`` inside R. Programs that are not there are left out.
"""

import argparse
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

import numpy as np
import pandas as pd
from one_matrix import many_responses, one_response
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

HERE = Path(__file__).parent

R_SCRIPT = """
suppressMessages(library(coxme)); suppressMessages(library(Matrix))
read <- function(file) { t <- read.csv(file, colClasses = c("character", "character", "numeric"))
  ids <- unique(c(t$id1, t$id2))
  m <- sparseMatrix(i = match(t$id1, ids), j = match(t$id2, ids), x = t$value, dims = rep(length(ids), 2),
    dimnames = list(ids, ids), symmetric = TRUE); m }
arguments <- commandArgs(TRUE); folder <- arguments[1]
data <- read.csv(file.path(folder, "data.csv"), colClasses = c(id = "character"))
kin <- lapply(arguments[-(1:2)], function(name) read(file.path(folder, name)))
if (length(kin) == 1) kin <- kin[[1]]
for (i in 1:3) { start <- proc.time()[["elapsed"]]
  fit <- lmekin(as.formula(arguments[2]), data = data, varlist = kin)
  cat(proc.time()[["elapsed"]] - start, as.numeric(fit$loglik), "\\n") }
"""

COLD = """
import pickle, sys, time
import jaxlmm as lmm
formula, data, options = pickle.load(open(sys.argv[1], "rb"))
start = time.perf_counter()
lmm.fit(formula, data, **options)
print(time.perf_counter() - start)
"""


def genomic(n: int, markers: int, seed: int, ids: list[str]) -> pd.DataFrame:
    """A genomic relationship matrix of simulated genotypes, its mean diagonal 1."""
    counts = np.random.default_rng(seed).binomial(2, 0.3, (n, markers)).astype(float)
    centered = counts - counts.mean(axis=0)
    matrix = centered @ centered.T
    return pd.DataFrame(matrix / np.mean(np.diag(matrix)), index=ids, columns=ids)


def family(size: int) -> np.ndarray:
    """The additive relationship of two parents and their children."""
    matrix = 0.5 * np.eye(size) + 0.5
    matrix[0, 1] = matrix[1, 0] = 0.0
    return matrix


def families(count: int, seed: int = 1) -> tuple[pd.DataFrame, object]:
    """Families of 5 to 40 in up to four households each, with effects of both."""
    import jaxlmm as lmm

    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 41, count)
    blocks = [family(size) for size in sizes]
    number = np.repeat(np.arange(count), sizes)
    data = pd.DataFrame({"id": [f"i{place}" for place in range(number.size)], "fam": number})
    data["house"] = 4 * number + rng.integers(0, 4, number.size)
    data["x"] = rng.normal(size=number.size)
    genetic = np.concatenate([np.linalg.cholesky(block) @ rng.normal(size=len(block)) for block in blocks])
    house = rng.normal(size=4 * count)[data["house"]]
    data["y"] = 1.0 + 0.3 * data["x"] + genetic + 0.7 * house + rng.normal(size=number.size)
    return data, lmm.genetics.relationship(sparse.block_diag(blocks, format="csr"), labels=data["id"])


def plain(y: np.ndarray, x: np.ndarray, blocks: list[tuple[np.ndarray, list[np.ndarray]]]) -> tuple[float, int]:
    """The REML criterion at its optimum by SciPy, and its evaluations; ``blocks`` are rows and a matrix per term."""
    count = 0

    def objective(log_sd: np.ndarray) -> float:
        nonlocal count
        count += 1
        variances = np.exp(2.0 * np.append(log_sd, 0.0))
        information, cross, square, logdet = np.zeros((x.shape[1],) * 2), np.zeros(x.shape[1]), 0.0, 0.0
        for rows, parts in blocks:
            h = np.eye(rows.size) + sum(v * part for v, part in zip(variances, parts, strict=False))
            factor = cho_factor(h, lower=True, overwrite_a=True, check_finite=False)
            solved = cho_solve(factor, np.column_stack([x[rows], y[rows]]), check_finite=False)
            information += x[rows].T @ solved[:, :-1]
            cross += x[rows].T @ solved[:, -1]
            square += y[rows] @ solved[:, -1]
            logdet += 2.0 * np.log(np.diag(factor[0])).sum()
        free = y.size - x.shape[1]
        r2 = square - cross @ np.linalg.solve(information, cross)
        return logdet + np.linalg.slogdet(information)[1] + free * (1.0 + np.log(2.0 * np.pi * r2 / free))

    found = minimize(objective, np.zeros(len(blocks[0][1])), method="L-BFGS-B")
    return float(found.fun), count


def clock(function: Callable[[], object], repeats: int = 3) -> tuple[dict, object]:
    """Seconds of a call that was made once before, and its last result."""
    found, times = function(), []
    for _ in range(repeats):
        start = time.perf_counter()
        found = function()
        times.append(time.perf_counter() - start)
    return {"median": statistics.median(times), "min": min(times), "max": max(times), "repeats": repeats}, found


def ours(formula: str, data: pd.DataFrame, **options: object) -> dict:
    """Time ``lmm.fit``, warm and cold."""
    import pickle

    import jaxlmm as lmm

    warm, fit = clock(lambda: lmm.fit(formula, data, **options))
    environment = {key: value for key, value in os.environ.items() if "CACHE" not in key} | {"JAXLMM_CACHE_DIR": ""}
    with tempfile.NamedTemporaryFile(suffix=".pkl") as file:
        file.write(pickle.dumps((formula, data, options)))
        file.flush()
        done = subprocess.run(
            [sys.executable, "-c", COLD, file.name], env=environment, capture_output=True, text=True, check=True
        )
    return {
        "warm": warm, "cold": float(done.stdout.split()[-1]), "deviance": fit.deviance, "loglik": fit.loglik,
        "status": fit.status, "solver": f"{fit.solver} ({fit.solver_reason})",
        "evaluations": fit.solution.n_evaluations, "estimates": fit.variance()["estimate"].to_dict(),
    }  # fmt: skip


def beside(found: dict, name: str, peer: dict | None) -> None:
    """Put a peer beside ours, as a multiple."""
    if peer is not None:
        found[name] = {**peer, "as a multiple of ours": peer["warm"]["median"] / found["jaxlmm"]["warm"]["median"]}


def gemma(y: np.ndarray, x: np.ndarray, matrices: list[np.ndarray]) -> dict | None:
    """Time GEMMA's REML of several matrices, reading of files included."""
    if shutil.which("gemma") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        np.savetxt(here / "y.txt", y)
        np.savetxt(here / "x.txt", x)
        for number, matrix in enumerate(matrices):
            np.savetxt(here / f"k{number}.txt", matrix, fmt="%.10g")
        (here / "list.txt").write_text("".join(f"{here}/k{number}.txt\n" for number in range(len(matrices))))
        command = ["gemma", "-p", "y.txt", "-c", "x.txt", "-mk", "list.txt", "-vc", "2", "-outdir", folder, "-o", "out"]
        times, _ = clock(lambda: subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True), 3)
        log = (here / "out.log.txt").read_text().splitlines()
    reported = [line.lstrip("# ").strip() for line in log if "sigma2" in line or "pve" in line]
    return {"warm": times, "reported": reported}


def lmekin(formula: str, data: pd.DataFrame, matrices: list[object]) -> dict | None:
    """Time lmekin inside R, where coxme is there."""
    if shutil.which("Rscript") is None:
        return None
    if subprocess.run(["Rscript", "-e", "library(coxme)"], capture_output=True, check=False).returncode:
        return None
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        data.to_csv(here / "data.csv", index=False)
        for number, matrix in enumerate(matrices):
            entries = sparse.tril(matrix.matrix).tocoo()
            names = np.asarray(matrix.labels.astype(str))
            pairs = {"id1": names[entries.row], "id2": names[entries.col], "value": entries.data}
            pd.DataFrame(pairs).to_csv(here / f"k{number}.csv", index=False)
        (here / "time.R").write_text(R_SCRIPT)
        names = [f"k{number}.csv" for number in range(len(matrices))]
        done = subprocess.run(["Rscript", here / "time.R", folder, formula, *names], capture_output=True, text=True)
    if done.returncode:
        return None
    rows = np.array([[float(word) for word in line.split()] for line in done.stdout.splitlines()[-3:]])
    times = {"median": float(np.median(rows[:, 0])), "min": rows[:, 0].min(), "max": rows[:, 0].max(), "repeats": 3}
    return {"warm": times, "loglik": rows[-1, 1]}


def two(scale: float) -> dict:
    """Two genomic matrices on n people."""
    n = max(round(1000 * scale), 50)
    ids = [f"i{place}" for place in range(n)]
    one, other = (genomic(n, 3 * n, seed, ids) for seed in (1, 2))
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    root = np.linalg.cholesky(0.4 * one + 0.3 * other + 0.4 * np.eye(n))
    data = pd.DataFrame({"id": ids, "x": x, "y": 1.0 + 0.2 * x + root @ rng.normal(size=n)})
    found: dict = {"n": n, "jaxlmm": ours("y ~ x + (1 | id)", data, kinship={"id": {"one": one, "other": other}})}
    y, columns = data["y"].to_numpy(), np.column_stack([np.ones(n), x])
    blocks = [(np.arange(n), [one.to_numpy(), other.to_numpy()])]
    times, (deviance, count) = clock(lambda: plain(y, columns, blocks))
    beside(found, "SciPy, optimum alone", {"warm": times, "deviance": deviance, "evaluations": count})
    beside(found, "GEMMA -vc 2", gemma(y, columns, [one.to_numpy(), other.to_numpy()]))
    return found


def household(scale: float) -> dict:
    """A pedigree's matrix and households, for three numbers of families."""
    found: dict = {}
    for count in (300, 600, 1200):
        count = max(round(count * scale), 4)
        data, matrix = families(count)
        one: dict = {"n": len(data)}
        one["jaxlmm"] = ours("y ~ x + (1 | id) + (1 | house)", data, kinship={"id": matrix})
        y, x = data["y"].to_numpy(), np.column_stack([np.ones(len(data)), data["x"]])
        blocks = []
        for rows in data.groupby("fam").indices.values():
            house = data["house"].to_numpy()[rows]
            blocks.append((rows, [family(rows.size), (house[:, None] == house).astype(float)]))
        times, (deviance, evaluations) = clock(lambda y=y, x=x, blocks=blocks: plain(y, x, blocks), 1)
        beside(one, "SciPy, optimum alone", {"warm": times, "deviance": deviance, "evaluations": evaluations})
        if count <= 300:
            beside(one, "lmekin", lmekin("y ~ x + (1 | id) + (1 | house)", data, [matrix]))
        if found:
            before = list(found.values())[-1]["jaxlmm"]["warm"]["median"]
            one["as a multiple of half the families"] = one["jaxlmm"]["warm"]["median"] / before
        found[f"{count} families"] = one
    return found


def gaw(scale: float) -> dict:
    """The fits of lmekin's document."""
    import jaxlmm as lmm

    sys.path.insert(0, str(HERE.parent / "tests"))
    from references import known_matrix

    data, phi = lmm.datasets.gaw(), known_matrix("gaw_kinship.csv.gz")
    ibd = known_matrix("gaw_ibd6.90.csv.gz")
    models = {
        "2 * kinship": ("age ~ q1 + (1 | id)", [2 * phi]),
        "kinship and ibd": ("age ~ 1 + (1 | id)", [phi, ibd]),
        "kinship and family": ("age ~ q1 + (1 | id) + (1 | famid)", [phi]),
    }
    found = {}
    for name, (formula, matrices) in models.items():
        known = {"id": matrices if len(matrices) > 1 else matrices[0]}
        one: dict = {"jaxlmm": ours(formula, data, kinship=known, method="ML")}
        beside(one, "lmekin", lmekin(formula, data, matrices))
        found[name] = one
    return found


def one(scale: float) -> dict:
    """One response on one matrix, n = 2,000."""
    return one_response(max(int(2000 * scale), 50))


def many(scale: float) -> dict:
    """5,000 responses on one matrix, n = 500."""
    return many_responses(max(int(500 * scale), 50), max(int(5000 * scale), 50))


CASES: dict[str, Callable[[float], dict]] = {
    "one": one, "many": many, "two": two, "families": household, "gaw": gaw,
}  # fmt: skip


def main() -> None:
    import jax

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scale", nargs="?", type=float, default=1.0)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    chosen = parser.parse_args()
    results: dict = {
        "python": platform.python_version(), "jax": jax.__version__, "cores": os.cpu_count(),
        "device": str(jax.devices()[0]), "scale": chosen.scale,
    }  # fmt: skip
    for name in chosen.cases:
        results[name] = CASES[name](chosen.scale)
        print(json.dumps({name: results[name]}, indent=1), flush=True)
    if chosen.scale == 1.0 and chosen.cases == list(CASES):
        (HERE / "results" / "kinship.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
