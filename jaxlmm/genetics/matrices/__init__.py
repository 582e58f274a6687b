"""Known matrices between individuals: from tables, files, markers."""

from jaxlmm.genetics.matrices.files import read_gcta, read_gemma, read_npz
from jaxlmm.genetics.matrices.from_markers import MarkerSums, marker_sums
from jaxlmm.genetics.matrices.grm import grm
from jaxlmm.genetics.matrices.loco import LocoRelationships
from jaxlmm.genetics.matrices.reading import relationship
from jaxlmm.genetics.matrices.relationship import Relationship, check_finite
from jaxlmm.genetics.matrices.symmetry import canonical, symmetric

__all__ = [
    "LocoRelationships",
    "MarkerSums",
    "Relationship",
    "canonical",
    "check_finite",
    "grm",
    "marker_sums",
    "read_gcta",
    "read_gemma",
    "read_npz",
    "relationship",
    "symmetric",
]
