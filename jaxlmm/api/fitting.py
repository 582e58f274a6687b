"""``fit``: one response."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxlmm._precision import in_double_precision
from jaxlmm._typing import NumpyArray
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.engine import solve_single
from jaxlmm.errors import FormulaError, OptionError
from jaxlmm.formula import ModelFrame, build_frame, parse
from jaxlmm.inference import certify, examine, uncertainty
from jaxlmm.optimise import AbstractMinimiser, Optax
from jaxlmm.results import Fit
from jaxlmm.solvers import select


@in_double_precision
@np.errstate(all="ignore")  # what is not finite ends in the status, not in a warning
def fit(
    formula: str,
    data: Any,
    *,
    method: str = "REML",
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    kinship: Mapping[str, pd.DataFrame] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | None = None,
    solver: str = "auto",
    optimizer: Any = "newton",
) -> Fit:
    """Fit a linear mixed model.

    Parameters
    ----------
    formula
        In lme4's spelling, ``"y ~ x + (1 + x | g)"``; without a bar a linear model. A formula is code: never take one
        from an untrusted source.
    data
        A data frame (pandas, polars, pyarrow). Rows in which a used variable is missing are dropped, and counted.
    method
        ``"REML"`` or ``"ML"``.
    weights, offset
        A column's name or one number per row: ``Var = sigma² / weight``; the offset is subtracted from the response.
    kinship
        A known covariance matrix across the levels of a group, ``{group: frame}``, with ids as index and columns.
    covariance
        A structure within a term's columns, ``{group: object}``, or ``{"0 + x | g": object}``.
    residual
        A residual structure, ``"ou(time | group)"``.
    solver
        ``"auto"``, ``"moments"`` or ``"dense"``.
    optimizer
        ``"newton"``, or an optax gradient transformation; the certificate judges both alike.

    Returns
    -------
    Fit
        Estimates, standard errors, and a certificate. A fit emits no warnings: see ``fit.status``.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        Before any computing.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.coef()[["estimate", "std_error", "df"]].round(3)
               estimate  std_error    df
    term
    Intercept   251.405      6.825  17.0
    Days         10.467      1.546  17.0

    A known matrix across levels, and a residual that decays in time:

    >>> import numpy as np, pandas as pd
    >>> sleep = lmm.datasets.sleepstudy()
    >>> ids = sleep["Subject"].cat.categories
    >>> unrelated = pd.DataFrame(np.eye(len(ids)), index=ids, columns=ids)
    >>> known = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep, kinship={"Subject": unrelated})
    >>> known.solver, round(known.deviance, 3)
    ('dense', 1786.465)
    >>> decaying = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep, residual="ou(Days | Subject)")
    >>> decaying.variance()["estimate"].round(3).to_dict()
    {'Subject: sd(Intercept)': 31.714, 'Residual: sd': 37.637, 'Residual: rho': 0.653}
    """
    started = time.perf_counter()
    method = _method(method)
    first_order = _minimiser(optimizer)
    parsed = parse(formula)
    if not parsed.response:
        raise FormulaError(f"formula {formula!r}: expected a response left of '~', as in 'y ~ x + (1 | g)'.")
    frame = build_frame(
        parsed, data, weights=weights, offset=offset, kinship=kinship, covariance=covariance, residual=residual
    )
    assert frame.y is not None
    choice = select(frame.design, solver)
    solution = solve_single(frame.design, frame.y, solver=choice.name, method=method, first_order=first_order)
    slices = solution.likelihood.layout.slices()
    inverse_triangle = np.linalg.inv(np.asarray(frame.design.triangle))
    examination = jax.tree.map(
        np.asarray,
        examine(solution.likelihood, solution.response, solution.frames, solution.theta, inverse_triangle),
    )
    verdict = certify(
        examination,
        free=solution.free,
        duals=solution.duals,
        dual_names=[_dual_name(frame, slices, dual) for dual in solution.duals],
        names=frame.parameters,
        deviance=float(solution.minimum.value),
        converged=bool(solution.minimum.converged),
        descend=solution.descend,
    )
    uncertain = uncertainty(examination, solution.free, verdict)
    device = str(next(iter(solution.response.scale.devices())))
    seconds = time.perf_counter() - started
    return Fit(frame, solution, examination, verdict, uncertain, choice, method, seconds, device)


def _method(method: str) -> str:
    if isinstance(method, str) and method.upper() in ("REML", "ML"):
        return method.upper()
    raise OptionError(f"method: expected 'REML' or 'ML', got {method!r}.")


def _minimiser(optimizer: Any) -> AbstractMinimiser | None:
    if isinstance(optimizer, str):
        if optimizer == "newton":
            return None
    elif hasattr(optimizer, "init") and hasattr(optimizer, "update"):
        return Optax(optimizer)
    raise OptionError(f"optimizer: expected 'newton' or an optax gradient transformation, got {optimizer!r}.")


def _dual_name(frame: ModelFrame, slices: Sequence[slice], dual: NumpyArray) -> str:
    """Name what is held at zero: the standard deviation where a term has one parameter for each, else the term."""
    for labels, place in zip(frame.terms, slices, strict=False):
        if place.start <= dual[0] < place.stop:
            one_each = dual.size == 1 and all(": sd" in name for name in labels.parameters[: dual[0] - place.start + 1])
            return labels.parameters[dual[0] - place.start] if one_each else f"{labels.text}: smallest eigenvalue"
    raise AssertionError(f"theta[{dual[0]}] belongs to no term")
