"""Tests of blocks of markers by compiled functions: one variance ratio in its eigenbasis, or any model. No pandas."""

from jaxlmm.scanning.kernels.any_model import NullPoint, SolverScanner
from jaxlmm.scanning.kernels.counts import CODE_UNSEEN, PairCounts
from jaxlmm.scanning.kernels.filter import PairFilter, Pairs
from jaxlmm.scanning.kernels.null_models import Given, NullModels
from jaxlmm.scanning.kernels.rotate import ScanRows, has_one_ratio
from jaxlmm.scanning.kernels.scanner import EigenScanner, block_size

__all__ = [
    "CODE_UNSEEN",
    "EigenScanner",
    "Given",
    "NullModels",
    "NullPoint",
    "PairCounts",
    "PairFilter",
    "Pairs",
    "ScanRows",
    "SolverScanner",
    "block_size",
    "has_one_ratio",
]
