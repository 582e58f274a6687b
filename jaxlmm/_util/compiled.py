"""Compiling the package's own programs: ``jax.jit`` with options that halve the time to compile on a CPU."""

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
"""For what runs once per fit on little data, optimizing the code costs more than it saves."""

LITTLE = 100_000
"""The number of entries of all arguments up to which data are little."""

CROWDED = 0.75
"""Share of the memory maps that Linux grants a process at which compiled programs are forgotten. Each takes hundreds
of maps, and LLVM aborts the process that has none left: some sixty models with several grouping factors."""

_unknown: set[str] = set()
"""Options that this version of the compiler does not know."""

_jitted_functions: list[Any] = []


def program(
    *, once: bool = False, scatters: bool = False, static: tuple[str, ...] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Compile a function once per shape of its arguments; nothing happens before the first call.

    ``once`` says that the program runs once per fit, so that its compile time counts as much as its run time;
    ``scatters`` that it spends its time adding up rows by level, which the older code generator makes a loop over rows;
    ``static`` names arguments for each value of which there is a program.
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
            quick = once and sum(np.size(leaf) for leaf in jax.tree.leaves(args)) < LITTLE
            usual = {} if scatters else CPU_OPTIONS
            wanted = (ONCE_OPTIONS if quick else usual) if jax.default_backend() == "cpu" else {}
            names = frozenset(wanted) - _unknown
            try:
                return _with_room(compiled(names), *args, **kwargs)
            except Exception as error:
                refused = {name for name in names if name in str(error)}
                if not refused:
                    raise
                _unknown.update(refused)  # a compiler that no longer knows an option; it names one at a time
                return run(*args, **kwargs)

        return run

    return decorate


def _with_room(jitted: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a program; if that has compiled, forget all programs where too little room is left for another."""
    before = jitted._cache_size()
    found = jitted(*args, **kwargs)
    if jitted._cache_size() != before and _maps() > CROWDED * _most_maps():
        for program in _jitted_functions:
            program.clear_cache()
    return found


def _maps() -> int:
    """Return the number of memory maps of this process; 0 where there is no such number."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


@functools.cache
def _most_maps() -> float:
    limit = Path("/proc/sys/vm/max_map_count")
    return float(limit.read_text()) if limit.exists() else float("inf")
