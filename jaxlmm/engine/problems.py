"""Prepared responses of one likelihood, and functions of one response mapped over batches of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, default_device, static
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.optimize import Objective
from jaxlmm.solvers import AbstractSolver

SMALL_BATCH, LARGE_BATCH = 64, 1024
"""Responses on which a compiled function works at once; numbers between are padded to one of these."""

FEW_RESPONSES = 8
"""The batch of a generalized model of no more responses than this, whose evaluations are dear: none is padded to 64."""

LARGE_BATCH_OF_ACCELERATOR = 8192
"""The larger number on an accelerator, which has more work than this under way at once."""

P = ParamSpec("P")
T = TypeVar("T")


class Problem(NamedTuple):
    """One response with its likelihood, and ``units``, the map from the orthonormal basis to the columns of X."""

    likelihood: Likelihood
    response: Response
    units: Units

    def deviance(self, theta: Float[jax.Array, " k"], bases: Sequence[Array]) -> Float[jax.Array, ""]:
        """Return the deviance at ``theta``, written in ``bases``, one (q, q) per term."""
        return self.likelihood.deviance(self.likelihood.layout.factors(theta, bases), self.response)

    def objective(self, bases: Sequence[Array]) -> Objective:
        """Return the deviance as a function of theta in ``bases``, on the surface of what is held."""
        layout = self.likelihood.layout

        @jax.jit
        def deviance(theta: Float[jax.Array, " k"]) -> Float[jax.Array, ""]:
            return self.deviance(theta, bases)

        return Objective(deviance, (lambda theta: layout.errors(theta, bases)) if layout.is_held else None)


class RowsByResponse(Struct):
    """The part of a likelihood that responses do not share when each has rows or columns of its own.

    Every leaf has a first axis over the responses. ``solver`` is None where it is shared after all.
    """

    solver: AbstractSolver | None
    fixed: Any
    units: Units


class Problems(Struct):
    """``responses`` of one ``likelihood``: every leaf but those of ``fixed`` has a first axis over them.

    They stay on the host, and compiled functions are handed a batch of them, so that their number compiles nothing.
    ``units`` map the design's orthonormal basis to the columns of X. ``own`` is None where all responses have the rows
    of the design; otherwise it takes the place of solver, ``fixed`` and ``units``. ``largest`` is the largest batch
    that fits into memory, and responses are spread over the devices of a ``mesh``, if there is one.
    """

    likelihood: Likelihood
    responses: Response
    units: Units
    own: RowsByResponse | None = None
    largest: int = static(default=LARGE_BATCH)
    mesh: jax.sharding.Mesh | None = static(default=None)

    def without_rows(self) -> Self:
        """Return the problems as a search takes them, whose compiled functions do not depend on the number of rows."""
        return self.replace(likelihood=self.likelihood.without_rows())

    @property
    def size(self) -> int:
        """The number of responses."""
        return int(self.responses.scale.shape[0])

    def with_responses(self, index: Int[NumpyArray, " b"], responses: Response) -> Self:
        """Return the problems with other ``responses`` at ``index``."""
        if index.size == self.size:
            return self.replace(responses=responses)

        before, new = (some.replace(fixed=None) for some in (self.responses, responses))
        return self.replace(responses=put(before, index, new).replace(fixed=self.responses.fixed))

    def only(self, index: Int[NumpyArray, " b"]) -> Self:
        """Return the problems ``index``."""
        by_response = self.responses.replace(fixed=None), self.own
        responses, own = jax.tree.map(lambda leaf: np.asarray(leaf)[index], by_response)
        return self.replace(responses=responses.replace(fixed=self.responses.fixed), own=own)

    def batches(self, size: int) -> Iterator[tuple[Int[NumpyArray, " _"], int]]:
        """Split ``size`` arguments as :func:`batches`; of a single problem they are taken one by one.

        The sizes of batches are few, because each is a compiled function.
        """
        if self.size == 1:
            return batches(size, 1, 1)
        few = self.likelihood.layout.family is not None and self.size <= FEW_RESPONSES
        return batches(size, self.largest, FEW_RESPONSES if few else SMALL_BATCH)

    def each(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return ``function(problem, *arguments)`` for every problem, along a new first axis, as ``arguments`` have."""
        by_response = jax.tree.map(jnp.asarray, (self.responses.replace(fixed=None), self.own))

        def one(by_response: tuple[Response, RowsByResponse | None], arguments: tuple[Any, ...]) -> T:
            response, own = by_response
            likelihood = self.likelihood.for_response(response)
            if own is None:
                problem = Problem(likelihood, response.replace(fixed=self.responses.fixed), self.units)
            else:
                likelihood = likelihood.replace(solver=own.solver or likelihood.solver)
                problem = Problem(likelihood, response.replace(fixed=own.fixed), own.units)
            return function(problem, *arguments)

        if self.size == 1:
            result = one(*jax.tree.map(lambda leaf: leaf[0], (by_response, arguments)))
            return jax.tree.map(lambda leaf: leaf[None], result)
        if self.likelihood.solver.sequential:
            return jax.lax.map(lambda both: one(*both), (by_response, arguments))
        together = self.likelihood.together
        if together is None or together >= self.size:
            return jax.vmap(one)(by_response, arguments)
        mapped: T = jax.lax.map(lambda both: one(*both), (by_response, arguments), batch_size=together)
        return mapped


def run_over_devices(mesh: jax.sharding.Mesh, function: Callable[..., T], whole: Any, *parts: Any, axis: int = 0) -> T:
    """Return ``function(whole, *parts)``, each device of the mesh doing it for its share of an ``axis`` of the parts.

    The result has its first axis over all shares.
    """
    everywhere, first = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(*mesh.axis_names)
    among = jax.sharding.PartitionSpec(*[None] * axis, *mesh.axis_names)
    specs = (everywhere, *[among] * len(parts))
    divided = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=first, check_vma=False)
    result: T = divided(*jax.tree.map(jnp.asarray, (whole, *parts)))
    return result


def over_devices(function: Callable[P, T]) -> Callable[P, T]:
    """Let each device of the problems' mesh do ``function(problems, *arguments)`` for a part of the problems.

    ``arguments`` and the result have a first axis over them. No device waits for another: collective operations of
    compiled functions that run at the same time can deadlock on CPUs.
    """

    @functools.wraps(function)
    def divided(problems: Problems, *arguments: Any, **shared: Any) -> Any:
        each: Any = function
        mesh = problems.mesh
        if mesh is None or problems.size % mesh.size != 0:
            return each(problems, *arguments, **shared)

        def part(
            whole: tuple[Any, ...], by_response: tuple[Response, RowsByResponse | None], arguments: tuple[Any, ...]
        ) -> Any:
            likelihood, units, fixed = whole
            responses, own = by_response
            some = problems.replace(
                likelihood=likelihood, units=units, responses=responses.replace(fixed=fixed), own=own, mesh=None
            )
            return each(some, *arguments, **shared)

        whole = problems.likelihood, problems.units, problems.responses.fixed
        by_response = problems.responses.replace(fixed=None), problems.own
        return run_over_devices(mesh, part, whole, by_response, arguments)

    return divided  # type: ignore[return-value]


def large_batch() -> int:
    """Return the most responses on which a compiled function works at once on the device that computes."""
    return LARGE_BATCH if default_device().platform == "cpu" else LARGE_BATCH_OF_ACCELERATOR


def batches(
    size: int, largest: int = LARGE_BATCH, smallest: int = SMALL_BATCH
) -> Iterator[tuple[Int[NumpyArray, " _"], int]]:
    """Split indices 0 … size − 1 into batches of few sizes, each padded by repetition, at most fourfold.

    The sizes are ``smallest``, 16 times this and so on, and ``largest``. Yields indices and how many of them count.

    >>> [(index.size, count) for index, count in batches(1100)]
    [(1024, 1024), (64, 64), (64, 12)]
    >>> [(index.size, count) for index, count in batches(10_000, largest=8192)]
    [(8192, 8192), (1024, 1024), (1024, 784)]
    """
    sizes = [min(smallest, largest)]
    while sizes[-1] < largest:
        sizes.append(min(16 * sizes[-1], largest))
    start = 0
    while start < size:
        left = size - start
        fitting = next((number for number, padded in enumerate(sizes) if padded >= left), len(sizes) - 1)
        larger, smaller = sizes[fitting], sizes[max(fitting - 1, 0)]
        padded = larger if left > larger // 4 or left > 4 * smaller else smaller
        count = min(padded, left)
        yield start + np.resize(np.arange(count), padded), count
        start += count


def in_batches(problems: Problems, run: Callable[..., T], index: Int[NumpyArray, " b"], *arguments: Any) -> T:
    """Return ``run(problems, *arguments)`` of the problems ``index``, batch by batch, on the host.

    ``arguments`` and the result have a first axis over ``index``.
    """
    parts = []
    for chosen, count in problems.batches(index.size):
        some = problems if problems.size == 1 else problems.only(index[chosen])
        parts.append((run(some, *take(arguments, chosen)), count))
    cut = [jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], part) for part, count in parts]
    return cut[0] if len(cut) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *cut)


def take(tree: T, index: NumpyArray | int) -> T:
    """Return the rows ``index`` of every leaf."""
    part: T = jax.tree.map(lambda leaf: leaf[index], tree)
    return part


def put(tree: T, index: NumpyArray, rows: T) -> T:
    """Return the tree with other ``rows`` at ``index`` of every leaf."""

    def changed(leaf: NumpyArray, new: NumpyArray) -> NumpyArray:
        copy = np.array(leaf)
        copy[index] = new
        return copy

    result: T = jax.tree.map(changed, tree, rows)
    return result
