"""Optima of many responses on the same rows, in as many batches as memory allows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray, default_device, memory_of_accelerator, mesh_of_devices, pad
from jaxlmm.covariance import Parameter
from jaxlmm.engine.compiled import prepare_fixed, prepare_responses, rows_all
from jaxlmm.engine.found import Found, certified, examine_soon
from jaxlmm.engine.minimum import find_optima
from jaxlmm.engine.problems import SMALL_BATCH, Problems, batches, in_batches, large_batch, take
from jaxlmm.engine.vanishing import has_residual
from jaxlmm.inference import Rows, Units
from jaxlmm.likelihood import Likelihood, Response, likelihood_of
from jaxlmm.model import Design, Natural
from jaxlmm.optimize import AbstractMinimizer
from jaxlmm.solvers import AbstractSolver

MIN_BATCH = 8
"""The smallest batch, even where it exceeds the bytes below; one response at a time where not even two keep to them."""

BYTES_AT_ONCE = 2**28
"""Bytes that prepared responses, which stay on the host, or one evaluation of a batch of them may take together."""

SHARE_OF_ACCELERATOR = 16
"""The part of an accelerator's memory that an evaluation, or what is prepared at once, may take there if it is more."""

ARRAYS_PER_EVALUATION = 20
"""An evaluation with gradient and Hessian holds about this many arrays of the size of the solver's work."""

CACHE_BYTES_OF_WORK = 2**19
"""Bytes of the solver's work for all responses of a batch that a CPU keeps at hand."""

CACHE_BYTES_OF_ROWS = 2**22
"""Bytes of the responses that are prepared at once on a CPU, several passes over which stay at hand."""


def solve_many(
    design: Design,
    y: Float[NumpyArray, "n m"],
    *,
    solver: type[AbstractSolver],
    method: str,
    parameters: Sequence[Parameter],
    first_order: AbstractMinimizer | None = None,
    start: Natural | None = None,
    fixed: Natural | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[Int[NumpyArray, " b"], Found | None]]:
    """Minimize the deviance of every response, some of them at a time.

    Parameters
    ----------
    design, y
        The design and responses ``(n, m)`` in their own units, all of them finite.
    solver, method, first_order, start, fixed
        As in :func:`jaxlmm.engine.single.solve_single`.
    parameters
        The natural parameters.
    done
        Called with the number of responses just solved; those yielded with None are counted by the caller once it has
        dealt with them.

    Yields
    ------
    index, found
        The indices (columns of y) of some responses, and what was found for them; None for those that the fixed
        effects fit perfectly.
    """
    likelihood = likelihood_of(design, solver.build(design).unpadded(), method, fixed)
    mesh = mesh_of_devices()
    everywhere = None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    if y.shape[1] > large_batch() or likelihood.solver.sequential:  # once, not batch by batch or response by response
        likelihood = jax.device_put(likelihood, everywhere)
    # Takes coefficients on the orthonormal basis of X to those of its columns; mean squares are for variance shares.
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())
    fixed_products = prepare_fixed(likelihood)
    sizes = _Sizes.of(likelihood)
    first = 0
    while first < y.shape[1]:
        index = np.arange(first, min(first + sizes.in_memory, y.shape[1]))
        try:
            part = y[:, first : first + sizes.in_memory]
            responses, kept = _prepared(likelihood, fixed_products, part, sizes.prepared)
            found = None
            if kept.any():
                problems = Problems(likelihood, responses, units, largest=sizes.evaluated, mesh=mesh)
                # Asked only for responses with next to no residual: they are prepared again around their fixed effects.
                rows_by_number = functools.partial(_padded_responses, y, index[kept], design.n_padded)
                examine_soon(problems)
                optima = find_optima(problems, first_order, start)
                found = certified(problems, optima, parameters, fixed, rows_by_number)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or sizes.in_memory == 1:
                raise
            sizes = sizes.halved()
            continue
        if found is not None:
            yield index[kept], found
        if not kept.all():
            yield index[~kept], None
        done(int(kept.sum()))
        first += index.size


def prepared_in_batches(
    design: Design,
    y: Float[NumpyArray, "n m"],
    *,
    solver: type[AbstractSolver],
    method: str,
    fixed: Natural | None = None,
) -> Iterator[tuple[Int[NumpyArray, " b"], Problems]]:
    """Prepare complete responses ``y`` on a design, as many at a time as memory holds; yield indices and problems.

    Those that the fixed effects fit perfectly are left out.
    """
    likelihood = likelihood_of(design, solver.build(design).unpadded(), method, fixed)
    units = Units(np.linalg.inv(np.asarray(design.triangle)), design.mean_squares())
    fixed_products, sizes = prepare_fixed(likelihood), _Sizes.of(likelihood)
    for first in range(0, y.shape[1], sizes.in_memory):
        index = np.arange(first, min(first + sizes.in_memory, y.shape[1]))
        responses, kept = _prepared(likelihood, fixed_products, y[:, index], sizes.prepared)
        if kept.any():
            yield index[kept], Problems(likelihood, responses, units, largest=sizes.evaluated, mesh=mesh_of_devices())


def rows_of(
    design: Design,
    y: Float[NumpyArray, "n m"],
    theta: Float[NumpyArray, "m k"],
    bases: Sequence[Float[NumpyArray, "m _ _"]],
    *,
    solver: type[AbstractSolver],
    method: str,
    fixed: Natural | None = None,
) -> Rows:
    """Return modes and fitted values of the responses ``y`` at optima ``theta`` in ``bases``."""
    likelihood = likelihood_of(design, solver.build(design), method, fixed)  # padded: few programs
    sizes = _Sizes.of(likelihood)
    responses, _ = _prepared(likelihood, prepare_fixed(likelihood), y, sizes.prepared)
    units = Units(np.linalg.inv(np.asarray(design.triangle)), ())  # no mean squares: modes need no variance shares
    problems = Problems(likelihood, responses, units, largest=sizes.evaluated, mesh=mesh_of_devices())
    rows = np.ascontiguousarray(pad(y, design.n_padded).T)
    return in_batches(problems, rows_all, np.arange(y.shape[1]), theta, tuple(bases), rows)


def _padded_responses(
    y: Float[NumpyArray, "n m"], numbers: Int[NumpyArray, " b"], padded: int, index: Int[NumpyArray, " c"]
) -> Float[NumpyArray, "N c"]:
    """Return the responses ``numbers[index]`` of ``y``, padded."""
    return pad(y[:, numbers[index]], padded)


def _prepared(
    likelihood: Likelihood, fixed_products: Any, y: Float[NumpyArray, "n m"], largest: int
) -> tuple[Response, Bool[NumpyArray, " m"]]:
    """Prepare responses batch by batch; return those that the fixed effects do not fit perfectly, and which these are.

    ``fixed_products`` are the cross-products of X, which the responses share.
    """
    padded, mesh, parts = likelihood.design.n_padded, mesh_of_devices(), []
    at_work: list[tuple[Response, int]] = []

    def fetch() -> None:
        part, count = at_work.pop(0)
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:count], part))

    for index, count in batches(y.shape[1], largest):
        batch = y[:, index[0] : index[0] + count] if count == index.size else y[:, index]
        at_work.append((prepare_responses(likelihood, pad(batch, padded), mesh=mesh), count))
        if len(at_work) > 1:
            fetch()
    while at_work:
        fetch()
    joined = parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    kept = has_residual(joined, int(likelihood.design.n) - int(likelihood.design.n_fixed))
    if not kept.all():
        joined = take(joined, kept)
    return joined.replace(fixed=fixed_products), kept


@jax.jit
def _prepare(likelihood: Likelihood, y: jax.Array) -> Response:
    # None: the cross-products of X, which responses share, do not count in the memory of each.
    return likelihood.observe_all(None, y)


@jax.jit
def _factor(likelihood: Likelihood, theta: jax.Array) -> Any:
    return likelihood.factorized(likelihood.layout.factors(theta))


def bytes_at_once() -> int:
    """Return the bytes that one evaluation, or what is prepared at once, may take on the device that computes."""
    return max(BYTES_AT_ONCE, (memory_of_accelerator() or 0) // SHARE_OF_ACCELERATOR)


class _Sizes(NamedTuple):
    """How many responses are held, prepared, and evaluated at once."""

    in_memory: int
    prepared: int
    evaluated: int

    @classmethod
    def of(cls, likelihood: Likelihood) -> _Sizes:
        """Plan the memory of a likelihood."""
        shape = jax.ShapeDtypeStruct((likelihood.design.n_padded, 1), float)
        theta = jax.ShapeDtypeStruct((likelihood.layout.n_theta,), float)
        own = _bytes(_prepare.eval_shape(likelihood, shape))
        work = max(_bytes(_factor.eval_shape(likelihood, theta)), likelihood.bytes_of_rows)
        most, on_cpu = bytes_at_once(), default_device().platform == "cpu"
        at_once = most // (ARRAYS_PER_EVALUATION * max(work, 1))
        if on_cpu:
            at_once = min(at_once, CACHE_BYTES_OF_WORK // max(work, 1))
            if at_once < large_batch():  # one size: another function costs more than calling this one more often
                at_once = min(at_once, SMALL_BATCH)
        if likelihood.solver.sequential:  # one response at a time, to save memory
            at_once = 1
        rows = most // (8 * ARRAYS_PER_EVALUATION * likelihood.design.n_padded)
        if on_cpu:
            rows = min(rows, max(CACHE_BYTES_OF_ROWS // (8 * likelihood.design.n_padded), MIN_BATCH))
        return cls(max(BYTES_AT_ONCE // max(own, 1), 1), _power(rows), _power(at_once))

    def halved(self) -> _Sizes:
        """Return half of all."""
        return _Sizes(*(max(size // 2, 1) for size in self))


def _power(fitting: int) -> int:
    """Return a power of two that fits, at least ``MIN_BATCH`` unless only one does."""
    size = large_batch()
    while size > MIN_BATCH and size > fitting:
        size //= 2
    return size if fitting > 1 else 1


def _bytes(shapes: object) -> int:
    return sum(8 * int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
