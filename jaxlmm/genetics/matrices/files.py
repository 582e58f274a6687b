"""Files of known matrices: this package's ``.npz``, GCTA's ``.grm.bin``, GEMMA's text."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.formats import plink_ids
from jaxlmm.genetics.ids import quoted
from jaxlmm.genetics.matrices.relationship import RELATIONSHIP_KIND, RELATIONSHIP_VERSION, Relationship, checked

ID_HEADERS = ("#FID", "#IID")
"""First words of a header line above ids."""


def read_npz(path: str | PathLike[str]) -> Relationship:
    """Return the matrix that :meth:`Relationship.save` wrote, as it was.

    Raises
    ------
    KinshipError
        If it is another kind of file, or of another version of the layout.
    OSError
        If it cannot be read.
    """
    expected = f"{path}: expected a matrix saved by Relationship.save(path)"
    try:
        with np.load(path, allow_pickle=False) as file:
            if "kind" not in file or str(file["kind"]) != RELATIONSHIP_KIND:
                raise KinshipError(f"{expected}, got arrays named {', '.join(file.files) or 'nothing'}.")
            if int(file["version"]) != RELATIONSHIP_VERSION:
                raise KinshipError(
                    f"{expected} with layout version {RELATIONSHIP_VERSION}, got version {file['version']}."
                )
            labels = file["labels"]
            if "dense" in file:
                return checked(labels, file["dense"], str(path))
            entries = (file["data"], file["indices"], file["indptr"])
            return checked(labels, scipy.sparse.csr_array(entries, shape=(labels.size, labels.size)), str(path))
    except KinshipError:
        raise
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise KinshipError(f"{expected}, got a file that cannot be read as one: {error}.") from error


def read_gcta(path: str | PathLike[str]) -> Relationship:
    """Return the matrix of GCTA's ``NAME.grm.bin``, with the ids of ``NAME.grm.id``.

    The ids are the IIDs as text, or ``FID_IID`` where IIDs repeat. If ``NAME.grm.N.bin`` is there, every pair must
    share a marker.

    Raises
    ------
    KinshipError
        If the files do not belong together, or a pair shares no marker.
    OSError
        If one cannot be read.
    """
    stem = str(path).removesuffix(".grm.bin")
    labels = _sample_ids(Path(f"{stem}.grm.id"))
    n = len(labels)
    triangle = np.fromfile(path, "<f4")
    if triangle.size != n * (n + 1) // 2:
        raise KinshipError(
            f"{path}: expected the lower triangle of {n} individuals ({stem}.grm.id), {n * (n + 1) // 2} numbers of 4 "
            f"bytes, got {triangle.size}. Do both files come from one run of GCTA?"
        )
    counts = Path(f"{stem}.grm.N.bin")
    if counts.exists():
        unshared = np.flatnonzero(np.fromfile(counts, "<f4") == 0)
        if unshared.size:
            row = int((np.sqrt(8 * unshared[0] + 1) - 1) // 2)
            column = int(unshared[0]) - row * (row + 1) // 2
            raise KinshipError(
                f"{path}: {unshared.size} pairs share no marker, the first are {quoted(labels[row])} and "
                f"{quoted(labels[column])}; leave out individuals with few calls."
            )
    matrix = np.empty((n, n))
    for row in range(n):
        start = row * (row + 1) // 2
        matrix[row, : row + 1] = matrix[: row + 1, row] = triangle[start : start + row + 1]
    return checked(labels, matrix, str(path))


def read_gemma(path: str | PathLike[str], labels: Any) -> Relationship:
    """Return the matrix of GEMMA's text, ``NAME.cXX.txt`` or ``NAME.sXX.txt``, also compressed by gzip.

    Parameters
    ----------
    path
        The file: a square of numbers without names.
    labels
        The ids of its rows, of all individuals that GEMMA read: the ``.fam`` file, or the ids in its order.

    Raises
    ------
    KinshipError
        If there are no labels, or not as many as rows.
    OSError
        If a file cannot be read.
    """
    if labels is None:
        raise KinshipError(
            f"{path}: a matrix of GEMMA has no ids: expected labels=, the .fam file that GEMMA read, or the ids of all "
            "its individuals in their order (whether they have a phenotype or not)."
        )
    ids = _sample_ids(Path(labels)) if isinstance(labels, str | PathLike) else labels
    try:
        values = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise KinshipError(f"{path}: expected a square of numbers, got {error}.") from error
    return checked(ids, values, str(path))


def _sample_ids(path: Path) -> Shaped[NumpyArray, " n"]:
    """Return the ids of a file that begins with columns FID and IID: IIDs, or ``FID_IID`` where IIDs repeat.

    IIDs may stand alone, and below a header that begins with ``#FID`` or ``#IID``: plink2 can write both.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise KinshipError(f"{path}: expected text in UTF-8, got another encoding; save it anew.") from None
    header = lines.pop(0)[0] if lines and lines[0][0] in ID_HEADERS else ""
    if header == ID_HEADERS[1] or all(len(line) == 1 for line in lines):
        return np.array([line[0] for line in lines], object)
    wrong = next((line for line in lines if len(line) == 1), None)
    if wrong is not None:
        raise KinshipError(f"{path}: expected FID and IID in each line, or IIDs alone, got {wrong[0]!r} alone in one.")
    return plink_ids(*(pd.Series([line[column] for line in lines], dtype=object) for column in (0, 1)))
