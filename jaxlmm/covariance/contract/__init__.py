"""The check of a user's structure before its first fit."""

from jaxlmm.covariance.contract.check import check_contract

__all__ = ["check_contract"]
