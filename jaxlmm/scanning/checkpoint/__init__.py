"""A scan in a folder: finished parts from which it can be resumed, locks, and a fingerprint of its inputs."""

from jaxlmm.scanning.checkpoint.claim import claimed
from jaxlmm.scanning.checkpoint.fingerprint import digests
from jaxlmm.scanning.checkpoint.folder import Folder
from jaxlmm.scanning.checkpoint.lock import check_folder, finishing
from jaxlmm.scanning.checkpoint.parts import MARKERS_PER_STEP, PART_PAIRS, Cost, planned
from jaxlmm.scanning.checkpoint.share import Share

__all__ = [
    "MARKERS_PER_STEP",
    "PART_PAIRS",
    "Cost",
    "Folder",
    "Share",
    "check_folder",
    "claimed",
    "digests",
    "finishing",
    "planned",
]
