"""One known matrix: one response on n = 2,000, and 5,000 responses on n = 500, beside what the work costs at least.

``python benchmarks/one_matrix.py [scale]`` prints the cases as JSON; ``scale`` below 1 is a quick trial. Peers in the
same process: a plain SciPy optimum on the eigenbasis, Newton's method for all responses at once in plain NumPy, the
rotation alone; and GEMMA (``-vc 2``) where it is installed.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

import jaxlmm as lmm

RUNS = 3
SOME = 100
"""Responses that the loop over SciPy's optimum takes; its time is that of all in proportion."""


def simulated(n: int, m: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return data with one covariate, a relationship matrix of 4 n markers, and responses (n, m)."""
    rng = np.random.default_rng(seed)
    counts = rng.binomial(2, rng.uniform(0.1, 0.5, 4 * n), size=(n, 4 * n)).astype(float)
    counts -= counts.mean(axis=0)
    matrix = counts @ counts.T / (4 * n)
    matrix /= np.trace(matrix) / n
    share = rng.uniform(0.1, 0.9, m)
    effects = counts @ rng.normal(size=(4 * n, m)) / np.sqrt(np.sum(counts**2) / n)
    y = np.sqrt(share) * effects + np.sqrt(1 - share) * rng.normal(size=(n, m))
    ids = np.array([f"i{number:05d}" for number in range(n)])
    return pd.DataFrame({"id": ids, "x": rng.normal(size=n)}), pd.DataFrame(matrix, ids, ids), y


def timed(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return the first run's seconds, the median of the next, and what the last returned."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:]), found


def reml(ratio: float, s: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Return the REML criterion of one rotated response (n,), up to a constant."""
    n, p = x.shape
    w = 1.0 / (1.0 + ratio * s)
    information = x.T @ (w[:, None] * x)
    cross = x.T @ (w * y)
    square = y @ (w * y) - cross @ np.linalg.solve(information, cross)
    return float(-np.log(w).sum() + np.linalg.slogdet(information)[1] + (n - p) * np.log(square / (n - p)))


def by_scipy(s: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Return the variance ratio of one rotated response by SciPy's bounded search."""
    found = minimize_scalar(
        lambda log_ratio: reml(np.exp(log_ratio), s, x, y), bounds=(-12.0, 12.0), method="bounded",
        options={"xatol": 1e-8},
    )  # fmt: skip
    return float(np.exp(found.x))


def by_newton(s: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the variance ratios (m,) of rotated responses (n, m): a grid, then six Newton steps for all at once."""
    (n, p), m = x.shape, y.shape[1]
    pairs = (x[:, :, None] * x[:, None, :]).reshape(n, p * p)
    products = (x[:, :, None] * y[:, None, :]).reshape(n, p * m)
    grid = np.array([0.05, 0.1, 0.18, 0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.5, 8.0, 15.0, 40.0]) ** 2
    w = 1.0 / (1.0 + grid[:, None] * s)
    information = (w @ pairs).reshape(-1, p, p)
    cross = (w @ products).reshape(-1, p, m)
    square = w @ y**2 - np.einsum("gpm,gpm->gm", cross, np.linalg.solve(information, cross))
    value = -np.log(w).sum(axis=1)[:, None] + np.linalg.slogdet(information)[1][:, None] + (n - p) * np.log(square)
    log_ratio, step = np.log(grid)[value.argmin(axis=0)], 1e-3
    for _ in range(6):
        f = []
        for shift in (-step, 0.0, step):
            w = 1.0 / (1.0 + np.exp(log_ratio + shift)[:, None] * s)
            information = (w @ pairs).reshape(m, p, p)
            pulled = w * y.T
            cross = pulled @ x
            square = np.sum(pulled * y.T, axis=1)
            square -= np.sum(cross * np.linalg.solve(information, cross[..., None])[..., 0], axis=1)
            f.append(-np.log(w).sum(axis=1) + np.linalg.slogdet(information)[1] + (n - p) * np.log(square))
        slope, curvature = (f[2] - f[0]) / (2 * step), (f[2] - 2 * f[1] + f[0]) / step**2
        log_ratio = np.clip(log_ratio - np.clip(slope / np.where(curvature > 0, curvature, 1.0), -1, 1), -12, 12)
    return np.exp(log_ratio)


def one_response(n: int = 2000) -> dict[str, Any]:
    """One response, one matrix: the whole of ``fit`` beside its decomposition, SciPy's optimum and GEMMA."""
    data, matrix, y = simulated(n, 1)
    data["y"] = y[:, 0]
    cold, warm, fit = timed(lambda: lmm.fit("y ~ x + (1 | id)", data, kinship={"id": matrix}))
    _, decomposition, (s, u) = timed(lambda: np.linalg.eigh(matrix.to_numpy()))
    x = u.T @ np.column_stack([np.ones(n), data["x"]])
    _, scipy, ratio = timed(lambda: by_scipy(s, x, u.T @ y[:, 0]))
    assert abs(fit.theta[0] ** 2 / ratio - 1) < 1e-4
    found = {
        "rows": n, "cold": cold, "warm": warm, "decomposition": decomposition, "scipy optimum": scipy,
        "warm / (decomposition + scipy)": warm / (decomposition + scipy), "status": fit.status,
    }  # fmt: skip
    gemma = shutil.which("gemma")
    if gemma:
        with tempfile.TemporaryDirectory() as folder:
            np.savetxt(Path(folder) / "k.txt", matrix.to_numpy())
            np.savetxt(Path(folder) / "y.txt", y[:, 0])
            np.savetxt(Path(folder) / "c.txt", np.column_stack([np.ones(n), data["x"]]))
            command = [gemma, "-p", "y.txt", "-k", "k.txt", "-c", "c.txt", "-vc", "2", "-outdir", ".", "-o", "found"]
            start = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            found["gemma -vc 2, whole process"] = time.perf_counter() - start
    return found


def many_responses(n: int = 500, m: int = 5000) -> dict[str, Any]:
    """Many responses on one matrix: ``fit_many`` beside the rotation product and the optima in plain NumPy."""
    data, matrix, y = simulated(n, m)
    run = {"responses": y, "kinship": {"id": matrix}, "progress": False}
    cold, warm, many = timed(lambda: lmm.fit_many("~ x + (1 | id)", data, **run))
    _, decomposition, (s, u) = timed(lambda: np.linalg.eigh(matrix.to_numpy()))
    _, rotation, rotated = timed(lambda: u.T @ y)
    x = u.T @ np.column_stack([np.ones(n), data["x"]])
    _, floor, ratio = timed(lambda: by_newton(s, x, rotated))
    start = time.perf_counter()
    some = np.array([by_scipy(s, x, rotated[:, place]) for place in range(min(SOME, m))])
    scipy = (time.perf_counter() - start) * m / some.size
    mine = many.estimates.theta[:, 0] ** 2
    for ours, theirs, plain, response in zip(mine, some, ratio, rotated.T, strict=False):
        values = [reml(one, s, x, response) for one in (ours, theirs, plain)]
        assert values[0] < min(values[1:]) + 1e-6
    return {
        "rows": n, "responses": m, "cold": cold, "warm": warm, "decomposition": decomposition, "rotation": rotation,
        "optima in NumPy, all at once": floor, "optima in SciPy, one by one": scipy,
        "warm / 2 (rotation + NumPy optima)": warm / (2 * (rotation + floor)),
        "(warm - decomposition) / 2 (rotation + NumPy optima)": (warm - decomposition) / (2 * (rotation + floor)),
        "status": many.glance()["status"].value_counts().to_dict(),
    }  # fmt: skip


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(json.dumps(one_response(max(int(2000 * scale), 50)), indent=1))
    print(json.dumps(many_responses(max(int(500 * scale), 50), max(int(5000 * scale), 50)), indent=1))


if __name__ == "__main__":
    main()
