"""The check of a solver against plain dense algebra."""

from jaxlmm.solvers.contract.check import check_contract

__all__ = ["check_contract"]
