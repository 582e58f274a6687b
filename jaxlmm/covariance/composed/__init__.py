"""Structures made of others, or of a known matrix."""

from jaxlmm.covariance.composed.by_level import ByLevel
from jaxlmm.covariance.composed.known import Known
from jaxlmm.covariance.composed.kron import Kron
from jaxlmm.covariance.composed.sum import Sum

__all__ = ["ByLevel", "Known", "Kron", "Sum"]
