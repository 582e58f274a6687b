"""What an optimum implies: covariances, degrees of freedom, standard errors, and a certificate."""

from jaxlmm.inference.certificate import Verdict, Verdicts, certify
from jaxlmm.inference.examine import Examination, Rows, Units, examine, rows_at
from jaxlmm.inference.held import duals, patterns
from jaxlmm.inference.status import PROVEN, STATUS
from jaxlmm.inference.uncertainty import Contrasts, Uncertainty, delta_method, uncertainty

__all__ = [
    "PROVEN",
    "STATUS",
    "Contrasts",
    "Examination",
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
