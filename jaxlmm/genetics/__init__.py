"""Genotypes, and known matrices between individuals: from markers, from pedigrees, from tables and files."""

from jaxlmm.genetics.alleles import allele_counts
from jaxlmm.genetics.blocks import STATUSES as STATUSES
from jaxlmm.genetics.blocks import Block as Block
from jaxlmm.genetics.formats import ArraySource, GenotypeSource
from jaxlmm.genetics.genotypes import Genotypes, genotypes
from jaxlmm.genetics.genotypes import as_genotypes as as_genotypes
from jaxlmm.genetics.genotypes import parse_region as parse_region
from jaxlmm.genetics.matrices import LocoRelationships, Relationship, grm, relationship
from jaxlmm.genetics.pedigrees import kinship

__all__ = [
    "ArraySource",
    "GenotypeSource",
    "Genotypes",
    "LocoRelationships",
    "Relationship",
    "allele_counts",
    "genotypes",
    "grm",
    "kinship",
    "relationship",
]
