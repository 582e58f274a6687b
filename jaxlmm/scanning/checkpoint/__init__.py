"""A scan in a folder: finished parts from which it can be resumed, a lock, and a fingerprint of its inputs."""

from jaxlmm.scanning.checkpoint.fingerprint import digests
from jaxlmm.scanning.checkpoint.folder import Folder
from jaxlmm.scanning.checkpoint.lock import check_free
from jaxlmm.scanning.checkpoint.parts import MARKERS_PER_STEP, PART_PAIRS, Cost, planned

__all__ = ["MARKERS_PER_STEP", "PART_PAIRS", "Cost", "Folder", "check_free", "digests", "planned"]
