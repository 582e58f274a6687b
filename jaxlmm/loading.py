"""``load``: read a saved fit, scan or known matrix; the ending of the file's name says which."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from jaxlmm.errors import DataError, OptionError
from jaxlmm.genetics.matrices import read_gcta, read_gemma, read_npz
from jaxlmm.results import load_saved
from jaxlmm.scanning.output import load_scan, load_scans

GEMMA_NAME = re.compile(r"\.[cs]XX\.txt(\.gz)?$")
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".csv.gz", ".tsv.gz", ".txt.gz")


def load(path: str | PathLike[str] | Sequence[str | PathLike[str]], *, labels: Any = None) -> Any:
    """Return the fit, the fits, the scan or the known matrix that a file or a folder holds.

    Parameters
    ----------
    path
        - ``.json``: what :meth:`jaxlmm.Fit.save` or :meth:`jaxlmm.FitMany.save` wrote. A fit prints, tabulates,
          predicts on other data and saves as it did, to the last digit. It holds no rows: what needs them (fitted
          values, residuals, matrices, ``refit``, ``update``) raises a ``DataError`` that says so.
        - A folder: what :func:`jaxlmm.scan` wrote by ``out=``; its table is read from there on demand. A list of
          folders: scans that differ in responses or markers alone, as one.
        - ``.npz``: what ``Relationship.save`` wrote.
        - ``.grm.bin``: the matrix of GCTA, with ``.grm.id`` beside it.
        - ``.cXX.txt``, ``.sXX.txt``: the matrix of GEMMA, also with ``.gz``.
    labels
        For a matrix of GEMMA alone, which has no ids: the ``.fam`` file that GEMMA read, or the ids of all individuals
        in its order.

    Returns
    -------
    Fit, FitMany, Scan or Relationship
        Loading evaluates nothing. Predicting evaluates the formula in the file, and a formula is code: never predict
        from a file of an untrusted source.

    Raises
    ------
    DataError, KinshipError
        If it is another kind of file, incomplete, or of another version of the layout.
    OptionError
        If ``labels`` are given where the file has its own.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fit.save(f"{folder}/sleep.json")
    ...     again = lmm.load(f"{folder}/sleep.json")
    >>> str(again.summary()) == str(fit.summary())
    True
    >>> again.predict({"Subject": ["308"], "Days": [10]}).round(2)
       estimate  std_error
    0    450.33        NaN
    """
    if not isinstance(path, str | PathLike):
        return load_scans([Path(one) for one in path])
    name = str(path)
    if os.path.isdir(name) and labels is None:
        return load_scan(Path(name))
    if GEMMA_NAME.search(name):
        return read_gemma(path, labels)
    if labels is not None:
        raise OptionError(f"labels: expected none with {name}, whose ids stand in the file.")
    if name.endswith(".npz"):
        return read_npz(path)
    if name.endswith(".grm.bin"):
        return read_gcta(path)
    if name.endswith(TABLE_ENDINGS):
        raise DataError(
            f"{name}: expected .json, .npz, .grm.bin, .cXX.txt or .sXX.txt, got a table; read it with pandas, and make "
            "a known matrix of it with lmm.genetics.relationship."
        )
    return load_saved(path)
