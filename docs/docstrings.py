"""How the package's docstrings are read for the reference: links between them, and methods that are plain functions."""

import copy
import inspect
import re
from typing import Any

import griffe

import jaxlmm

ROLE = re.compile(r":(?:func|meth|class|mod|attr|data|exc):`~?([\w.]+)`")


def is_public(path: str) -> bool:
    """Whether a dotted path is a public name, or a public member of one."""
    owner: Any = jaxlmm
    first, *names = path.split(".")
    if first != "jaxlmm" or not names:
        return False
    for name in names:
        if name not in getattr(owner, "__all__", dir(owner)) or name.startswith("_"):
            return False
        owner = getattr(owner, name)
    return True


def link(found: re.Match[str]) -> str:
    """A link where the name has an entry, else the name as code."""
    path = found[1]
    return f"[`{path}`][{path}]" if is_public(path) else f"`{path}`"


def _target(found: Any) -> Any:
    """What a name stands for in the end, None if that is not in the package."""
    try:
        return found.final_target if found is not None and found.is_alias else found
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None


class Docstrings(griffe.Extension):
    """Rewrites docstrings when they are collected, and classes when all modules are."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Write cross-references as Markdown: ``:func:`jaxlmm.fit``` is a link to its entry."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(link, obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Tell functions from modules of the same name, and methods from attributes such as ``coef = coef``."""
        packages = {name: getattr(jaxlmm, name) for name in ("genetics", "covariance", "solvers")}
        for path, module in {"": jaxlmm, **packages}.items():
            home = pkg[path] if path else pkg
            found = {name: target for name in module.__all__ if (target := _target(home.members.get(name))) is not None}
            for name, target in found.items():
                value = getattr(module, name)
                if target.is_module and not inspect.ismodule(value):
                    function = _target(loader.modules_collection[f"{value.__module__}.{value.__name__}"])
                    home.set_member(name, griffe.Alias(name, function, parent=home))
        for name in jaxlmm.__all__:
            owner = _target(pkg.members.get(name))
            if owner is not None and owner.is_class:
                for member, attribute in list(owner.members.items()):
                    if not attribute.is_alias and attribute.is_attribute:
                        function = self._function(getattr(getattr(jaxlmm, name), member, None), loader)
                        if function is not None:
                            owner.set_member(member, function)

    @staticmethod
    def _function(value: Any, loader: griffe.GriffeLoader) -> griffe.Function | None:
        """A copy of the function that an attribute of a class is, without its first parameter."""
        if not inspect.isfunction(value):
            return None
        found = _target(loader.modules_collection[f"{value.__module__}.{value.__qualname__}"])
        method = copy.copy(found)
        method.parameters = griffe.Parameters(*list(found.parameters)[1:])
        return method
