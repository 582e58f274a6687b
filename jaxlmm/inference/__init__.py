"""Inference at an optimum: covariances, degrees of freedom, standard errors, and a certificate."""

from jaxlmm.inference.active_set import blocks_with_multiplier, patterns
from jaxlmm.inference.between_within import between_within, nested_order
from jaxlmm.inference.certificate import (
    MAX_DECREMENT,
    MAX_RIDGE_CURVATURE,
    MIN_RESIDUAL_SHARE,
    VANISHING_SIGMA,
    certify,
)
from jaxlmm.inference.curvature import Curvature, Products, curvature, natural_products
from jaxlmm.inference.derivatives import OptimumDerivatives, Rows, Units, examine, rows_at
from jaxlmm.inference.kenward_roger import CovarianceInfluence, KenwardRoger, covariance_influence, psi_at
from jaxlmm.inference.moderation import Prior, fit_prior, fit_robust_prior, moderated, residual_degrees
from jaxlmm.inference.status import (
    PROVEN,
    REASONS,
    SEPARATED,
    STATUS,
    WITHOUT_ZERO_PART,
    ZERO_PART_AT_END,
    Reason,
)
from jaxlmm.inference.uncertainty import Contrasts, Uncertainty, delta_method, uncertainty
from jaxlmm.inference.verdict import Verdict, Verdicts

__all__ = [
    "MAX_DECREMENT",
    "MAX_RIDGE_CURVATURE",
    "MIN_RESIDUAL_SHARE",
    "PROVEN",
    "REASONS",
    "SEPARATED",
    "STATUS",
    "VANISHING_SIGMA",
    "WITHOUT_ZERO_PART",
    "ZERO_PART_AT_END",
    "Contrasts",
    "CovarianceInfluence",
    "Curvature",
    "KenwardRoger",
    "OptimumDerivatives",
    "Prior",
    "Products",
    "Reason",
    "Rows",
    "Uncertainty",
    "Units",
    "Verdict",
    "Verdicts",
    "between_within",
    "blocks_with_multiplier",
    "certify",
    "covariance_influence",
    "curvature",
    "delta_method",
    "examine",
    "fit_prior",
    "fit_robust_prior",
    "moderated",
    "natural_products",
    "nested_order",
    "patterns",
    "psi_at",
    "residual_degrees",
    "rows_at",
    "uncertainty",
]
