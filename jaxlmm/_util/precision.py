"""Every fit runs in float64, whatever the caller's JAX flags: the public verbs are entered through this door."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


def in_double_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Run ``function`` with 64-bit JAX types; the caller's own flag is untouched before and after."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped
