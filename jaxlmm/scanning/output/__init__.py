"""Results of a scan: tables in memory or in a folder."""

from jaxlmm.scanning.output.folder import FolderTable, load_scan, scan_of, write_null
from jaxlmm.scanning.output.joined import load_scans
from jaxlmm.scanning.output.manifest import (
    KIND,
    MANIFEST,
    NULL,
    VERSION,
    broken,
    damaged,
    header_of,
    part_name,
    part_number,
    read_manifest,
    sealed,
)
from jaxlmm.scanning.output.result import Scan, ScanHeader, words_of
from jaxlmm.scanning.output.table import HeldTable, Names, counted, tabulated

__all__ = [
    "KIND",
    "MANIFEST",
    "NULL",
    "VERSION",
    "FolderTable",
    "HeldTable",
    "Names",
    "Scan",
    "ScanHeader",
    "broken",
    "counted",
    "damaged",
    "header_of",
    "load_scan",
    "load_scans",
    "part_name",
    "part_number",
    "read_manifest",
    "scan_of",
    "sealed",
    "tabulated",
    "words_of",
    "write_null",
]
