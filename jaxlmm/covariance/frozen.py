"""The error of an author who sets an attribute of a structure."""

from __future__ import annotations

from typing import Any

from jaxlmm.errors import OptionError


def refuse_to_set(self: object, name: str, value: Any) -> None:
    """Raise in place of ``self.name = value``: structures are frozen, and JAX rebuilds them from their fields."""
    kind, own = type(value).__name__, type(self).__name__
    raise OptionError(
        f"{own}: self.{name} = {value!r} cannot be set, structures are frozen. Declare a field in the class, "
        f"'{name}: {kind}' (numbers and arrays) or '{name}: {kind} = lmm.covariance.static()' (what sets shapes, "
        f"branches and functions), without an __init__, and make the object as {own}({name}={value!r})."
    )
