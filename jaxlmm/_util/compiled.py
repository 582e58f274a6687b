"""Compiled functions: ``jax.jit`` with options that halve the time to compile on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

CPU_OPTIONS = {"xla_cpu_use_fusion_emitters": False}
"""Many small kernels compile twice as fast with the older code generator, and run nearly as fast, but for scatters."""

ONCE_OPTIONS = {**CPU_OPTIONS, "xla_backend_optimization_level": 0}
"""Options of functions that run once per fit, on few numbers: their code is not optimized."""

MAX_ENTRIES_COMPILED_ONCE = 100_000
"""Entries of all arguments up to which optimizing code that runs once costs more than it saves."""

MAX_SHARE_OF_MEMORY_MAPS = 0.75
"""Share of the memory maps that Linux grants a process at which compiled functions are forgotten. Each takes hundreds
of maps, and LLVM aborts the process that has none left: some sixty models with several grouping factors."""

_unknown: set[str] = set()
"""Options that this version of the compiler does not know."""

_jitted_functions: list[Any] = []


def program(
    *, once: bool = False, scatters: bool = False, static: tuple[str, ...] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Compile a function once per shape of its arguments; nothing happens before the first call.

    ``once`` says that the function runs once per fit, so that its compile time counts as much as its run time;
    ``scatters`` that it spends its time adding up rows by level, which the older code generator makes a loop over rows;
    ``static`` names arguments for each value of which it is compiled.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.cache
        def compiled(names: frozenset[str]) -> Callable[P, T]:
            options = {name: ONCE_OPTIONS[name] for name in sorted(names)} or None
            jitted = jax.jit(function, static_argnames=static, compiler_options=options)
            _jitted_functions.append(jitted)
            return jitted

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            quick = once and sum(np.size(leaf) for leaf in jax.tree.leaves(args)) < MAX_ENTRIES_COMPILED_ONCE
            usual = {} if scatters else CPU_OPTIONS
            options = (ONCE_OPTIONS if quick else usual) if jax.default_backend() == "cpu" else {}
            names = frozenset(options) - _unknown
            jitted: Any = compiled(names)
            before = jitted._cache_size()
            try:
                result: T = jitted(*args, **kwargs)
            except Exception as error:
                refused = {name for name in names if name in str(error)}
                if not refused:
                    raise
                _unknown.update(refused)  # a compiler that no longer knows an option; it names one at a time
                return run(*args, **kwargs)
            if jitted._cache_size() != before:
                _forget_where_crowded()
            return result

        return run

    return decorate


def _forget_where_crowded() -> None:
    """Forget all compiled functions where too few memory maps are left for another."""
    if _maps() > MAX_SHARE_OF_MEMORY_MAPS * _most_maps():
        for jitted in _jitted_functions:
            jitted.clear_cache()


def _maps() -> int:
    """Return the number of memory maps of this process; 0 where there is no such number."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


@functools.cache
def _most_maps() -> float:
    limit = Path("/proc/sys/vm/max_map_count")
    return float(limit.read_text()) if limit.exists() else float("inf")
