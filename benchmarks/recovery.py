"""Do generalized linear mixed models find what their data were drawn from? 2,000 data sets of each family.

Usage: python benchmarks/recovery.py [--sets N] [--out FILE] [--only WORD ...]

Every case is a model with a random intercept, a covariate within groups and one between them. Its data sets are drawn
with NumPy and fitted in one call of ``fit_many`` by Laplace's approximation, and in another by quadrature with nine
nodes. Of each parameter: the mean of the estimates less the truth with its Monte Carlo standard error, their root mean
square error, and how often Wald's 95 % interval holds the truth (of coefficients by z), in the sets that have a proven
optimum, for intervals those that have one. Written to ``results/recovery.json``, case by case.
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxlmm as lmm

RESULTS = Path(__file__).parent / "results" / "recovery.json"
NODES = 9
SLOPES = {"within": 0.3, "between": -0.4}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to draw from: ``draw`` gives observations from a generator and the means."""

    family: str
    intercept: float
    sd: float
    inverse_link: Callable[[np.ndarray], np.ndarray]
    draw: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    parameters: dict[str, float] = dataclasses.field(default_factory=dict)
    groups: int = 60
    rows: int = 5
    trials: int | None = None


def logistic(eta):
    return 1.0 / (1.0 + np.exp(-eta))


def identity(eta):
    return eta


def tweedie(rng, mean, dispersion=1.0, power=1.5):
    """Draw sums of a Poisson number of gamma variables."""
    number = rng.poisson(mean ** (2.0 - power) / (dispersion * (2.0 - power)))
    shape, scale = (2.0 - power) / (power - 1.0), dispersion * (power - 1.0) * mean ** (power - 1.0)
    return np.where(number == 0, 0.0, rng.gamma(np.maximum(number, 1) * shape, scale))


CASES = {
    "gaussian": Case(
        "gaussian", 0.5, 0.7, identity, lambda rng, mean: rng.normal(mean, 0.8), {"Residual: sd": 0.8}
    ),
    "binary": Case("bernoulli", 0.2, 0.7, logistic, lambda rng, mean: rng.binomial(1, mean).astype(float)),
    "binary, SD 1.5, 4 rows": Case(
        "bernoulli", 0.2, 1.5, logistic, lambda rng, mean: rng.binomial(1, mean).astype(float), groups=75, rows=4
    ),
    "binomial, 8 trials": Case(
        "binomial", 0.2, 0.7, logistic, lambda rng, mean: rng.binomial(8, mean).astype(float), trials=8
    ),
    "poisson": Case("poisson", 0.5, 0.7, np.exp, lambda rng, mean: rng.poisson(mean).astype(float)),
    "nbinom2": Case(
        "nbinom2", 1.5, 0.7, np.exp, lambda rng, mean: rng.negative_binomial(2.0, 2.0 / (2.0 + mean)).astype(float),
        {"overdispersion": 0.5},
    ),
    "nbinom1": Case(
        "nbinom1", 1.5, 0.7, np.exp, lambda rng, mean: rng.negative_binomial(mean / 1.5, 1.0 / 2.5).astype(float),
        {"overdispersion": 1.5},
    ),
    "gamma": Case("gamma", 0.5, 0.7, np.exp, lambda rng, mean: rng.gamma(2.0, 0.5 * mean), {"dispersion": 0.5}),
    "inverse_gaussian": Case(
        "inverse_gaussian", 0.5, 0.7, np.exp, lambda rng, mean: rng.wald(mean, 2.0), {"dispersion": 0.5}
    ),
    "beta": Case(
        "beta", 0.2, 0.7, logistic, lambda rng, mean: rng.beta(6.0 * mean, 6.0 * (1.0 - mean)), {"precision": 6.0}
    ),
    "tweedie": Case("tweedie", 0.5, 0.7, np.exp, tweedie, {"dispersion": 1.0, "power": 1.5}),
    "student_t": Case(
        "student_t", 0.5, 0.7, identity, lambda rng, mean: mean + 0.8 * rng.standard_t(5.0, mean.shape),
        {"scale": 0.8, "1/df": 0.2},
    ),
    "binary, SD 1.5, 12 rows": Case(
        "bernoulli", 0.2, 1.5, logistic, lambda rng, mean: rng.binomial(1, mean).astype(float), rows=12
    ),
}  # fmt: skip
"""Cases by name; parameters of dispersion by the names that ``fit.variance()`` gives them."""


def drawn(case: Case, sets: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a case, and ``sets`` responses."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(case.groups), case.rows)
    frame = pd.DataFrame({"g": group, "within": rng.normal(size=group.size)})
    frame["between"] = rng.normal(size=case.groups)[group]
    fixed = case.intercept + sum(value * frame[name].to_numpy() for name, value in SLOPES.items())
    eta = fixed[:, None] + case.sd * rng.normal(size=(case.groups, sets))[group]
    return frame, pd.DataFrame(case.draw(rng, case.inverse_link(eta))).add_prefix("y")


def of_parameter(truth: float, table: pd.DataFrame) -> dict[str, float]:
    """Return bias, root mean square error and coverage from ``estimate conf_low conf_high`` of each set."""
    off = table["estimate"].to_numpy(float) - truth
    low, high = table["conf_low"].to_numpy(float), table["conf_high"].to_numpy(float)
    known = np.isfinite(low) & np.isfinite(high)
    return {
        "truth": truth, "sets": int(off.size), "bias": float(off.mean()),
        "error_of_bias": float(off.std(ddof=1) / np.sqrt(off.size)), "rmse": float(np.sqrt(np.mean(off**2))),
        "coverage": float(np.mean((low <= truth)[known] & (truth <= high)[known])), "intervals": int(known.sum()),
    }  # fmt: skip


def recovered(case: Case, frame: pd.DataFrame, y: pd.DataFrame, nodes: int) -> dict[str, object]:
    """Fit all sets at once and return what they say about each parameter."""
    options = {"quadrature": nodes} if nodes > 1 else {}
    if case.trials is not None:
        options["trials"] = np.full(len(frame), case.trials)
    start = time.perf_counter()
    many = lmm.fit_many(
        "~ within + between + (1 | g)", frame, responses=y, family=case.family, method="ML", progress=False, **options
    )
    by_z = many.tidy(df="normal").rename(columns={"term": "parameter"})
    of_variance = many.confint(list(many.estimates.labels.parameters))
    passed = time.perf_counter() - start
    table = pd.concat([by_z, of_variance])
    table = table[table["status"].isin(["interior", "boundary"])]
    truth = {"Intercept": case.intercept, **SLOPES, "g: sd(Intercept)": case.sd, **case.parameters}
    found = {name: of_parameter(value, table[table["parameter"] == name]) for name, value in truth.items()}
    return {"statuses": many.status.value_counts().to_dict(), "seconds": passed, "parameters": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    results = {
        "nodes": NODES, "python": platform.python_version(), "jax": jax.__version__,
        "jaxlmm": lmm.__version__, "device": str(jax.devices()[0].device_kind), "cores": os.cpu_count(), "cases": {},
    }  # fmt: skip
    if arguments.only != list(CASES) and arguments.out.exists():
        results["cases"] = json.loads(arguments.out.read_text())["cases"]
    for name in arguments.only:
        case = CASES[name]
        frame, y = drawn(case, arguments.sets, list(CASES).index(name))
        ways = {"laplace": 1} if case.family == "gaussian" else {"laplace": 1, "quadrature": NODES}
        entry: dict[str, object] = {"family": case.family, "groups": case.groups, "rows": case.rows}
        results["cases"][name] = entry
        for way, nodes in ways.items():
            entry[way] = own = recovered(case, frame, y, nodes)
            print(f"{name}, {way}: {own['seconds']:.1f} s, {own['statuses']}", flush=True)
            for parameter, one in own["parameters"].items():
                print(
                    f"    {parameter:18s} {one['truth']:6.2f}  bias {one['bias']:8.4f} ± {one['error_of_bias']:.4f}  "
                    f"rmse {one['rmse']:.4f}  {100 * one['coverage']:6.2f} % of {one['intervals']}",
                    flush=True,
                )
            arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
