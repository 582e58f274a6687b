"""Compiled functions over blocks of markers. No pandas here."""

from jaxlmm.scanning.kernels.any_model import AnyScanner, NullPoint
from jaxlmm.scanning.kernels.counts import UNSEEN, PairCounts
from jaxlmm.scanning.kernels.filter import PairFilter, Pairs
from jaxlmm.scanning.kernels.null_models import Given, Traits
from jaxlmm.scanning.kernels.rotate import Rows, has_one_ratio
from jaxlmm.scanning.kernels.scanner import Scanner, block_size

__all__ = [
    "UNSEEN",
    "AnyScanner",
    "Given",
    "NullPoint",
    "PairCounts",
    "PairFilter",
    "Pairs",
    "Rows",
    "Scanner",
    "Traits",
    "block_size",
    "has_one_ratio",
]
