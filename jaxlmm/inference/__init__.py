"""What an optimum implies: covariances, degrees of freedom, standard errors, and a certificate."""

from jaxlmm.inference.active_set import duals, patterns
from jaxlmm.inference.certificate import DECREMENT, NEARLY_SINGULAR, ROUNDING, VANISHING, certify
from jaxlmm.inference.derivatives import OptimumDerivatives, Rows, Units, examine, rows_at
from jaxlmm.inference.status import PROVEN, STATUS
from jaxlmm.inference.uncertainty import Contrasts, Uncertainty, delta_method, uncertainty
from jaxlmm.inference.verdict import Verdict, Verdicts

__all__ = [
    "DECREMENT",
    "NEARLY_SINGULAR",
    "PROVEN",
    "ROUNDING",
    "STATUS",
    "VANISHING",
    "Contrasts",
    "OptimumDerivatives",
    "Rows",
    "Uncertainty",
    "Units",
    "Verdict",
    "Verdicts",
    "certify",
    "delta_method",
    "duals",
    "examine",
    "patterns",
    "rows_at",
    "uncertainty",
]
