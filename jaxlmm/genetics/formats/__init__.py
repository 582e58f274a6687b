"""Genotype files, one reader each."""

from jaxlmm.genetics.formats.arrays import ArraySource, frame_source
from jaxlmm.genetics.formats.plink1 import BedSource
from jaxlmm.genetics.formats.plink2 import PgenSource
from jaxlmm.genetics.formats.plink_tables import plink_ids
from jaxlmm.genetics.formats.source import GenotypeSource

__all__ = ["ArraySource", "BedSource", "GenotypeSource", "PgenSource", "frame_source", "plink_ids"]
