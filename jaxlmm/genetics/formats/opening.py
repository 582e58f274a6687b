"""Opening of genotypes by what they are: a file by the ending of its name, several files, a frame, an array."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from jaxlmm._util import as_frame, as_table
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.arrays import ArraySource, frame_source
from jaxlmm.genetics.formats.bgen import BgenSource
from jaxlmm.genetics.formats.joined import JoinedSource
from jaxlmm.genetics.formats.plink1 import BedSource
from jaxlmm.genetics.formats.plink2 import PgenSource
from jaxlmm.genetics.formats.source import GenotypeSource
from jaxlmm.genetics.formats.vcf import VcfSource

READERS: dict[str, Callable[[Path], GenotypeSource]] = {
    ".bed": BedSource, ".pgen": PgenSource, ".bgen": BgenSource, ".vcf": VcfSource, ".vcf.gz": VcfSource,
    ".bcf": VcfSource,
}  # fmt: skip
"""Readers by the ending of a file's name; each is called with the path."""

PATTERN = re.compile(r"[*?\[]")
"""What a pattern of names of files has in it."""

CONVERSION_ADVICE = "; plink2 --make-pgen writes other formats as .pgen"


def opened_source(source: Any) -> GenotypeSource:
    """Open whatever has genotypes: paths, patterns of names, frames, arrays, or a source itself.

    Raises
    ------
    GenotypeError
        If it is nothing of that, or a file is missing, damaged or of another kind.
    """
    if isinstance(source, GenotypeSource):
        return source
    if isinstance(source, str | os.PathLike):
        return _of_files(source)
    if isinstance(source, list | tuple) and source and all(isinstance(one, str | os.PathLike) for one in source):
        return JoinedSource([_of_files(one) for one in source])
    if isinstance(source, pd.DataFrame):
        return frame_source(source, name="frame")
    if hasattr(source, "__dataframe__") or hasattr(source, "__arrow_c_stream__"):
        return _other_frame(source)
    if hasattr(source, "__array__") and getattr(source, "ndim", None) == 2:
        return ArraySource(source, name="array")
    raise GenotypeError(
        f"genotypes: expected a path ending in {' or '.join(READERS)}, a frame (ids × variants), an array (samples × "
        f"variants) or a GenotypeSource, got {type(source).__name__}."
    )


def _of_files(source: str | os.PathLike[str]) -> GenotypeSource:
    """Open a file, or all files of a pattern in the order of the numbers in their names."""
    path = Path(source)
    if PATTERN.search(str(path)) and not path.exists():
        found = sorted(glob.glob(str(path)), key=_by_numbers)
        if not found:
            raise GenotypeError(f"genotypes: expected files of the pattern {path}, got none.")
        return JoinedSource([_of_file(Path(one)) for one in found])
    return _of_file(path)


def _of_file(path: Path) -> GenotypeSource:
    ending = next((ending for ending in sorted(READERS, key=len, reverse=True) if path.name.endswith(ending)), None)
    if ending is None:
        near = [path.with_name(path.name + ending) for ending in READERS]
        hint = "".join(f"; did you mean {other}?" for other in near if other.exists())
        raise GenotypeError(
            f"genotypes: expected a file ending in {' or '.join(READERS)}, got {path}{hint or CONVERSION_ADVICE}."
        )
    return READERS[ending](path)


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Return by what names of files are sorted: numbers by their value.

    >>> sorted(["chr10.bed", "chr2.bed"], key=_by_numbers)
    ['chr2.bed', 'chr10.bed']
    """
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _other_frame(source: Any) -> GenotypeSource:
    """Read a frame of a library without row labels: its first column holds the ids."""
    table = as_table(source, "genotypes")
    frame = as_frame(table, list(table.columns))
    return frame_source(frame.set_index(frame.columns[0]), name="frame")
