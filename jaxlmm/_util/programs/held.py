"""Executables held in memory: those used last, as many as the memory maps of the process allow."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path

from jaxlmm._util.programs.executable import Executable

MAX_EXECUTABLES = 64
"""Executables held at once; each takes about 14 MB of memory, and a fraction of a second to read again."""

MAX_SHARE_OF_MEMORY_MAPS = 0.75
"""Share of the memory maps that Linux grants a process at which executables are forgotten. Each takes many maps, and
LLVM aborts the process that has none left."""

_held: OrderedDict[Hashable, Executable] = OrderedDict()
_caches: list[Callable[[], None]] = []
_in_the_making: dict[Hashable, Future[Executable]] = {}
_lock = threading.Lock()
_made_ready = 0


def executable(key: Hashable, make: Callable[[], Executable]) -> Executable:
    """Return the executable of a ``key``, made if it is not held; another thread that makes it is waited for."""
    with _lock:
        found = _held.get(key)
        if found is not None:
            _held.move_to_end(key)
            return found
        others = _in_the_making.get(key)
        own = _in_the_making.setdefault(key, Future())
    if others is not None:
        return others.result()
    try:
        own.set_result(_keep(key, make()))
    except BaseException as error:
        own.set_exception(error)
        raise
    finally:
        del _in_the_making[key]  # held by now, so that no other thread makes it again
    return own.result()


def _keep(key: Hashable, made: Executable) -> Executable:
    """Hold an executable, and let go of others if there are too many."""
    global _made_ready
    with _lock:
        _held[key] = made
        _made_ready += 1
        crowded = _maps() > MAX_SHARE_OF_MEMORY_MAPS * _most_maps()
        most = len(_held) // 2 if crowded else MAX_EXECUTABLES
        while len(_held) > most:
            _held.popitem(last=False)
    if crowded:
        for clear_cache in _caches:
            clear_cache()
    return made


def has(key: Hashable) -> bool:
    """Return whether the executable of a ``key`` is held, or being made."""
    return key in _held or key in _in_the_making


def jitted_too(clear_cache: Callable[[], None]) -> None:
    """Let go of what ``jax.jit`` has compiled, by its ``clear_cache``, together with all executables."""
    _caches.append(clear_cache)


def made_ready() -> int:
    """Return how many executables this process has compiled, or read from the store, so far."""
    return _made_ready


def forget() -> None:
    """Forget all executables, and what ``jax.jit`` has compiled of the same functions."""
    with _lock:
        _held.clear()
    for clear_cache in _caches:
        clear_cache()


def _maps() -> int:
    """Return the number of memory maps of this process; 0 where there is no such number."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


@functools.cache
def _most_maps() -> float:
    limit = Path("/proc/sys/vm/max_map_count")
    return float(limit.read_text()) if limit.exists() else float("inf")
