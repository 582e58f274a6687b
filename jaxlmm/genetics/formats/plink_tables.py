"""PLINK's text tables of samples and variants: .fam and .bim, and the parts that .psam and .pvar share with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError

PLINK_MAGIC = b"\x6c\x1b"
"""First two bytes of .bed and .pgen files."""

BIM_COLUMNS = ("chromosome", "variant", "centimorgan", "position", "effect_allele", "other_allele")


def read_fam(path: Path) -> Shaped[NumpyArray, " N"]:
    """Return the ids of a ``.fam`` file: the IID, or ``FID_IID`` when an IID is there twice."""
    table = read_text(path, "FID IID father mother sex phenotype", 6)
    return plink_ids(table[0], table[1])


def plink_ids(families: pd.Series | None, ids: pd.Series) -> Shaped[NumpyArray, " N"]:
    """Return IIDs, or ``FID_IID`` when IIDs repeat and families tell them apart."""
    if families is not None and ids.duplicated().any():
        ids = families + "_" + ids
    return ids.to_numpy(object)


def read_bim(path: Path) -> pd.DataFrame:
    """Return the variants of a ``.bim`` file; the effect allele is A1, its fifth column."""
    table = read_text(path, "chromosome variant centimorgan position A1 A2", len(BIM_COLUMNS)).set_axis(
        list(BIM_COLUMNS), axis=1
    )
    table["position"] = whole_numbers(table["position"], path, "base-pair positions")
    return table[["chromosome", "position", "variant", "effect_allele", "other_allele"]]


def whole_numbers(values: pd.Series, path: Path, what: str) -> Int[NumpyArray, " n"]:
    """Parse text as int64, or raise an error that names the first row that is not a whole number."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise GenotypeError(
            f"{path.name}: expected whole numbers as {what}, got {values.iloc[row]!r} in row {row + 1}."
        )
    return numbers.astype(np.int64)


def beside(path: Path, ending: str) -> Path:
    """Return the file of the same name with another ending, or raise an error if it is missing."""
    other = path.with_suffix(ending)
    if not other.exists():
        raise GenotypeError(
            f"{path}: expected {other.name} beside it, got none; copy it there, and give both the same name."
        )
    return other


def existing(path: Path) -> Path:
    """Return the path of a file, or raise an error if there is none."""
    if not path.is_file():
        raise GenotypeError(f"genotypes: expected a file, got {path}, which does not exist.")
    return path


def read_text(path: Path, names: str, columns: int | None = None, skiprows: int = 0) -> pd.DataFrame:
    """Read white-space separated text, columns numbered from 0; ``names`` are the columns that an error lists."""
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, dtype=str, na_filter=False, quoting=3, skiprows=skiprows)
    except pd.errors.EmptyDataError:
        raise GenotypeError(f"{path.name}: expected a line per entry ({names}), got an empty file.") from None
    except UnicodeDecodeError:
        raise GenotypeError(f"{path.name}: expected text in UTF-8, got another encoding; save it anew.") from None
    except pd.errors.ParserError as error:
        raise GenotypeError(f"{path.name}: expected the same columns ({names}) in each line; {error}.") from error
    if columns is not None and table.shape[1] != columns:
        raise GenotypeError(f"{path.name}: expected {columns} columns ({names}), got {table.shape[1]}.")
    short = (table.iloc[:, -1].fillna("") == "").to_numpy()  # a shorter line is filled up
    if short.any():
        row = int(np.flatnonzero(short)[0]) + 1
        raise GenotypeError(
            f"{path.name}: expected {table.shape[1]} columns ({names}) in each line, got fewer in row {row}."
        )
    return table
