"""Files of known matrices: this package's ``.npz``, GCTA's ``.grm.bin``, GEMMA's text."""

from __future__ import annotations

import zipfile
from os import PathLike

import numpy as np
from scipy import sparse

from jaxlmm.errors import KinshipError
from jaxlmm.genetics.labels import as_labels
from jaxlmm.genetics.relationship import KIND, VERSION, Relationship, checked


def read_npz(path: str | PathLike[str]) -> Relationship:
    """Return the matrix that :meth:`Relationship.save` wrote, as it was.

    Raises
    ------
    KinshipError
        If it is another kind of file, or of another version of the layout.
    """
    wanted = f"{path}: expected a matrix saved by Relationship.save(path)"
    try:
        with np.load(path, allow_pickle=False) as file:
            if "kind" not in file or str(file["kind"]) != KIND:
                raise KinshipError(f"{wanted}, got arrays named {', '.join(file.files) or 'nothing'}.")
            if int(file["version"]) != VERSION:
                raise KinshipError(f"{wanted} with layout version {VERSION}, got version {file['version']}.")
            labels = as_labels(file["labels"], str(path))
            if "dense" in file:
                return checked(labels, file["dense"], str(path))
            n = len(labels)
            entries = (file["data"], file["indices"], file["indptr"])
            return checked(labels, sparse.csr_array(entries, shape=(n, n)), str(path))
    except KinshipError:
        raise
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise KinshipError(f"{wanted}, got a file that cannot be read as one: {error}.") from error
