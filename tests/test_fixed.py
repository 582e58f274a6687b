"""Parameters that are fixed, and where the search starts: against plain normal densities and plain optima."""

import jax
import numpy as np
import optax
import pandas as pd
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm

import models
from references import Exchangeable

DATA = models.data(seed=3, levels=20)
SAME = 1e-8
"""The same function by other arithmetic: rounding of a deviance of about 300."""
OPTIMUM = 1e-6
"""A plain optimum by differences is this far from the lowest deviance at most; ours may be lower, not higher."""
CLOSE = 1e-6
"""Estimates at the same optimum by other parameters, relative."""


def criterion(frame, v, method, x=None):
    """−2 log (restricted) likelihood of a covariance ``v`` (n, n), profiled over the coefficients, in NumPy alone."""
    x = np.column_stack([np.ones(len(frame)), frame["x"]]) if x is None else x
    y, solved = frame["y"].to_numpy(), np.linalg.solve(v, x)
    information = x.T @ solved
    rest = y - x @ np.linalg.solve(information, solved.T @ y)
    found = np.linalg.slogdet(v)[1] + rest @ np.linalg.solve(v, rest) + len(y) * np.log(2.0 * np.pi)
    if method == "REML":
        found += np.linalg.slogdet(information)[1] - x.shape[1] * np.log(2.0 * np.pi)
    return found


def same(frame, name):
    values = frame[name].to_numpy()
    return (values[:, None] == values[None, :]).astype(float)


def one(frame, values):
    return values["g: sd(Intercept)"] ** 2 * same(frame, "g") + values["Residual: sd"] ** 2 * np.eye(len(frame))


def two(frame, values):
    a, b = values["g: sd(Intercept)"], values["g: sd(z)"]
    c = np.nan_to_num(values["g: corr(Intercept, z)"]) * a * b
    z = np.column_stack([np.ones(len(frame)), frame["z"]])
    return (z @ np.array([[a * a, c], [c, b * b]]) @ z.T) * same(frame, "g") + values["Residual: sd"] ** 2 * np.eye(
        len(frame)
    )


def crossed(frame, values):
    h = values["h: sd(Intercept)"] ** 2 * same(frame, "h")
    weight = np.diag(1.0 / frame["w"].to_numpy())
    random = values["g: sd(Intercept)"] ** 2 * same(frame, "g")
    return random + h + values["Residual: sd"] ** 2 * weight


def decaying(frame, values):
    gap = np.abs(frame["t"].to_numpy()[:, None] - frame["t"].to_numpy()[None, :])
    random = values["g: sd(Intercept)"] ** 2 * same(frame, "g")
    return random + values["Residual: sd"] ** 2 * values["Residual: rho"] ** gap * same(frame, "g")


def process(frame, values):
    gap = np.abs(frame["t"].to_numpy()[:, None] - frame["t"].to_numpy()[None, :])
    random = values["g: sd"] ** 2 * np.nan_to_num(values["g: rho"], nan=0.5) ** gap * same(frame, "g")
    return random + values["Residual: sd"] ** 2 * np.eye(len(frame))


def related(frame, values):
    matrix = models.kinship(frame).loc[frame["g"], frame["g"]].to_numpy()
    return values["g: sd(Intercept)"] ** 2 * matrix + values["Residual: sd"] ** 2 * np.eye(len(frame))


KINSHIP = {"kinship": {"g": models.kinship(DATA)}}
SLOPE = "y ~ x + (1 + z | g)"
A, B, R, E = "g: sd(Intercept)", "g: sd(z)", "g: corr(Intercept, z)", "Residual: sd"
CASES = {
    "residual": ("y ~ x + (1 | g)", {}, one, {E: 1.2}),
    "term": ("y ~ x + (1 | g)", {}, one, {A: 0.4}),
    "first sd of two": (SLOPE, {}, two, {A: 0.7}),
    "second sd of two": (SLOPE, {}, two, {B: 0.3}),
    "both sds of two": (SLOPE, {}, two, {A: 0.7, B: 0.5}),
    "correlation": (SLOPE, {}, two, {R: 0.4}),
    "no correlation": (SLOPE, {}, two, {R: 0.0}),
    "correlation and residual": (SLOPE, {}, two, {R: -0.3, E: 0.9}),
    "no slope": (SLOPE, {}, two, {B: 0.0}),
    "whole term": (SLOPE, {}, two, {A: 0.7, B: 0.5, R: 0.2}),
    "crossed, weights": ("y ~ x + (1 | g) + (1 | h)", {"weights": "w"}, crossed, {"h: sd(Intercept)": 0.3}),
    "decay of the residual": ("y ~ x + (1 | g)", {"residual": "ou(t | g)"}, decaying, {"Residual: rho": 0.5}),
    "residual with decay": ("y ~ x + (1 | g)", {"residual": "ou(t | g)"}, decaying, {E: 1.1}),
    "sd of ou": ("y ~ x + ou(t | g)", {}, process, {"g: sd": 0.8}),
    "known matrix": ("y ~ x + (1 | g)", KINSHIP, related, {A: 0.8}),
}
