"""Several grouping factors: elimination level by level, then by components."""

from jaxlmm.solvers.blocked.blocked import Blocked
from jaxlmm.solvers.blocked.components import largest_component

__all__ = ["Blocked", "largest_component"]
