"""What an optimum implies: covariances, degrees of freedom, standard errors, and a certificate."""

from jaxlmm.inference.certificate import STATUS, Verdict, certify
from jaxlmm.inference.examine import Examination, examine
from jaxlmm.inference.uncertainty import Uncertainty, delta_method, uncertainty

__all__ = ["STATUS", "Examination", "Uncertainty", "Verdict", "certify", "delta_method", "examine", "uncertainty"]
