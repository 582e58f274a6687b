"""Tests of fixed effects, comparisons of models, and marginal means."""

from jaxlmm.results.hypotheses.anova import anova, f_tail, test
from jaxlmm.results.hypotheses.compare import compare, null_distribution
from jaxlmm.results.hypotheses.drop import drop1, ranova
from jaxlmm.results.hypotheses.emmeans import MarginalMeans, emmeans

__all__ = ["MarginalMeans", "anova", "compare", "drop1", "emmeans", "f_tail", "null_distribution", "ranova", "test"]
