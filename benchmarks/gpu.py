"""Large models on a GPU, each beside a floor: what its products and transfers take alone at the device's own rates.

Run ``python benchmarks/gpu.py [size] [--cases abcde] [--out FILE]``. ``size`` multiplies the numbers of responses,
levels, samples and markers. Where JAX has a GPU, results of size 1 go to ``benchmarks/results/gpu.json`` unless
``--out`` says otherwise; those of a trial, or of a CPU, are only printed.

The rates are measured first, the best of five: products of square matrices in float64, and transfers from the host.
``floor`` is the sum of a case's terms, each named with its size: operations that no method can do without, and what has
to be sent. ``times the floor`` is the median of three warm runs over it. Each case runs in a process of its own;
``cold`` is its first run, compilation included, with nothing compiled before.

(a) 20,000 responses of 18 subjects with random slopes; (b) InstEval's shape, 73,421 ratings of 1,128 instructors by
2,972 students; (c) MovieLens-1M's, 1,000,209 ratings of 3,706 films by 6,040 users; (d) a kinship matrix of 10,000
people; (e) a scan of 100,000 markers of 5,000 people against 1,000 traits.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

import jaxlmm as lmm

RESULTS = Path(__file__).parent / "results" / "gpu.json"
REPEATS = 3
EIGENVECTORS = 4 / 3 + 2
"""Operations for all eigenvectors over n³: of the reduction to a tridiagonal matrix, and of turning back."""
PRODUCT_SIZE, SENT_BYTES = 4096, 2**29


class Rates(NamedTuple):
    """Products in floating-point operations, transfers in bytes, both a second."""

    product: float
    transfer: float


class Case(NamedTuple):
    """What is timed, its sizes, and the terms of its floor in operations or bytes, by rate and name."""

    run: Callable[[], Any]
    sizes: dict[str, int]
    floor: Callable[[Any], dict[str, tuple[str, float]]]


def seconds(run: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, list[float], Any]:
    """Return the first run's seconds, those of warm runs, and what the last returned."""
    times, found = [], None
    for _ in range(repeats + 1):
        start = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - start)
    return times[0], times[1:], found


def measured_rates(size: float) -> Rates:
    """Measure the device's rates."""
    rng, n = np.random.default_rng(0), max(int(PRODUCT_SIZE * min(size, 1.0)), 256)
    host = rng.normal(size=max(int(SENT_BYTES * min(size, 1.0)), 2**20) // 8)
    with jax.enable_x64(True):
        matrix, product = jax.device_put(rng.normal(size=(n, n))), jax.jit(lambda a: a @ a)
        _, products, _ = seconds(lambda: product(matrix).block_until_ready(), 5)
        _, transfers, _ = seconds(lambda: jax.device_put(host).block_until_ready(), 5)
    return Rates(2.0 * n**3 / min(products), host.nbytes / min(transfers))


def many_slopes(size: float) -> Case:
    """Responses of sleepstudy's design; at least they are sent, and multiplied once with the columns of X and Z."""
    sleep = lmm.datasets.sleepstudy()
    n, m = len(sleep), max(int(20_000 * size), 100)
    rng = np.random.default_rng(1)
    codes, days = sleep["Subject"].cat.codes.to_numpy(), sleep["Days"].to_numpy(float)
    effects = rng.normal(size=(18, m))[codes] + 0.3 * days[:, None] * rng.normal(size=(18, m))[codes]
    y = effects + rng.normal(size=(n, m))

    def floor(_: Any) -> dict[str, tuple[str, float]]:
        return {
            "responses are sent": ("transfer", 8.0 * n * m),
            "responses times X and Z": ("product", 2.0 * n * m * (2 + 36)),
        }

    def run() -> Any:
        return lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=y, progress=False)

    return Case(run, {"rows": n, "responses": m}, floor)


def crossed(rows: int, first: int, second: int, size: float) -> Case:
    """Two crossed factors; at least the smaller one's matrix is factored at every evaluation (q³/3)."""
    n, one, two = (max(int(count * size), least) for count, least in ((rows, 500), (first, 20), (second, 10)))
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"a": rng.integers(0, one, n), "b": rng.integers(0, two, n), "x": rng.normal(size=n)})
    data["y"] = 0.3 * data["x"] + 0.5 * rng.normal(size=one)[data["a"]] + 0.4 * rng.normal(size=two)[data["b"]]
    data["y"] += rng.normal(size=n)

    def floor(fit: Any) -> dict[str, tuple[str, float]]:
        evaluations = fit.solution.n_evaluations
        return {
            "rows are sent": ("transfer", 8.0 * 4 * n),
            f"{evaluations} factorizations of {two}²": ("product", evaluations * float(two) ** 3 / 3.0),
        }

    sizes = {"rows": n, "first factor": one, "second factor": two}
    return Case(lambda: lmm.fit("y ~ x + (1 | a) + (1 | b)", data), sizes, floor)


def kinship(size: float) -> Case:
    """One response with a known matrix; at least it is sent, reduced to a tridiagonal one and turned back (10/3 n³)."""
    n = max(int(10_000 * size), 100)
    rng = np.random.default_rng(3)
    markers = rng.normal(size=(n, n // 2))
    ids = [f"i{number}" for number in range(n)]
    matrix = pd.DataFrame(markers @ markers.T / markers.shape[1], ids, ids)
    y = markers @ rng.normal(size=markers.shape[1]) / np.sqrt(markers.shape[1]) + rng.normal(size=n)
    data = pd.DataFrame({"id": ids, "x": rng.normal(size=n), "y": y})

    def floor(_: Any) -> dict[str, tuple[str, float]]:
        return {
            "the matrix is sent": ("transfer", 8.0 * n * n),
            "eigenvectors": ("product", EIGENVECTORS * float(n) ** 3),
        }

    return Case(lambda: lmm.fit("y ~ x + (1 | id)", data, kinship={"id": matrix}), {"people": n}, floor)


def scan(size: float) -> Case:
    """Markers against traits, variances refitted; at least they are sent, rotated, and multiplied with each trait."""
    n, s, m = (max(int(count * size), least) for count, least in ((5_000, 100), (100_000, 256), (1_000, 4)))
    rng = np.random.default_rng(4)
    ids = [f"i{number}" for number in range(n)]
    calls = rng.binomial(2, rng.uniform(0.1, 0.5, s), size=(n, s)).astype(np.int8)
    some = calls[:, : 2 * n] - calls[:, : 2 * n].mean(axis=0)
    matrix = pd.DataFrame(some @ some.T / some.shape[1], ids, ids)
    y = some @ rng.normal(size=(some.shape[1], m)) / np.sqrt(np.sum(some**2) / n) + rng.normal(size=(n, m))
    responses = pd.DataFrame(y, index=ids).add_prefix("y")
    data = pd.DataFrame({"id": ids}, index=ids)
    genotypes = lmm.genetics.genotypes(pd.DataFrame(calls, index=ids))

    def run() -> Any:
        return lmm.scan(
            "~ (1 | id)", data, genotypes=genotypes, responses=responses, kinship={"id": matrix}, p_max=1e-5,
            progress=False,
        )  # fmt: skip

    def floor(_: Any) -> dict[str, tuple[str, float]]:
        return {
            "markers are sent": ("transfer", float(n) * s),
            "eigenvectors": ("product", EIGENVECTORS * float(n) ** 3),
            "rotation": ("product", 2.0 * float(n) ** 2 * s),
            "markers times traits": ("product", 2.0 * float(n) * s * m),
        }

    return Case(run, {"people": n, "markers": s, "traits": m}, floor)


CASES = {
    "a": many_slopes,
    "b": lambda size: crossed(73_421, 2_972, 1_128, size),
    "c": lambda size: crossed(1_000_209, 6_040, 3_706, size),
    "d": kinship,
    "e": scan,
}


def measured(name: str, size: float) -> dict[str, Any]:
    """Run one case in this process."""
    rates, case = measured_rates(size), CASES[name](size)
    cold, warm, found = seconds(case.run)
    terms = {term: work / getattr(rates, rate) for term, (rate, work) in case.floor(found).items()}
    median, floor = statistics.median(warm), sum(terms.values())
    return {
        **case.sizes, "cold": cold, "warm": median, "warm range": [min(warm), max(warm)], "floor": floor,
        "floor's terms": terms, "times the floor": median / floor, "rates a second": rates._asdict(),
        "jaxlmm": lmm.__version__, "jax": jax.__version__, "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", type=float, nargs="?", default=1.0)
    parser.add_argument("--cases", default="".join(CASES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true")
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measured(asked.cases, asked.size)))
        return
    environment = {key: value for key, value in os.environ.items() if "CACHE" not in key} | {"JAXLMM_CACHE_DIR": ""}
    results: dict[str, Any] = {"cores": os.cpu_count(), "size": asked.size, "cases": {}}
    platforms = set()
    for name in asked.cases:
        command = [sys.executable, __file__, str(asked.size), "--cases", name, "--child"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        case = json.loads(done.stdout.splitlines()[-1])
        platforms.add(case.pop("platform"))
        results |= {key: case.pop(key) for key in ("jaxlmm", "jax", "device")}
        results["cases"][name] = case
        print(name, json.dumps(case, indent=1), flush=True)
    whole = asked.size == 1.0 and set(asked.cases) == set(CASES) and "cpu" not in platforms
    out = asked.out or (RESULTS if whole else None)
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
