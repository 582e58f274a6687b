"""The one base of every pytree in the package: a frozen dataclass that JAX can see through."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, dataclass_transform

import jax
import numpy as np


def static(**kwargs: Any) -> Any:
    """Declare a field that sets shapes, branches or functions; it must be hashable. Each value is compiled anew."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


def aside(*, default: Any = None) -> Any:
    """Declare a field of the host alone: it is None in what JAX rebuilds, and no two programs differ by it."""
    return dataclasses.field(metadata={"aside": True}, default=default)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, aside, dataclasses.field))
class Struct:
    """Base class: each subclass becomes a frozen dataclass and a pytree, without a decorator.

    Fields are children (arrays or other pytrees) unless declared with :func:`static` or :func:`aside`. Rebuilding a
    value from its leaves, as ``vmap`` and ``jit`` do, does not run ``__init__`` or ``__post_init__``: the leaves may
    then be tracers. Pickled, it holds NumPy's arrays alone.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, eq=False)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        children = tuple(f.name for f in fields if not (f.metadata.get("static") or f.metadata.get("aside")))
        constants = tuple(f.name for f in fields if f.metadata.get("static"))
        left_out = tuple(f.name for f in fields if f.metadata.get("aside"))

        def flatten_with_keys(value: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
            keyed = [(jax.tree_util.GetAttrKey(name), getattr(value, name)) for name in children]
            return keyed, tuple(getattr(value, name) for name in constants)

        def flatten(value: Any) -> tuple[list[Any], tuple[Any, ...]]:
            return [getattr(value, name) for name in children], tuple(getattr(value, name) for name in constants)

        def unflatten(aux: tuple[Any, ...], leaves: Any) -> Any:
            value = object.__new__(cls)
            for name, leaf in zip(children, leaves, strict=True):
                object.__setattr__(value, name, leaf)
            for name, constant in zip(constants, aux, strict=True):
                object.__setattr__(value, name, constant)
            for name in left_out:
                object.__setattr__(value, name, None)
            return value

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)

    def __getstate__(self) -> dict[str, Any]:
        return {name: on_host(value) for name, value in self.__dict__.items()}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def on_host(value: Any) -> Any:
    """Return tuples, lists and dicts with NumPy's arrays instead of JAX's; each :class:`Struct` sees to its own.

    A pickled array of JAX comes back in the precision that the reader's JAX is set to, which is single by default.
    """

    def taken(leaf: Any) -> Any:
        return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(taken, value, is_leaf=lambda part: isinstance(part, Struct))


def is_traced(tree: Any) -> bool:
    """Whether an array in a pytree is traced by JAX: it has no numbers yet.

    >>> is_traced(np.ones(2)), jax.jit(lambda x: is_traced([x]))(np.ones(2)).item()
    (False, True)
    """
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
