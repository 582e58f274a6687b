"""Responses of one likelihood, prepared, and how functions of one work on any number of them, block by block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import NumpyArray, Struct, static
from jaxlmm.inference import Units
from jaxlmm.likelihood import Likelihood, Response
from jaxlmm.solvers import AbstractSolver

SMALL_BLOCK, LARGE_BLOCK = 64, 1024
"""How many problems a compiled program works on at once; numbers between are padded to one of these."""

P = ParamSpec("P")
T = TypeVar("T")


class Problem(NamedTuple):
    """One response with its likelihood and what turns its result into the data's units."""

    likelihood: Likelihood
    response: Response
    units: Units


class RowsByResponse(Struct):
    """What responses do not share when each has rows or columns of its own; every leaf has a first axis over them.

    ``solver`` is None where it is shared after all.
    """

    solver: AbstractSolver | None
    fixed: Any
    units: Units


class Problems(Struct):
    """``responses`` of one ``likelihood``: every leaf but those of ``fixed`` has a first axis over them.

    They stay on the host, and programs are handed a block of them, so that their number compiles nothing. ``units``
    are those of the design. ``own`` is None where all responses have the rows of the design; otherwise it
    takes the place of solver, ``fixed`` and ``units``. ``largest`` is the largest block that fits into memory, and
    responses are spread over the devices of a ``mesh``, if there is one.
    """

    likelihood: Likelihood
    responses: Response
    units: Units
    own: RowsByResponse | None = None
    largest: int = static(default=LARGE_BLOCK)
    mesh: jax.sharding.Mesh | None = static(default=None)

    @property
    def size(self) -> int:
        """The number of responses."""
        return int(self.responses.scale.shape[0])

    def with_responses(self, index: NumpyArray, responses: Response) -> Self:
        """Return the problems with other ``responses`` at ``index`` (b,)."""
        if index.size == self.size:
            return self.replace(responses=responses)

        mine, others = (some.replace(fixed=None) for some in (self.responses, responses))
        return self.replace(responses=into(mine, index, others).replace(fixed=self.responses.fixed))

    def only(self, index: NumpyArray) -> Self:
        """Return the problems ``index`` (b,)."""
        theirs = self.responses.replace(fixed=None), self.own
        responses, own = jax.tree.map(lambda leaf: np.asarray(leaf)[index], theirs)
        return self.replace(responses=responses.replace(fixed=self.responses.fixed), own=own)

    def blocks(self, size: int) -> Iterator[tuple[NumpyArray, int]]:
        """Split ``size`` places as :func:`blocks`; the sizes are few, because each is a compiled program.

        Places of a single problem, which it may have several of, are taken one by one.
        """
        return blocks(size, 1, 1) if self.size == 1 else blocks(size, self.largest)

    def each(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return ``function(problem, *arguments)`` for every problem, along a new first axis, as ``arguments`` have."""
        theirs = jax.tree.map(jnp.asarray, (self.responses.replace(fixed=None), self.own))

        def one(theirs: tuple[Response, RowsByResponse | None], arguments: tuple[Any, ...]) -> T:
            response, own = theirs
            likelihood = self.likelihood.for_response(response)
            if own is None:
                problem = Problem(likelihood, response.replace(fixed=self.responses.fixed), self.units)
            else:
                likelihood = likelihood.replace(solver=own.solver or likelihood.solver)
                problem = Problem(likelihood, response.replace(fixed=own.fixed), own.units)
            return function(problem, *arguments)

        if self.size == 1:
            found = one(*jax.tree.map(lambda leaf: leaf[0], (theirs, arguments)))
            return jax.tree.map(lambda leaf: leaf[None], found)
        if self.likelihood.solver.sequential:
            return jax.lax.map(lambda both: one(*both), (theirs, arguments))
        return jax.vmap(one)(theirs, arguments)


def among_devices(mesh: jax.sharding.Mesh, function: Callable[..., T], whole: Any, *parts: Any, axis: int = 0) -> T:
    """Return ``function(whole, *parts)``, each device of the mesh doing it for its share of an axis of the parts.

    What is returned has its first axis over all shares.
    """
    everywhere, first = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(*mesh.axis_names)
    among = jax.sharding.PartitionSpec(*[None] * axis, *mesh.axis_names)
    specs = (everywhere, *[among] * len(parts))
    divided = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=first, check_vma=False)
    found: T = divided(*jax.tree.map(jnp.asarray, (whole, *parts)))
    return found


def spread(function: Callable[P, T]) -> Callable[P, T]:
    """Let each device of the problems' mesh do ``function(problems, *arguments)`` for a part of the problems.

    ``arguments`` and what is returned have a first axis over them. No device waits for another: collective operations
    of programs that run at the same time can deadlock on CPUs.
    """

    @functools.wraps(function)
    def divided(problems: Problems, *arguments: Any, **shared: Any) -> Any:
        each: Any = function
        mesh = problems.mesh
        if mesh is None or problems.size % mesh.size != 0:
            return each(problems, *arguments, **shared)

        def part(
            whole: tuple[Any, ...], theirs: tuple[Response, RowsByResponse | None], arguments: tuple[Any, ...]
        ) -> Any:
            likelihood, units, fixed = whole
            responses, own = theirs
            some = problems.replace(
                likelihood=likelihood, units=units, responses=responses.replace(fixed=fixed), own=own, mesh=None
            )
            return each(some, *arguments, **shared)

        whole = problems.likelihood, problems.units, problems.responses.fixed
        theirs = problems.responses.replace(fixed=None), problems.own
        return among_devices(mesh, part, whole, theirs, arguments)

    return divided  # type: ignore[return-value]


def blocks(size: int, largest: int = LARGE_BLOCK, smallest: int = SMALL_BLOCK) -> Iterator[tuple[NumpyArray, int]]:
    """Split places 0 … size − 1 into blocks of two sizes, each padded by repetition.

    Yields places and how many of them count.

    >>> [(places.size, count) for places, count in blocks(1100)]
    [(1024, 1024), (64, 64), (64, 12)]
    """
    sizes = sorted({min(smallest, largest), largest})
    start = 0
    while start < size:
        left = size - start
        larger = next((block for block in sizes if block >= left), largest)
        block = larger if left > larger // 4 or left > 4 * sizes[0] else sizes[0]
        count = min(block, left)
        yield start + np.resize(np.arange(count), block), count
        start += count


def in_blocks(problems: Problems, run: Callable[..., T], index: NumpyArray, *arguments: Any) -> T:
    """Return ``run(problems, *arguments)`` (b, ...) of the problems ``index`` (b,), block by block, on the host."""
    parts = []
    for places, count in problems.blocks(index.size):
        chosen = jax.tree.map(lambda leaf, places=places: leaf[places], arguments)
        some = problems if problems.size == 1 else problems.only(index[places])
        parts.append((run(some, *chosen), count))
    cut = [jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], part) for part, count in parts]
    return cut[0] if len(cut) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *cut)


def put(old: NumpyArray, index: NumpyArray, new: NumpyArray) -> NumpyArray:
    """Return ``old`` with ``new`` rows at ``index``."""
    changed = np.array(old)
    changed[index] = new
    return changed


def of(found: T, index: NumpyArray) -> T:
    """Return what was found for ``index``, every leaf."""
    part: T = jax.tree.map(lambda leaf: leaf[index], found)
    return part


def into(old: T, index: NumpyArray, new: T) -> T:
    """Return ``old`` with ``new`` rows at ``index``, every leaf."""
    changed: T = jax.tree.map(lambda one, other: put(one, index, other), old, new)
    return changed
