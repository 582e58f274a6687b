"""The normal density of a model in plain NumPy: its criterion, and covariances of the rows."""

import numpy as np

import models


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
