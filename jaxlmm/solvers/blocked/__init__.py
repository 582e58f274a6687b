"""Several grouping factors: elimination level by level, then by components."""

from jaxlmm.solvers.blocked.blocked import Blocked

__all__ = ["Blocked"]
