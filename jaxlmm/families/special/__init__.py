"""Special functions of the densities, with derivatives of any order that are evaluated once for all directions."""

from jaxlmm.families.special.gamma import log_gamma, stirling
from jaxlmm.families.special.ratios import expm1_ratio, log1p_ratio, log_sum, log_times
from jaxlmm.families.special.rising import log_half_step, log_rising

__all__ = ["expm1_ratio", "log1p_ratio", "log_gamma", "log_half_step", "log_rising", "log_sum", "log_times", "stirling"]
