"""Array types of annotations; jaxtyping gives them a type of number and a shape.

``Float[Array, "n p"]`` is an array of floats with n rows and p columns; a name stands for one size within a call,
``*b`` for any number of first axes. The letters are those of the glossary. Tests check every call against them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = Any
"""An array of either library, or a tracer: what may come from the host or from inside a traced function."""

NumpyArray: TypeAlias = NDArray[Any]
"""An array on the host."""
