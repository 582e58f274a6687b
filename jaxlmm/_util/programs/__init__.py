"""Compiled functions: compiled once per machine and kept on disk, a bounded number of them held in memory."""

from jaxlmm._util.programs.held import forget, made_ready
from jaxlmm._util.programs.program import Program, program
from jaxlmm._util.programs.store import Contents, Store, store

__all__ = ["Contents", "Program", "Store", "forget", "made_ready", "program", "store"]
