"""PLINK 1 binary files: .bed, with .bim and .fam beside it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.extra import extra
from jaxlmm.genetics.formats.plink_tables import PLINK_MAGIC, beside, existing, read_bim, read_fam
from jaxlmm.genetics.formats.source import GenotypeSource

VARIANT_MAJOR = 1
"""Third byte of a file whose calls are stored variant by variant."""

HEADER_BYTES = 3
"""Bytes before the first variant."""

VARIANTS_CHECKED_FOR_PADDING = 256
"""Variants, spread over the file, whose bits behind the last sample are checked to be zero."""

BED_READER_MISSING = -127
"""Code of bed-reader for a missing call in int8, which is read in half the time of float64."""


class BedSource(GenotypeSource):
    """A PLINK 1 ``.bed`` file, read by bed-reader; the effect allele is A1, the first of the ``.bim`` file.

    Raises
    ------
    GenotypeError
        Before anything is read: if ``.bim`` or ``.fam`` is missing, if the file is not a variant-major ``.bed``, is
        not as long as its samples and variants say, or holds calls behind its last sample.
    """

    def __init__(self, path: Path) -> None:
        self.path = existing(path).absolute()
        bim, fam = beside(path, ".bim"), beside(path, ".fam")
        super().__init__(path.name, read_fam(fam), read_bim(bim))
        _check_size(path, len(self.sample_ids), len(self.variants))
        _check_padding(path, len(self.sample_ids), len(self.variants))
        extra("bed_reader", ".bed files")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    @functools.cached_property
    def _file(self) -> Any:
        samples, variants = len(self.sample_ids), len(self.variants)
        _check_size(existing(self.path), samples, variants)  # again, for a copy in another process
        return extra("bed_reader", ".bed files").open_bed(self.path, iid_count=samples, sid_count=variants)

    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        chosen = slice(None) if rows is None else np.asarray(rows, np.int64)
        calls = self._file.read(index=(chosen, markers), dtype="int8", order="F")
        values: NumpyArray = calls.astype(np.float64)
        if calls.size and calls.min() < 0:
            values[calls == BED_READER_MISSING] = np.nan
        return values


def _check_size(path: Path, samples: int, variants: int) -> None:
    """Compare the header and the size of a ``.bed`` file with its ``.bim`` and ``.fam``."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    size = path.stat().st_size
    if head[:2] != PLINK_MAGIC:
        raise GenotypeError(
            f"{path.name}: expected a PLINK 1 .bed file, which begins with bytes 6c 1b 01, got "
            f"{head.hex(' ') or 'an empty file'}; is it compressed, or of another format?"
        )
    if head[2:] != bytes([VARIANT_MAJOR]):
        raise GenotypeError(
            f"{path.name}: expected a variant-major .bed file (third byte 01), got {head[2:].hex() or 'the end'}; "
            "a sample-major file (00) is rewritten by plink --make-bed, a .pgen file must end in .pgen."
        )
    per_variant = -(-samples // 4)
    expected = len(head) + variants * per_variant
    if size != expected:
        n_variants = (size - len(head)) / per_variant
        raise GenotypeError(
            f"{path.name}: expected {expected} bytes for {samples} samples (.fam) and {variants} variants (.bim), got "
            f"{size}, which are {n_variants:.10g} variants of {samples} samples. "
            + ("The .bed file is cut short, or" if size < expected else "The .bim file is cut short, or")
            + " .bim or .fam belongs to another file; copy all three again."
        )


def _check_padding(path: Path, samples: int, variants: int) -> None:
    """Raise if calls stand behind the last sample: each variant has whole bytes, which end in zeros.

    A ``.fam`` file that is up to three rows short may imply the same number of bytes; the calls of later samples
    show it, unless they are two copies of A1, which is written as zeros.
    """
    used = samples % 4
    if not used:
        return
    per_variant = -(-samples // 4)
    checked = np.unique(np.linspace(0, variants - 1, min(variants, VARIANTS_CHECKED_FOR_PADDING)).astype(np.int64))
    last = []
    with path.open("rb", buffering=0) as file:
        for variant in checked.tolist():
            file.seek(HEADER_BYTES + (variant + 1) * per_variant - 1)
            last.append(file.read(1)[0])
    filled = sum(byte >> (2 * used) > 0 for byte in last)
    if filled:
        raise GenotypeError(
            f"{path.name}: expected nothing behind the last of {samples} samples (.fam), got calls there in {filled} "
            f"of {len(last)} variants looked at: the .fam file lacks up to {4 - used} rows, or belongs to another "
            "file. Copy all three again; if a program wrote them so, plink --make-bed writes them anew."
        )
