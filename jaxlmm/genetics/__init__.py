"""Genotypes, and known matrices between individuals: from markers, from pedigrees, from tables and files."""

from jaxlmm.genetics.arrays import ArraySource
from jaxlmm.genetics.files import read_npz
from jaxlmm.genetics.genotypes import Genotypes, genotypes
from jaxlmm.genetics.reading import relationship
from jaxlmm.genetics.relationship import Relationship
from jaxlmm.genetics.source import GenotypeSource

__all__ = ["ArraySource", "GenotypeSource", "Genotypes", "Relationship", "genotypes", "read_npz", "relationship"]
