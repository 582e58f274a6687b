"""Kinship coefficients from pedigrees."""

from jaxlmm.genetics.pedigrees.from_pedigree import kinship

__all__ = ["kinship"]
