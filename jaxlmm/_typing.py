"""Names for the arrays that signatures speak of."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

Array = jax.Array | np.ndarray
"""An array of either library; inside a traced function, a tracer."""

NumpyArray = np.ndarray[Any, Any]
"""An array on the host."""
