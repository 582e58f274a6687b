"""Model matrices by formulaic, with R's coding of factors. Slow to import: imported where it is used."""

from jaxlmm.formula.coding.coding import evaluate

__all__ = ["evaluate"]
