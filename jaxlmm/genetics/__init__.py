"""Known matrices between individuals: from pedigrees, from tables and files."""

from jaxlmm.genetics.files import read_npz
from jaxlmm.genetics.reading import relationship
from jaxlmm.genetics.relationship import Relationship

__all__ = ["Relationship", "read_npz", "relationship"]
