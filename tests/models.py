"""A registry of small designs, the solvers that can do each, and a plain NumPy deviance to hold them against."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve

import jaxlmm as lmm
from jaxlmm.likelihood import likelihood_of
from jaxlmm.solvers import SOLVERS

from references import Exchangeable

OLDER_CODE = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11, 1) else {}
"""The option of ``jaxlmm._util.programs.program.CPU_OPTIONS``, which later versions refuse."""

quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, **OLDER_CODE})
"""``jax.jit`` for what a test runs a few times: compiled in half the time, and slower."""


def data(seed: int = 1, levels: int = 14) -> pd.DataFrame:
    """Unbalanced levels of 1 to 6 rows, two covariates, a second factor, times, weights."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), rng.integers(1, 7, levels))
    n = g.size
    frame = pd.DataFrame(
        {
            "g": [f"g{level:02d}" for level in g],
            "h": rng.choice(list("abcd"), n),
            "f": rng.choice(["u", "v", "w"], n),
            "x": rng.normal(2.0, 1.0, n),
            "z": rng.normal(size=n),
            "t": rng.permutation(n) * 0.37,
            "w": rng.uniform(0.5, 3.0, n),
            "o": rng.normal(size=n),
        }
    )
    frame["y"] = 1.0 + 0.5 * frame["x"] + rng.normal(size=levels)[g] + rng.normal(size=n) / np.sqrt(frame["w"])
    return frame


def balanced(groups: int = 8, per: int = 6) -> pd.DataFrame:
    """Groups of one size, with a covariate ``b`` between them and one ``c`` within."""
    g = np.repeat(np.arange(groups), per)
    return pd.DataFrame({"g": g, "b": (g % 2).astype(float), "c": np.tile(np.arange(per) % 2, groups).astype(float)})


def draw(frame: pd.DataFrame, m: int, seed: int, sd: float | np.ndarray = 1.0) -> np.ndarray:
    """Responses (n, m) with intercepts of standard deviation ``sd`` by g, an error of 1, and nothing else."""
    rng, codes = np.random.default_rng(seed), pd.factorize(frame["g"])[0]
    return rng.normal(size=(codes.max() + 1, m))[codes] * sd + rng.normal(size=(len(frame), m))


def kinship(frame: pd.DataFrame) -> pd.DataFrame:
    """A positive definite matrix in blocks of families, on the levels of g."""
    ids = sorted(frame["g"].unique())
    family = np.arange(len(ids)) // 3
    matrix = 0.5 * (family[:, None] == family[None, :]) + 0.5 * np.eye(len(ids))
    return pd.DataFrame(matrix, index=ids, columns=ids)


def low_rank(frame: pd.DataFrame) -> pd.DataFrame:
    """A matrix of rank 5 on the levels of g: the first two are identical twins."""
    ids = sorted(frame["g"].unique())
    traits = np.random.default_rng(3).normal(size=(len(ids), 5))
    traits[1] = traits[0]
    return pd.DataFrame(traits @ traits.T / 5, index=ids, columns=ids)


class Model(NamedTuple):
    """A formula with options, the solvers that can do it, and a theta to stand at."""

    formula: str
    options: dict
    solvers: tuple[str, ...]
    theta: tuple[float, ...]


BOTH, ALL, DENSE = ("moments", "dense"), ("moments", "dense", "blocked"), ("dense",)
SEVERAL, SPECTRAL, CHAIN = ("blocked", "dense"), ("spectral", "dense"), ("chain", "dense")
MODELS = {
    "intercept": Model("y ~ x + (1 | g)", {}, BOTH, (0.8,)),
    "slope": Model("y ~ x + (1 + z | g)", {}, ALL, (0.9, 0.3, 0.5)),
    "uncorrelated": Model("y ~ x + (1 + z || g)", {}, BOTH, (0.9, 0.5)),
    "diag": Model("y ~ x + diag(1 + z | g)", {}, BOTH, (0.9, 0.5)),
    "factor": Model("y ~ f + (0 + f | g)", {}, BOTH, (0.9, 0.3, 0.1, 0.7, -0.2, 0.4)),
    "two dummies": Model("y ~ x + (0 + dummy(f, 'u') | g) + (0 + dummy(f, 'v') | g)", {}, ALL, (0.9, 0.5)),
    "weights, offset": Model("y ~ x + (1 + z | g)", {"weights": "w", "offset": "o"}, ALL, (0.9, 0.3, 0.5)),
    "user's structure": Model("y ~ x + (0 + f | g)", {"covariance": {"g": Exchangeable()}}, BOTH, (0.7, 0.4)),
    "no intercept": Model("y ~ 0 + x + z + (0 + z | g)", {}, BOTH, (0.8,)),
    "crossed": Model("y ~ x + (1 | g) + (1 | h)", {}, SEVERAL, (0.8, 0.5)),
    "nested": Model("y ~ x + (1 | g/h)", {}, SEVERAL, (0.8, 0.5)),
    "three crossed": Model("y ~ x + (1 | g) + (1 | h) + (1 | f)", {}, SEVERAL, (0.8, 0.5, 0.3)),
    "crossed and nested": Model("y ~ x + (1 | g/h) + (1 | f)", {}, SEVERAL, (0.8, 0.5, 0.6)),
    "slopes on both": Model("y ~ x + (1 + z | g) + (1 + x | h)", {}, SEVERAL, (0.9, 0.3, 0.5, 0.4, -0.2, 0.3)),
    "slopes on both, weights": Model(
        "y ~ x + (1 + z | g) + (0 + z | h)", {"weights": "w", "offset": "o"}, SEVERAL, (0.9, 0.3, 0.5, 0.4)
    ),
    "ou": Model("y ~ x + ou(t | g)", {}, CHAIN, (0.8, -0.5)),
    "ou beside slopes, weights": Model(
        "y ~ x + ou(t | g) + (1 + z | g)", {"weights": "w"}, CHAIN, (0.8, -0.5, 0.9, 0.3, 0.5)
    ),
    "ou residual": Model("y ~ x + (1 | g)", {"residual": "ou(t | g)"}, CHAIN, (0.8, -0.5)),
    "ou residual, weights": Model("y ~ x + (1 | g)", {"residual": "ou(t | g)", "weights": "w"}, CHAIN, (0.8, -0.5)),
    "kinship intercept": Model("y ~ x + (1 | g)", {"kinship": kinship}, SPECTRAL, (0.8,)),
    "kinship slope, weights": Model(
        "y ~ x + (0 + z | g)", {"kinship": low_rank, "weights": "w", "offset": "o"}, SPECTRAL, (0.8,)
    ),
    "kinship": Model("y ~ x + (1 + z | g)", {"kinship": kinship}, DENSE, (0.8, 0.2, 0.4)),
}
CASES = [(name, solver) for name, model in MODELS.items() for solver in model.solvers]


def design(name: str, frame: pd.DataFrame) -> lmm.Design:
    """The design of a registered model on a data set."""
    return lmm.design(MODELS[name].formula, frame, **_options(name, frame))


def fit(name: str, frame: pd.DataFrame, **options) -> lmm.Fit:
    """The fit of a registered model."""
    return lmm.fit(MODELS[name].formula, frame, **_options(name, frame), **options)


def _options(name: str, frame: pd.DataFrame) -> dict:
    options = dict(MODELS[name].options)
    if "kinship" in options:
        options["kinship"] = {"g": options["kinship"](frame)}
    return options


def deviance(design: lmm.Design, solver: str, method: str):
    """The deviance ``f(theta, y)`` by a solver of one's choice."""
    likelihood = likelihood_of(design, SOLVERS[solver].build(design), method)

    def f(theta, y):
        return likelihood.deviance(likelihood.layout.factors(theta), likelihood.observe(likelihood.padded(y)))

    return f


def plain_deviance(name: str, frame: pd.DataFrame, theta: np.ndarray, method: str) -> float:
    """The deviance from the n × n covariance matrix, in NumPy and SciPy alone, from the model's definition."""
    n = len(frame)
    x, z, one = frame["x"].to_numpy(), frame["z"].to_numpy(), np.ones(n)
    dummies = np.column_stack([(frame["f"] == level).to_numpy(float) for level in "uvw"])
    g = (frame["g"].to_numpy()[:, None] == frame["g"].to_numpy()[None, :]).astype(float)
    h = (frame["h"].to_numpy()[:, None] == frame["h"].to_numpy()[None, :]).astype(float)
    t = np.abs(frame["t"].to_numpy()[:, None] - frame["t"].to_numpy()[None, :])
    fixed = {"factor": np.column_stack([one, dummies[:, 1:]]), "no intercept": np.column_stack([x, z])}
    design = fixed.get(name, np.column_stack([one, x]))
    y, weight = frame["y"].to_numpy(), np.ones(n)
    if "weights" in MODELS[name].options:
        weight = frame["w"].to_numpy()
    if "offset" in MODELS[name].options:
        y = y - frame["o"].to_numpy()

    f = (frame["f"].to_numpy()[:, None] == frame["f"].to_numpy()[None, :]).astype(float)

    def lower(q, theta=theta):
        factor = np.zeros((q, q))
        columns, rows = np.triu_indices(q)
        factor[rows, columns] = theta
        return factor @ factor.T

    pair = np.column_stack([one, z])
    residual = np.eye(n)
    if name == "intercept":
        random = theta[0] ** 2 * g
    elif name in ("slope", "weights, offset"):
        random = (pair @ lower(2) @ pair.T) * g
    elif name in ("uncorrelated", "diag"):
        random = (pair @ np.diag(theta**2) @ pair.T) * g
    elif name == "factor":
        random = (dummies @ lower(3) @ dummies.T) * g
    elif name == "two dummies":
        random = (dummies[:, :2] @ np.diag(theta**2) @ dummies[:, :2].T) * g
    elif name == "user's structure":
        random = (dummies @ (theta[0] ** 2 * np.ones((3, 3)) + theta[1] ** 2 * np.eye(3)) @ dummies.T) * g
    elif name == "no intercept":
        random = theta[0] ** 2 * np.outer(z, z) * g
    elif name == "crossed":
        random = theta[0] ** 2 * g + theta[1] ** 2 * h
    elif name == "nested":
        random = theta[0] ** 2 * g + theta[1] ** 2 * g * h
    elif name == "three crossed":
        random = theta[0] ** 2 * g + theta[1] ** 2 * h + theta[2] ** 2 * f
    elif name == "crossed and nested":
        random = theta[0] ** 2 * g + theta[1] ** 2 * g * h + theta[2] ** 2 * f
    elif name == "slopes on both":
        other = np.column_stack([one, x])
        random = (pair @ lower(2, theta[:3]) @ pair.T) * g + (other @ lower(2, theta[3:]) @ other.T) * h
    elif name == "slopes on both, weights":
        random = (pair @ lower(2, theta[:3]) @ pair.T) * g + theta[3] ** 2 * np.outer(z, z) * h
    elif name == "ou":
        random = theta[0] ** 2 * np.exp(-np.exp(theta[1]) * t) * g
    elif name == "ou beside slopes, weights":
        random = (theta[0] ** 2 * np.exp(-np.exp(theta[1]) * t) + pair @ lower(2, theta[2:]) @ pair.T) * g
    elif name.startswith("ou residual"):
        random, residual = theta[0] ** 2 * g, np.exp(-np.exp(theta[1]) * t) * g
    elif name.startswith("kinship "):
        column, known = (z, low_rank) if "slope" in name else (one, kinship)
        random = theta[0] ** 2 * np.outer(column, column) * known(frame).loc[frame["g"], frame["g"]].to_numpy()
    else:
        matrix = kinship(frame).loc[frame["g"], frame["g"]].to_numpy()
        random = (pair @ lower(2) @ pair.T) * matrix
    v = random + residual / np.sqrt(np.outer(weight, weight))
    factor = cho_factor(v, lower=True)
    logdet = 2.0 * np.log(np.diag(factor[0])).sum()
    information = design.T @ cho_solve(factor, design)
    beta = np.linalg.solve(information, design.T @ cho_solve(factor, y))
    rest = y - design @ beta
    square = rest @ cho_solve(factor, rest)
    count = n - (design.shape[1] if method == "REML" else 0)
    extra = np.linalg.slogdet(information)[1] if method == "REML" else 0.0
    return logdet + extra + count * (1.0 + np.log(2.0 * np.pi * square / count))


def theta_of(name: str) -> jax.Array:
    """The registered theta, in double precision."""
    return jnp.asarray(np.array(MODELS[name].theta))
