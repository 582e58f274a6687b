"""Factors as columns, coded as R codes them. Imports formulaic: imported where it is used."""

from jaxlmm.formula.coding.coding import evaluate

__all__ = ["evaluate"]
