"""Known matrices between levels, from files: the option ``--kinship``."""

from jaxlmm.cli.matrices.known import Kinship, matrices

__all__ = ["Kinship", "matrices"]
