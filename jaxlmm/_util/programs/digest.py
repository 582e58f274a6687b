"""Digests that two processes agree on: of values, trees, and code that users wrote."""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import sys
import types
from typing import Any

import jax
import numpy as np

CHECKERS = frozenset({"jaxtyping", "beartype"})
"""Packages whose wrappers check arguments, and compute nothing."""

VERSIONED = frozenset({"jaxlmm", "jax", "jaxlib", "numpy", "optax", "scipy", *CHECKERS, *sys.stdlib_module_names}) - {
    "__main__"
}
"""Packages whose code is known by a version: here names suffice. All other code is read."""

GENERATED = frozenset({"__init__", "__repr__", "__eq__", "__hash__", "__replace__", "__setattr__", "__delattr__"})
"""Methods that dataclasses write; they say no more than the fields."""

IRRELEVANT = frozenset(
    {
        "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__",
        "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__", "__firstlineno__", "__match_args__",
        "__module__", "__orig_bases__", "__parameters__", "__qualname__", "__static_attributes__", "__weakref__",
        "_abc_impl",
    }
)  # fmt: skip
"""Attributes of a class that do not change what its methods compute."""


class Unstable(Exception):  # noqa: N818
    """A value that another process could not recognize."""


def digest(*values: Any) -> str:
    """Return a digest of values by which another process recognizes the same ones.

    Functions and classes of users count by their code, and by the globals and closures that it names.

    Raises
    ------
    Unstable
        If a value is of a kind of which this is not known.
    """
    return _Digest().of(values)


def named(function: Any) -> Any:
    """Return the name of a function that a module of a versioned package defines; another function as it is."""
    if _is_versioned(function.__module__) and "<locals>" not in function.__qualname__:
        return function.__module__, function.__qualname__
    return function


class _Digest:
    """A walk over values; what is met a second time counts as a reference to the first."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=20)
        self.met: dict[int, int] = {}
        self.alive: list[Any] = []  # ids are those of living objects

    def of(self, value: Any) -> str:
        self.add(value)
        return self.hash.hexdigest()

    def put(self, *words: str | bytes) -> None:
        for word in words:
            encoded = word.encode() if isinstance(word, str) else word
            self.hash.update(len(encoded).to_bytes(8, "little") + encoded)

    def add(self, value: Any) -> None:
        """Add one value."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            self.put(type(value).__qualname__, repr(value))
        elif isinstance(value, np.dtype):
            self.put("dtype", value.str)
        elif isinstance(value, np.ndarray | np.generic | jax.Array):
            if isinstance(value, jax.Array):
                value = np.asarray(value)
            if value.dtype.hasobject:
                raise Unstable(type(value))
            self.put("array", value.dtype.str, repr(value.shape), np.ascontiguousarray(value).tobytes())
        elif isinstance(value, enum.Enum):
            self.put("enum", type(value).__module__, type(value).__qualname__, value.name)
        elif id(value) in self.met:
            self.put("again", str(self.met[id(value)]))
        else:
            self.met[id(value)] = len(self.met)
            self.alive.append(value)
            self.add_composed(value)

    def add_composed(self, value: Any) -> None:
        """Add a value that has parts."""
        if isinstance(value, jax.tree_util.PyTreeDef):
            self.add_tree(value)
        elif isinstance(value, tuple | list):
            self.put("sequence", str(len(value)))
            self.add(type(value))
            for part in value:
                self.add(part)
        elif isinstance(value, dict):
            self.put("dict", str(len(value)))
            for key, part in value.items():
                self.add(key)
                self.add(part)
        elif isinstance(value, set | frozenset):
            self.put("set", *sorted(digest(part) for part in value))
        elif isinstance(value, type):
            self.add_class(value)
        elif isinstance(value, types.ModuleType):
            if not _is_versioned(value.__name__):
                raise Unstable(value)
            self.put("module", value.__name__)
        elif isinstance(value, types.FunctionType):
            self.add_function(value)
        elif isinstance(value, types.BuiltinFunctionType) and _is_versioned(value.__module__ or "builtins"):
            self.name("builtin", value.__module__, value.__qualname__)
        elif isinstance(value, types.MethodType):
            self.add(value.__func__)
            self.add(value.__self__)
        elif isinstance(value, functools.partial):
            self.put("partial")
            self.add((value.func, value.args, value.keywords))
        elif isinstance(value, staticmethod | classmethod):
            self.put(type(value).__name__)
            self.add(value.__func__)
        elif isinstance(value, property):
            self.put("property")
            self.add((value.fget, value.fset))
        elif isinstance(value, functools.cached_property):
            self.put("cached_property")
            self.add(value.func)
        elif dataclasses.is_dataclass(value):
            self.put("dataclass")
            self.add(type(value))
            for field in dataclasses.fields(value):
                self.add((field.name, getattr(value, field.name)))
        elif hasattr(value, "__wrapped__"):  # jax.jit, functools.wraps
            self.put("wrapped", type(value).__module__, type(value).__qualname__)
            self.add(value.__wrapped__)
        elif _is_versioned(getattr(value, "__module__", None)) and hasattr(value, "__qualname__"):
            self.name("named", value.__module__, value.__qualname__)
        else:
            raise Unstable(type(value))

    def add_tree(self, tree: jax.tree_util.PyTreeDef) -> None:
        """Add the structure of a pytree."""
        node = tree.node_data()
        if node is None:
            self.put("leaf" if tree.num_leaves else "none")
            return
        self.put("node", str(len(tree.children())))
        self.add(node[0])
        self.add(node[1])
        for child in tree.children():
            self.add_tree(child)

    def name(self, kind: str, module: str | None, name: str) -> bool:
        """Add a name, and return whether a version stands for what it names."""
        versioned = _is_versioned(module)
        self.put(kind, module or "", name)
        if versioned and module is not None:
            self.put(str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", "")))
        return versioned

    def add_class(self, cls: type) -> None:
        """Add a class: its name, and the code of its methods unless a version stands for it."""
        if self.name("class", cls.__module__, cls.__qualname__):
            return
        for base in cls.__mro__[1:]:
            self.add(base)
        for name, attribute in sorted(vars(cls).items()):
            if name in IRRELEVANT or (name in GENERATED and dataclasses.is_dataclass(cls) and _is_generated(attribute)):
                continue
            if isinstance(attribute, types.MemberDescriptorType | types.GetSetDescriptorType):
                continue
            self.put(name)
            self.add(attribute)

    def add_function(self, function: types.FunctionType) -> None:
        """Add a function: its name and what it closes over, and its code and globals unless a version stands for it."""
        home = function.__globals__.get("__name__")  # not __module__, which functools.wraps takes from the one inside
        if home is not None and home.partition(".")[0] in CHECKERS and hasattr(function, "__wrapped__"):
            self.add(function.__wrapped__)
            return
        versioned = self.name("function", home, function.__qualname__)
        self.add((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            self.add(cell.cell_contents)
        if not versioned:
            self.add_code(function.__code__, function.__globals__)

    def add_code(self, code: types.CodeType, names: dict[str, Any]) -> None:
        """Add instructions and constants, and the globals that they name.

        A module that is imported within the function is none of its globals: what it has there is not known.
        """
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME" and not _is_versioned(step.argval):
                raise Unstable(step.argval)
        self.put("code", code.co_code)
        self.add((code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.add_code(constant, names)
            else:
                self.add(constant)
        for name in code.co_names:
            if name in names:
                self.put("global", name)
                value = names[name]
                if isinstance(value, types.ModuleType) and not _is_versioned(value.__name__):
                    self.put("module", value.__name__)
                    for attribute in code.co_names:  # whatever the code may ask this module for
                        if attribute in vars(value):
                            self.add((attribute, vars(value)[attribute]))
                else:
                    self.add(value)


def _is_versioned(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in VERSIONED


def _is_generated(attribute: Any) -> bool:
    code = getattr(attribute, "__code__", None)
    return code is None or code.co_filename == "<string>"
