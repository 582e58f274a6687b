"""Genotypes, and the covariance that relatives share."""

from jaxlmm.genetics.arrays import ArraySource
from jaxlmm.genetics.genotypes import Genotypes, genotypes
from jaxlmm.genetics.source import GenotypeSource

__all__ = ["ArraySource", "GenotypeSource", "Genotypes", "genotypes"]
