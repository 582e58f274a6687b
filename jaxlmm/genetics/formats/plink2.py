"""PLINK 2 binary files: .pgen, with .pvar and .psam beside it (or .bim and .fam, as ``--make-bpgen`` writes them)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.extra import extra
from jaxlmm.genetics.formats.plink_tables import (
    PLINK_MAGIC,
    beside,
    existing,
    plink_ids,
    read_bim,
    read_fam,
    read_text,
    whole_numbers,
)
from jaxlmm.genetics.formats.source import GenotypeSource, variant_indices, variant_table

PLINK1_MODES = b"\x00\x01"
"""Third bytes of a PLINK 1 file, which begins with the same two bytes."""

PGENLIB_MISSING = -9.0
"""Code of pgenlib for a missing call."""


class PgenSource(GenotypeSource):
    """A PLINK 2 ``.pgen`` file, read by pgenlib: dosages where there are any, else calls; the effect allele is ALT.

    Of several alternate alleles the first is the effect allele, and the others are listed after REF as other alleles.

    Raises
    ------
    GenotypeError
        Before anything is analyzed: if ``.pvar`` or ``.psam`` is missing, or if the file is not a ``.pgen`` of as many
        samples and variants, or is cut short; while it is read, if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = existing(path).absolute()
        ids = (
            read_psam(path.with_suffix(".psam")) if _has(path, ".psam", ".fam") else read_fam(path.with_suffix(".fam"))
        )
        variants = (
            read_pvar(path.with_suffix(".pvar")) if _has(path, ".pvar", ".bim") else read_bim(beside(path, ".bim"))
        )
        super().__init__(path.name, ids, variants)
        _check_header(path, len(self.sample_ids), len(variants))
        self._n_alleles = 2 + variants["other_allele"].str.count(",").to_numpy(np.int64)
        self.read(slice(-1, None))  # a file that is cut short lacks its last variant

    def _open(self) -> Any:
        pgenlib = extra("pgenlib", ".pgen files")
        offsets = None
        if (self._n_alleles > 2).any():
            offsets = np.concatenate([[0], np.cumsum(self._n_alleles)]).astype(np.uintp)
        try:
            return pgenlib.PgenReader(
                str(existing(self.path)).encode(),
                raw_sample_ct=len(self.sample_ids),
                variant_ct=len(self.variants),
                allele_idx_offsets=offsets,
            )
        except RuntimeError as error:
            raise self._damaged(error) from error

    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        variants = variant_indices(markers, len(self.variants)).astype(np.uint32)
        samples, inverse = (None, None) if rows is None else np.unique(rows, return_inverse=True)
        count = len(self.sample_ids) if samples is None else len(samples)
        calls = np.empty((len(variants), count))
        with self._open() as file:
            if samples is not None:
                file.change_sample_subset(samples.astype(np.uint32))
            try:
                file.read_dosages_list(variants, calls)
            except RuntimeError as error:
                raise self._damaged(error) from error
        calls[calls == PGENLIB_MISSING] = np.nan
        values = calls.T
        in_order = inverse is None or np.array_equal(inverse, np.arange(count))
        return values if in_order else np.asfortranarray(values[inverse])

    def _damaged(self, error: RuntimeError) -> GenotypeError:
        reason = str(error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error).strip()
        return GenotypeError(
            f"{self.name}: expected a .pgen file of {len(self.sample_ids)} samples and {len(self.variants)} variants, "
            f"pgenlib says: {reason} The file may be cut short or damaged; plink2 --validate says where."
        )


def _has(path: Path, ending: str, other: str) -> bool:
    """Return whether to read the PLINK 2 table: always, unless only the PLINK 1 table exists."""
    return path.with_suffix(ending).exists() or not path.with_suffix(other).exists()


def read_psam(path: Path) -> Shaped[NumpyArray, " N"]:
    """Return the ids of a ``.psam`` file: the IID, or ``FID_IID`` for all when an IID is there twice."""
    header, skipped = _header(path, ("#FID", "#IID"))
    if header is None:
        table = read_text(path, skiprows=skipped, names="FID IID ...")
        return plink_ids(table[0], table[1])
    table = read_text(path, skiprows=skipped + 1, names=" ".join(header), columns=len(header))
    table = table.set_axis([name.lstrip("#") for name in header], axis=1)
    if "IID" not in table:
        raise GenotypeError(f"{path.name}: expected a column IID, got {' '.join(header)}.")
    return plink_ids(table.get("FID"), table["IID"])


def read_pvar(path: Path) -> pd.DataFrame:
    """Return the variants of a ``.pvar`` file; the effect allele is ALT, the first of several."""
    header, skipped = _header(path, ("#CHROM",))
    if header is None:
        table = read_text(path, skiprows=skipped, names="chromosome variant [centimorgan] position ALT REF")
        if table.shape[1] not in (5, 6):
            raise GenotypeError(
                f"{path.name}: expected a line #CHROM POS ID REF ALT, or 5 or 6 columns without it, got "
                f"{table.shape[1]} columns."
            )
        names = ["#CHROM", "ID", "CM", "POS", "ALT", "REF"]
        table = table.set_axis(names if table.shape[1] == 6 else [n for n in names if n != "CM"], axis=1)
    else:
        table = read_text(path, skiprows=skipped + 1, names=" ".join(header), columns=len(header))
        table = table.set_axis(header, axis=1)
    missing = {"#CHROM", "POS", "ID", "REF", "ALT"} - set(table)
    if missing:
        raise GenotypeError(f"{path.name}: expected columns #CHROM POS ID REF ALT, got {' '.join(table.columns)}.")
    alternates = [text.split(",", 1) for text in table["ALT"]]
    others = [",".join([ref, *rest]) for ref, (_, *rest) in zip(table["REF"], alternates, strict=True)]
    position = whole_numbers(table["POS"], path, "base-pair positions")
    return variant_table(table["ID"], table["#CHROM"], position, [first for first, *_ in alternates], others)


def _header(path: Path, begins: tuple[str, ...]) -> tuple[list[str] | None, int]:
    """Return the column names of a table, and how many lines stand before them (or before the data, without names)."""
    if not path.exists():
        packed = path.with_name(path.name + ".zst")
        hint = f"plink2 --zst-decompress {packed.name} {path.name} makes it" if packed.exists() else "copy it there"
        raise GenotypeError(f"{path.with_suffix('.pgen')}: expected {path.name} beside it, got none; {hint}.")
    with path.open() as file:
        for number, line in enumerate(file):
            if line.startswith(begins):
                return line.split(), number
            if not line.startswith("#"):
                return None, number
    return None, 0


def _check_header(path: Path, samples: int, variants: int) -> None:
    """Compare the header of a ``.pgen`` file with its tables of samples and variants."""
    with path.open("rb") as file:
        head = file.read(11)
    if head[:2] != PLINK_MAGIC or head[2:3] in (b"", *(bytes([mode]) for mode in PLINK1_MODES)):
        raise GenotypeError(
            f"{path.name}: expected a PLINK 2 .pgen file, which begins with bytes 6c 1b and a storage mode from 02, "
            f"got {head[:3].hex(' ') or 'an empty file'}; a .bed file (6c 1b 01) must end in .bed."
        )
    held_variants, held_samples = (int.from_bytes(head[i : i + 4], "little") for i in (3, 7))
    if (held_samples, held_variants) != (samples, variants):
        raise GenotypeError(
            f"{path.name}: expected {samples} samples and {variants} variants, as listed beside it, got {held_samples} "
            f"samples and {held_variants} variants; the three files do not belong together, or one is cut short."
        )
