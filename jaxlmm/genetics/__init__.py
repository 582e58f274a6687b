"""Known matrices between individuals: from pedigrees, from tables and files."""

from jaxlmm.genetics.files import read_npz
from jaxlmm.genetics.from_pedigree import kinship
from jaxlmm.genetics.reading import relationship
from jaxlmm.genetics.relationship import Relationship

__all__ = ["Relationship", "kinship", "read_npz", "relationship"]
