"""Small helpers that know nothing of models: pytrees, precision, compiling, shapes, tables, files."""

from jaxlmm._util.devices import default_device, memory_of_accelerator, mesh_of_devices
from jaxlmm._util.files import (
    PARTIAL,
    check_writable,
    checksum,
    left_by_an_ended_process,
    partial_name,
    write_text,
    write_whole,
    writing,
)
from jaxlmm._util.parallel import Picklable, check_executor, in_workers, pickled, read_mapped, write_mapped
from jaxlmm._util.precision import double_precision, in_double_precision
from jaxlmm._util.processes import started
from jaxlmm._util.programs import Program, program, store
from jaxlmm._util.shapes import MAX_COARSE_SIZE, MIN_PADDED_ROWS, bucket, pad
from jaxlmm._util.struct import Struct, aside, is_traced, on_host, static
from jaxlmm._util.tables import ALL_DIGITS, as_frame, as_table
from jaxlmm._util.tangents import is_zero, materialized
from jaxlmm._util.typing import Array, NumpyArray

__all__ = [
    "ALL_DIGITS",
    "MAX_COARSE_SIZE",
    "MIN_PADDED_ROWS",
    "PARTIAL",
    "Array",
    "NumpyArray",
    "Picklable",
    "Program",
    "Struct",
    "as_frame",
    "as_table",
    "aside",
    "bucket",
    "check_executor",
    "check_writable",
    "checksum",
    "default_device",
    "double_precision",
    "in_double_precision",
    "in_workers",
    "is_traced",
    "is_zero",
    "left_by_an_ended_process",
    "materialized",
    "memory_of_accelerator",
    "mesh_of_devices",
    "on_host",
    "pad",
    "partial_name",
    "pickled",
    "program",
    "read_mapped",
    "started",
    "static",
    "store",
    "write_mapped",
    "write_text",
    "write_whole",
    "writing",
]
