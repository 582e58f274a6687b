"""Designs from arrays alone."""

from jaxlmm.api.arrays.build import design_from_arrays

__all__ = ["design_from_arrays"]
