"""Work of many processes: pickles, files that several map, tasks of an executor."""

from jaxlmm._util.parallel.mapped import read_mapped, write_mapped
from jaxlmm._util.parallel.pickling import Picklable, pickled
from jaxlmm._util.parallel.tasks import check_executor, in_workers

__all__ = ["Picklable", "check_executor", "in_workers", "pickled", "read_mapped", "write_mapped"]
