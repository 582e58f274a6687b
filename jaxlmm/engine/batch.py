"""Many responses on the same rows: prepared together, minimized together, examined together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlmm._util import NumpyArray, pad
from jaxlmm.covariance import Parameter
from jaxlmm.engine.compiled import prepare_fixed, prepare_responses, rows_all
from jaxlmm.engine.found import Found, known
from jaxlmm.engine.minimum import solve
from jaxlmm.engine.problems import LARGE_BLOCK, Problems, blocks, in_blocks
from jaxlmm.inference import Rows, Units
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.model import Design, Natural
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.solvers import SOLVERS

FEWEST = 8
"""Fewer responses than this at once save nothing."""

PERFECT = 1e-12
"""Relative to the response, a residual of least squares of this length is rounding."""

AT_ONCE = 2**28
"""Bytes that prepared responses, or one evaluation of a block of them, may take together."""

EVALUATION_COPIES = 20
"""An evaluation with gradient and Hessian holds about this many arrays of the size of the solver's work."""

IN_CACHE = 2**19
"""Bytes of the solver's work for all responses of a block that a CPU keeps at hand."""

ROWS_IN_CACHE = 2**22
"""Bytes of the responses that are prepared at once on a CPU, several passes over which stay at hand."""


def solve_many(
    design: Design,
    y: NumpyArray,
    *,
    solver: str,
    method: str,
    parameters: Sequence[Parameter],
    first_order: AbstractMinimizer | None = None,
    start: Natural | None = None,
    fixed: Natural | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[NumpyArray, Found | None]]:
    """Minimize the deviance of every response, some of them at a time.

    Parameters
    ----------
    design, y
        The design and responses ``(n, m)`` in their own units, all of them finite.
    solver, method, first_order, start, fixed
        As in :func:`jaxlmm.engine.single.solve_single`.
    names
        Those of the natural parameters.
    done
        Is told how many more responses are finished.

    Yields
    ------
    places, found
        ``(b,)`` the numbers of some of the responses, and what was found; None for those that the fixed effects fit
        perfectly.
    """
    likelihood = Likelihood.of(design, SOLVERS[solver].build(design).exact(), method, fixed)
    mesh = mesh_of_devices()
    everywhere = None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    if y.shape[1] > LARGE_BLOCK or likelihood.solver.sequential:  # once, not block by block
        likelihood = jax.device_put(likelihood, everywhere)
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())
    columns = prepare_fixed(likelihood)
    sizes = _Sizes.of(likelihood)
    first = 0
    while first < y.shape[1]:
        places = np.arange(first, min(first + sizes.active_set, y.shape[1]))
        try:
            responses, varying = _prepared(likelihood, columns, y[:, first : first + sizes.active_set], sizes.prepared)
            found = None
            if varying.any():
                problems = Problems(likelihood, responses, units, largest=sizes.evaluated, mesh=mesh)
                rows = functools.partial(_rows, y, places[varying], design.n_padded)
                found = known(problems, solve(problems, first_order, start), parameters, fixed, rows)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or sizes.active_set == 1:
                raise
            sizes = sizes.halved()
            continue
        if found is not None:
            yield places[varying], found
        if not varying.all():
            yield places[~varying], None
        done(int(varying.sum()))
        first += places.size


def rows_of(
    design: Design,
    y: NumpyArray,
    theta: NumpyArray,
    bases: Sequence[NumpyArray],
    *,
    solver: str,
    method: str,
    fixed: Natural | None = None,
) -> Rows:
    """Return what optima ``theta`` (m, k) in ``bases`` (m, q, q) say of the rows of their responses ``y`` (n, m)."""
    likelihood = Likelihood.of(design, SOLVERS[solver].build(design), method, fixed)  # padded: few programs
    sizes = _Sizes.of(likelihood)
    responses, _ = _prepared(likelihood, prepare_fixed(likelihood), y, sizes.prepared)
    units = Units(np.linalg.inv(np.asarray(design.triangle)), ())
    problems = Problems(likelihood, responses, units, largest=sizes.evaluated, mesh=mesh_of_devices())
    rows = np.ascontiguousarray(pad(y, design.n_padded).T)
    return in_blocks(problems, rows_all, np.arange(y.shape[1]), theta, list(bases), rows)


def _rows(y: NumpyArray, numbers: NumpyArray, padded: int, index: NumpyArray) -> NumpyArray:
    """Return the responses ``numbers[index]`` (N, c) of ``y`` (n, m), padded."""
    return pad(y[:, numbers[index]], padded)


def _prepared(likelihood: Likelihood, fixed: Any, y: NumpyArray, largest: int) -> tuple[Response, NumpyArray]:
    """Prepare responses (n, m) block by block; return those that vary, and which do (m,)."""
    padded, mesh, parts = likelihood.design.n_padded, mesh_of_devices(), []
    at_work: list[tuple[Response, int]] = []

    def fetch() -> None:
        part, count = at_work.pop(0)
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:count], part))

    for places, count in blocks(y.shape[1], largest):
        block = y[:, places[0] : places[0] + count] if count == places.size else y[:, places]
        at_work.append((prepare_responses(likelihood, pad(block, padded), mesh=mesh), count))
        if len(at_work) > 1:
            fetch()
    while at_work:
        fetch()
    joined = parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    varying = vary(joined, int(likelihood.design.n) - likelihood.design.n_fixed)
    if not varying.all():
        joined = jax.tree.map(lambda leaf: leaf[varying], joined)
    return joined.replace(fixed=fixed), varying


def vary(responses: Response, degrees: NumpyArray | int) -> NumpyArray:
    """Return which responses (m,) the fixed effects leave something of; ``degrees`` are rows less columns."""
    rest, explained = degrees * responses.scale**2, np.sum(responses.least_squares**2, axis=1)
    return np.asarray(rest > PERFECT**2 * (rest + explained))


@jax.jit
def _observe(likelihood: Likelihood, y: jax.Array) -> Response:
    return likelihood.observe_all(None, y)


@jax.jit
def _factor(likelihood: Likelihood, theta: jax.Array) -> Any:
    return likelihood.solver.factor(likelihood.layout.factors(theta))


class _Sizes(NamedTuple):
    """How many responses are held, prepared, and evaluated at once."""

    active_set: int
    prepared: int
    evaluated: int

    @classmethod
    def of(cls, likelihood: Likelihood) -> _Sizes:
        """Plan the memory of a likelihood."""
        shape = jax.ShapeDtypeStruct((likelihood.design.n_padded, 1), float)
        theta = jax.ShapeDtypeStruct((likelihood.layout.n_theta,), float)
        own = _bytes(_observe.eval_shape(likelihood, shape))
        work = _bytes(_factor.eval_shape(likelihood, theta))
        at_once = AT_ONCE // (EVALUATION_COPIES * max(work, 1))
        if jax.default_backend() == "cpu":
            at_once = min(at_once, IN_CACHE // max(work, 1))
        if likelihood.solver.sequential:
            at_once = 1
        rows = AT_ONCE // (8 * EVALUATION_COPIES * likelihood.design.n_padded)
        if jax.default_backend() == "cpu":
            rows = min(rows, max(ROWS_IN_CACHE // (8 * likelihood.design.n_padded), FEWEST))
        return cls(max(AT_ONCE // max(own, 1), 1), _power(rows), _power(at_once))

    def halved(self) -> _Sizes:
        """Return half of all."""
        return _Sizes(*(max(size // 2, 1) for size in self))


def _power(fitting: int) -> int:
    """Return a power of two that fits, at least ``FEWEST`` unless only one does."""
    size = LARGE_BLOCK
    while size > FEWEST and size > fitting:
        size //= 2
    return size if fitting > 1 else 1


def _bytes(shapes: object) -> int:
    return sum(8 * int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def mesh_of_devices() -> jax.sharding.Mesh | None:
    """Return the devices among which responses are spread; None for a single one."""
    devices = jax.local_devices()
    return jax.sharding.Mesh(np.array(devices), ("responses",)) if len(devices) > 1 else None
