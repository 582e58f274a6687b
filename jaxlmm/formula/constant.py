"""Constant responses of a family, of which the likelihood has no maximum."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.families import observations
from jaxlmm.formula.frame import ModelFrame

IN_SPAN = 1e-9
"""How far from the span of the fixed effects a column may be, relative to its length, to be in it but for rounding."""


def check_varies(frame: ModelFrame, held: Collection[str]) -> None:
    """Raise if the response of a generalized model is constant, and its likelihood without bound therefore.

    ``held`` are the names of the parameters that are held.
    """
    if frame.y is None or not constant_responses(frame, frame.y[:, None], held)[0]:
        return
    labels = frame.labels.family
    assert labels is not None
    parameter = labels.natural[0].name
    raise DataError(
        f"response {frame.labels.response}: expected values that vary, got {frame.y[0]:g} in all {frame.y.size} rows, "
        f"of which the family {labels.text} has no largest likelihood: it grows without bound in the parameter "
        f"{parameter!r}. Leave the response out, or hold the parameter, as by fixed={{{parameter!r}: 1.0}}."
    )


def constant_responses(frame: ModelFrame, y: Float[NumpyArray, "n m"], held: Collection[str]) -> Bool[NumpyArray, " m"]:
    """Return which responses ``y``, NaN where missing, are constant without a largest likelihood.

    The fixed effects can be equal to the best linear predictor of each row, offset included, and the density then grows
    without bound as the first parameter of the family goes to a limit.
    """
    distribution, n = frame.design.distribution, len(y)
    if distribution is None or not distribution.family.parameters:
        return np.zeros(y.shape[1], bool)
    family = distribution.family
    if family.parameters[0].name in held:
        return np.zeros(y.shape[1], bool)
    basis = np.asarray(frame.design.basis)[:n]
    for column in (np.ones(n), frame.offset):
        if np.linalg.norm(column - basis @ (basis.T @ column)) > IN_SPAN * np.linalg.norm(column):
            return np.zeros(y.shape[1], bool)
    observed = np.isfinite(y)
    low, high = (np.min(y, axis=0, where=observed, initial=np.inf), np.max(y, axis=0, where=observed, initial=-np.inf))
    same = (low == high) & (observed.sum(axis=0) > 1) & ~np.isinf(y).any(axis=0)
    if not same.any():
        return same
    values = observations(np.where(observed, y, low), frame.row_data)
    possible = family.allows(values) & family.unbounded_at(values)
    return np.asarray(same & possible.all(axis=0))
