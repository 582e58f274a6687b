"""Names for the arrays that signatures speak of."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of either library, or a tracer: what may come from the host or from inside a traced function."""

NumpyArray: TypeAlias = np.ndarray[Any, Any]
"""An array on the host."""
