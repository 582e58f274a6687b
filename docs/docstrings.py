"""How the package's docstrings are read for the reference: links between them, and methods that are plain functions."""

import copy
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


class Docstrings(griffe.Extension):
    """Rewrites docstrings when they are collected, and classes when all modules are."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Write cross-references as Markdown: ``:func:`jaxlmm.fit``` is a link to its entry."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(link, obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Make methods of attributes such as ``coef = fixed.coef``, whose values are functions of other modules."""
        for name in jaxlmm.__all__:
            try:
                owner = pkg[name]
                owner = owner.final_target if owner.is_alias else owner
            except (KeyError, griffe.AliasResolutionError):
                continue
            if owner.is_class:
                for member, attribute in list(owner.members.items()):
                    function = self._function(attribute, loader)
                    if function is not None:
                        owner.set_member(member, function)

    @staticmethod
    def _function(attribute: griffe.Object, loader: griffe.GriffeLoader) -> griffe.Function | None:
        """A copy of the function that an attribute of a class is bound to, without its first parameter."""
        if attribute.is_alias or not attribute.is_attribute or not isinstance(attribute.value, griffe.Expr):
            return None
        try:
            found = loader.modules_collection[attribute.value.canonical_path]
            found = found.final_target if found.is_alias else found
        except (KeyError, griffe.AliasResolutionError):
            return None
        if not found.is_function:
            return None
        method = copy.copy(found)
        method.parameters = griffe.Parameters(*list(found.parameters)[1:])
        return method
