"""Genotypes, and known matrices between individuals: from markers, from pedigrees, from tables and files."""

from jaxlmm.genetics.alleles import allele_counts
from jaxlmm.genetics.arrays import ArraySource
from jaxlmm.genetics.from_markers import grm
from jaxlmm.genetics.from_pedigree import kinship
from jaxlmm.genetics.genotypes import Genotypes, genotypes
from jaxlmm.genetics.reading import relationship
from jaxlmm.genetics.relationship import Relationship
from jaxlmm.genetics.source import GenotypeSource

__all__ = [
    "ArraySource",
    "GenotypeSource",
    "Genotypes",
    "Relationship",
    "allele_counts",
    "genotypes",
    "grm",
    "kinship",
    "relationship",
]
