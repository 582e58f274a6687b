"""Pictures of fits and tests. Matplotlib is imported when one is drawn."""

from jaxlmm.plot.diagnostics import qq, residuals
from jaxlmm.plot.fits import emmeans, influence, lines, profile, ranef
from jaxlmm.plot.scans import manhattan, qq_p, region, volcano

__all__ = [
    "emmeans",
    "influence",
    "lines",
    "manhattan",
    "profile",
    "qq",
    "qq_p",
    "ranef",
    "region",
    "residuals",
    "volcano",
]
