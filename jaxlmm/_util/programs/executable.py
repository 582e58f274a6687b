"""An executable: machine code of one function for one signature, which can be written to a file."""

from __future__ import annotations

import functools
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable

LAPACK = b"lapack_"
"""Stands in every executable that calls LAPACK, as the name of the function."""


class _Reads(threading.local):
    """How often JAX has read its own persistent cache in this thread."""

    count = 0


_reads = _Reads()


def _listen(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _reads.count += 1


jax.monitoring.register_event_listener(_listen)


class Executable:
    """Compiled code that takes the leaves of the arguments, and the tree of its result.

    ``whole`` says that it was compiled here: one that JAX read from its own persistent cache lacks its machine code
    when it is serialized again.
    """

    def __init__(self, code: jax.stages.Compiled, tree: jax.tree_util.PyTreeDef, *, whole: bool) -> None:
        self.code, self.tree, self.whole = code, tree, whole

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return jax.tree.unflatten(self.tree, self.code(*leaves))

    @classmethod
    def compiled(
        cls,
        function: Callable[..., Any],
        tree: jax.tree_util.PyTreeDef,
        leaves: Sequence[Any],
        static: Mapping[str, Any],
        options: Mapping[str, Any],
        traced: Callable[[], None],
    ) -> Executable:
        """Trace and compile ``function(*args, **kwargs, **static)`` for the arguments with these tree and leaves.

        ``traced`` is called before the compiler, which leaves other threads free to trace.
        """
        trees: list[jax.tree_util.PyTreeDef] = []
        before, flat = _reads.count, of_leaves(function, tree, static, trees.append)
        lowered = jax.jit(flat, compiler_options=dict(options) or None).lower(*leaves)
        traced()
        code = lowered.compile()
        return cls(code, trees[-1], whole=_reads.count == before)

    def serialized(self) -> bytes | None:
        """Return the executable as bytes; None where it is not whole, or compiler or a user's class cannot write it."""
        if not self.whole:
            return None
        try:
            code, _, _ = serialize_executable.serialize(self.code)
            return pickle.dumps((code, self.tree))
        except Exception:  # whatever a backend or a class raises: the function runs all the same
            return None

    @classmethod
    def loaded(cls, written: bytes, count: int, device: jax.Device) -> Executable | None:
        """Return the executable of ``count`` leaves that was serialized, for a device; None where it cannot be read."""
        try:
            if LAPACK in written:
                _find_lapack()
            code, tree = pickle.loads(written)
            arguments = jax.tree.structure((tuple(range(count)), {}))
            results = jax.tree.structure(list(range(tree.num_leaves)))
            loaded = serialize_executable.deserialize_and_load(
                code, arguments, results, backend=device.client, execution_devices=[device]
            )
            return cls(loaded, tree, whole=False)
        except Exception:  # a class that moved, a driver that changed: it is compiled again
            return None


@functools.cache
def _find_lapack() -> None:
    """Let JAX look up the functions of LAPACK, as it does when it first lowers a call of one.

    An executable that was compiled in another process calls them by address, and would crash.
    """
    jax.jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))


def of_leaves(
    function: Callable[..., Any],
    tree: jax.tree_util.PyTreeDef,
    static: Mapping[str, Any],
    note: Callable[[jax.tree_util.PyTreeDef], None] = lambda tree: None,
) -> Callable[..., list[Any]]:
    """Return ``function(*args, **kwargs, **static)`` as a function of the leaves of a ``tree`` of arguments.

    It returns the leaves of the result, whose tree is handed to ``note`` when it is traced.
    """

    def flat(*leaves: Any) -> list[Any]:
        args, kwargs = jax.tree.unflatten(tree, leaves)
        results, out = jax.tree.flatten(function(*args, **kwargs, **static))
        note(out)
        return results

    flat.__name__ = function.__name__
    return flat
