"""Tests of fixed effects, comparisons of models, and marginal means."""

from jaxlmm.results.hypotheses.adjust import adjusted, choose_adjustment, critical
from jaxlmm.results.hypotheses.anova import anova, f_tail, test
from jaxlmm.results.hypotheses.compare import compare
from jaxlmm.results.hypotheses.drop import drop1, ranova
from jaxlmm.results.hypotheses.emmeans import (
    MarginalMeans,
    combinations_of,
    emmeans,
    emtrends,
    given_coefficients,
    names_of,
    pairwise,
)
from jaxlmm.results.hypotheses.grid import Grid, factors_and_by, reference_grid, same_cells
from jaxlmm.results.hypotheses.likelihood_ratio import Parts, null_distribution, within
from jaxlmm.results.hypotheses.response_scale import ResponseScale
from jaxlmm.results.hypotheses.rows import FixedPart

__all__ = [
    "FixedPart",
    "Grid",
    "MarginalMeans",
    "Parts",
    "ResponseScale",
    "adjusted",
    "anova",
    "choose_adjustment",
    "combinations_of",
    "compare",
    "critical",
    "drop1",
    "emmeans",
    "emtrends",
    "f_tail",
    "factors_and_by",
    "given_coefficients",
    "names_of",
    "null_distribution",
    "pairwise",
    "ranova",
    "reference_grid",
    "same_cells",
    "test",
    "within",
]
