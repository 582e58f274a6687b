"""Compiled functions: what ``jax.jit`` does, with executables that are kept on disk from one process to the next."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import jax
import numpy as np

from jaxlmm._util.devices import default_device
from jaxlmm._util.precision import double_precision
from jaxlmm._util.programs import held
from jaxlmm._util.programs.digest import Unstable, digest, named
from jaxlmm._util.programs.executable import Executable
from jaxlmm._util.programs.machine import compiler
from jaxlmm._util.programs.store import store

P = ParamSpec("P")
T = TypeVar("T")

CPU_OPTIONS = {"xla_cpu_use_fusion_emitters": False}
"""Many small kernels compile twice as fast with the older code generator, and run nearly as fast, but for scatters."""

ONCE_OPTIONS = {
    **CPU_OPTIONS,
    "xla_backend_optimization_level": 0,
    "xla_disable_hlo_passes": "while-loop-invariant-code-motion,simplify-while-loops",
}
"""Options of functions that run once per fit, on few numbers: their code is not optimized. Those two passes over loops
take half of the compiler's time where loops are within loops, as in a search for modes."""

MAX_ENTRIES_COMPILED_ONCE = 100_000
"""Entries of all arguments up to which optimizing code that runs once costs more than it saves."""

TRACING_FLAGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_threefry_partitionable",
    "jax_optimization_level",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_memory_fitting_effort",
)
"""JAX's settings on which the compiled code depends."""

CHECKING_FLAGS = ("jax_disable_jit", "jax_debug_nans", "jax_debug_infs", "jax_check_tracer_leaks")
"""JAX's settings that are looked at while a function runs or is traced: then ``jax.jit`` is called as it is."""

_unknown: set[str] = set()
"""Options that this version of the compiler does not know."""


def program(
    *, once: bool | Callable[..., bool] = False, scatters: bool = False, static: tuple[str, ...] = ()
) -> Callable[[Callable[P, T]], Program[P, T]]:
    """Compile a function once per shape of its arguments; nothing happens before the first call.

    ``once`` says, or tells from the arguments, that the function runs once per fit, so that its compile time counts as
    much as its run time;
    ``scatters`` that it spends its time adding up rows by level, which the older code generator makes a loop over rows;
    ``static`` names arguments for each value of which it is compiled.
    """
    return lambda function: Program(function, once=once, scatters=scatters, static=static)


class Signature(NamedTuple):
    """What an executable is compiled for: the tree of its arguments, their shapes and types, JAX's settings, device."""

    tree: jax.tree_util.PyTreeDef
    leaves: tuple[tuple[Any, ...], ...]
    static: tuple[tuple[str, Any], ...]
    flags: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    device: jax.Device


class Program(Generic[P, T]):
    """A function of pytrees of arrays that is compiled, or read from the store, for each new signature.

    Inside another traced function, for arrays on several devices, and where JAX is set to check what runs, it is
    ``jax.jit`` of the function.
    """

    def __init__(
        self, function: Callable[P, T], *, once: bool | Callable[..., bool], scatters: bool, static: tuple[str, ...]
    ) -> None:
        self.function, self.once, self.scatters, self.static = function, once, scatters, static
        self.identity = named(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        static = tuple((name, kwargs.pop(name)) for name in self.static if name in kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):  # where JAX permits no options of the compiler
            return self._jitted(frozenset())(*args, **kwargs, **dict(static))
        signature = self._signature(args, tree, leaves, static)
        if signature is None:
            names = frozenset(self._options(args, leaves)) - _unknown
            return self._jitted(names)(*args, **kwargs, **dict(static))
        executable = self._executable(signature, leaves)
        _begin_waiting()
        result: T = executable(leaves)
        return result

    def ahead(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Compile for these arguments in another thread, in double precision; a call waits for it.

        The thread begins when the next program that is called has been traced: two that trace hinder each other.
        """
        leaves, tree = jax.tree.flatten((args, kwargs))
        signature = self._signature(args, tree, leaves, ())
        if signature is None or os.cpu_count() == 1 or held.has((self, signature)):
            return

        def make(signature: Signature) -> None:
            with double_precision():  # settings of a thread are its own
                if signature == self._signature(args, tree, leaves, ()):
                    self._executable(signature, leaves)

        _waiting.append(functools.partial(make, signature))

    def _signature(
        self,
        args: tuple[Any, ...],
        tree: jax.tree_util.PyTreeDef,
        leaves: list[Any],
        static: tuple[tuple[str, Any], ...],
    ) -> Signature | None:
        """Return what an executable for these arguments is compiled for; None where ``jax.jit`` has to do it."""
        device = None if any(value is not None for _, value in static) else _device(leaves)
        if device is None or any(getattr(jax.config, flag, False) for flag in CHECKING_FLAGS):
            return None
        flags = tuple(getattr(jax.config, flag, None) for flag in TRACING_FLAGS)
        options = tuple(sorted(option for option in self._options(args, leaves).items() if option[0] not in _unknown))
        return Signature(tree, tuple(map(_kind, leaves)), static, flags, options, device)

    def _executable(self, signature: Signature, leaves: list[Any]) -> Executable:
        """Return the executable of a signature, but for options that this compiler does not know."""
        while True:
            known = tuple(option for option in signature.options if option[0] not in _unknown)
            signature = signature._replace(options=known)
            try:
                return held.executable((self, signature), functools.partial(self._ready, signature, leaves))
            except Exception as error:
                refused = {name for name, _ in known if name in str(error)}
                if not refused:
                    raise
                _unknown.update(refused)  # it names one at a time

    def _options(self, args: tuple[Any, ...], leaves: list[Any]) -> dict[str, Any]:
        """Return the options for a compiler of the device that computes."""
        if default_device().platform != "cpu":
            return {}
        once = self.once(*args) if callable(self.once) else self.once
        if once and sum(np.size(leaf) for leaf in leaves) < MAX_ENTRIES_COMPILED_ONCE:
            return ONCE_OPTIONS
        return {} if self.scatters else CPU_OPTIONS

    @functools.cache  # noqa: B019
    def _jitted(self, names: frozenset[str]) -> Any:
        """Return ``jax.jit`` of the function, with the options of these names."""
        options = {name: ONCE_OPTIONS[name] for name in sorted(names)} or None
        jitted: Any = jax.jit(self.function, static_argnames=self.static, compiler_options=options)
        held.jitted_too(jitted.clear_cache)
        return jitted

    def _ready(self, signature: Signature, leaves: list[Any]) -> Executable:
        """Return the executable of a signature, from the store or newly compiled."""
        place = store()
        try:
            key = digest(compiler(signature.device), self.identity, signature._replace(device=None))
        except Unstable:
            place = None
        if place is not None:
            stored = place.read(key)
            executable = None if stored is None else Executable.loaded(stored, len(leaves), signature.device)
            if executable is not None:
                return executable
        executable = Executable.compiled(
            self.function, signature.tree, leaves, dict(signature.static), dict(signature.options), _begin_waiting
        )
        if place is not None:
            place.write(key, executable.serialized)
        return executable


_waiting: collections.deque[Callable[[], None]] = collections.deque()
"""What is to be compiled ahead."""


def _begin_waiting() -> None:
    """Let the other thread compile what waits for it."""
    while _waiting:
        _compiler().submit(_waiting.popleft())


@functools.cache
def _compiler() -> ThreadPoolExecutor:
    """Return the thread that compiles ahead; a process that ends waits for it."""
    return ThreadPoolExecutor(1, thread_name_prefix="jaxlmm-compiler")


def _kind(leaf: Any) -> tuple[Any, ...]:
    """Return shape and type of an argument."""
    if isinstance(leaf, jax.Array):
        return leaf.shape, leaf.dtype, bool(leaf.aval.weak_type)
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.shape, leaf.dtype, False
    return (type(leaf),)


def _device(leaves: list[Any]) -> jax.Device | None:
    """Return the one device that runs a function of these arguments; None where they are on several."""
    devices = set()
    for leaf in leaves:
        if isinstance(leaf, jax.Array):
            if not isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding):
                return None
            if leaf.committed:
                devices |= leaf.devices()
    if len(devices) > 1:
        return None
    return devices.pop() if devices else default_device()
