"""A scan in a folder: parts that are written whole, one process at a time, resumed."""

from jaxlmm.scanning.checkpoint.fingerprint import digests
from jaxlmm.scanning.checkpoint.folder import Folder
from jaxlmm.scanning.checkpoint.lock import check_free
from jaxlmm.scanning.checkpoint.parts import AT_ONCE, PART_PAIRS, Cost, planned

__all__ = ["AT_ONCE", "PART_PAIRS", "Cost", "Folder", "check_free", "digests", "planned"]
