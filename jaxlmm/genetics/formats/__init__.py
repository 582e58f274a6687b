"""Genotype files, one reader each."""

from jaxlmm.genetics.formats.arrays import ArraySource, frame_source
from jaxlmm.genetics.formats.opening import READERS, opened_source
from jaxlmm.genetics.formats.plink_tables import plink_ids
from jaxlmm.genetics.formats.source import GenotypeSource

__all__ = ["READERS", "ArraySource", "GenotypeSource", "frame_source", "opened_source", "plink_ids"]
