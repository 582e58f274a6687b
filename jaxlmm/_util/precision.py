"""Double precision, whatever the caller's JAX flags: the public verbs run in it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Use 64-bit JAX types; the caller's own flag is untouched before and after."""
    with jax.enable_x64(True):
        yield


def in_double_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Run ``function`` in :func:`double_precision`."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        with double_precision():
            return function(*args, **kwargs)

    return wrapped
