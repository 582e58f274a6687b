"""Objects in files that several processes map: arrays are read where they are used, and held once by a machine.

The object is pickled with its arrays beside it (protocol 5, :pep:`574`), for the processes of one computation alone:
what outlives it is never a pickle.
"""

from __future__ import annotations

import mmap
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from jaxlmm._util.files import write_whole
from jaxlmm._util.parallel.pickling import pickled
from jaxlmm.errors import DataError

MAGIC = b"jaxlmm mapped 1\n"
"""The first bytes of such a file."""

ALIGNMENT = 64
"""Arrays begin at multiples of so many bytes, as XLA needs it to use them without a copy."""


def write_mapped(path: Path, value: Any) -> None:
    """Write an object to a file, as a whole or not at all.

    Raises
    ------
    OptionError
        If it holds something that cannot be pickled.
    OutputError
        If the file cannot be written.
    """
    arrays: list[pickle.PickleBuffer] = []
    content = pickled(value, buffer_callback=arrays.append)
    parts = [memoryview(content), *(array.raw() for array in arrays)]
    head = MAGIC + np.array([len(parts), *(part.nbytes for part in parts)], np.int64).tobytes()

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            for part in (memoryview(head), *parts):
                file.write(bytes(_padding(file.tell())))
                file.write(part)

    write_whole(path, write)


def read_mapped(path: Path) -> Any:
    """Return the object in a file; its arrays are parts of the file, and cannot be written to.

    Raises
    ------
    DataError
        If it is another file.
    OSError
        If there is none.
    """
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start = len(MAGIC)
    if bytes(whole[:start]) != MAGIC:
        raise DataError(f"{path}: expected a file that a scan shares with its workers, got another one.")
    count = int(np.frombuffer(whole, np.int64, 1, start)[0])
    sizes = np.frombuffer(whole, np.int64, count, start + 8).tolist()
    position, parts = start + 8 * (1 + count), []
    for size in sizes:
        position += _padding(position)
        parts.append(whole[position : position + size])
        position += size
    return pickle.loads(parts[0], buffers=parts[1:])


def _padding(position: int) -> int:
    """Return how many bytes are left out after a position before the next part begins."""
    return -position % ALIGNMENT
