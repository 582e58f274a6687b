"""Responses prepared again after their fit, for what is computed of it on request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.engine.many.batch import prepared_in_batches
from jaxlmm.engine.many.missing import patterns_of, prepared_by_response
from jaxlmm.engine.problems import Problems
from jaxlmm.likelihood import likelihood_of
from jaxlmm.model import Design, Natural
from jaxlmm.solvers import AbstractSolver, Route


class Prepared(NamedTuple):
    """Problems of the responses ``numbers``; ``columns`` are those of X that their rows determine."""

    numbers: Int[NumpyArray, " b"]
    problems: Problems
    columns: Int[NumpyArray, " p"]


def prepared_anew(
    design: Design,
    y: Float[NumpyArray, "n m"],
    *,
    solver: type[AbstractSolver],
    method: str,
    fixed: Natural | None = None,
) -> Iterator[Prepared]:
    """Prepare responses ``y``, NaN where they are missing, as their fit did; parameters are ``fixed`` as in that.

    Responses that the fixed effects fit perfectly, or that have no more rows than columns, are left out.
    """
    columns, plain = np.arange(design.basis.shape[1]), design.unpadded()
    alone, together = [], []
    everyone = np.arange(y.shape[1])
    in_one = [(np.arange(len(y)), everyone)]  # of a generalized model, whose missing rows have no weight
    for rows, index in patterns_of(y, everyone) if design.distribution is None else in_one:
        if rows.size == len(y):
            for part, problems in prepared_in_batches(plain, y[:, index], solver=solver, method=method, fixed=fixed):
                yield Prepared(index[part], problems, columns)
        elif design.dispersion is not None or solver.route(design, index.size) is Route.DESIGN:
            alone.append((rows, index))
        else:
            together.append(index)
    if together:
        likelihood = likelihood_of(plain, solver.build(plain).unpadded(), method, fixed)
        by_route: dict[Route, list[NumpyArray]] = {}
        for index in together:
            by_route.setdefault(solver.route(design, index.size), []).append(index)
        for route, parts in by_route.items():
            numbers = np.concatenate(parts)
            for part, some in prepared_by_response(plain, likelihood, y[:, numbers], route):
                if some is not None:
                    yield Prepared(numbers[part], some, columns)
                else:
                    alone += patterns_of(y, numbers[part])
    for rows, index in alone:
        own, kept = design.at_rows(rows)
        if rows.size > kept.sum():
            batch = y[np.ix_(rows, index)]
            for part, problems in prepared_in_batches(own, batch, solver=solver, method=method, fixed=fixed):
                yield Prepared(index[part], problems, np.flatnonzero(kept))
