"""A known covariance matrix between individuals, by their labels: kinship, genomic relationship, shared household."""

from __future__ import annotations

import dataclasses
import math
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray, write_whole
from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids import as_labels, find, find_all, quoted
from jaxlmm.genetics.matrices.symmetry import Matrix, canonical, symmetric
from jaxlmm.model import connected

RELATIONSHIP_KIND = "jaxlmm relationship"
RELATIONSHIP_VERSION = 1
"""Kind and version of the layout of the file that ``save`` writes."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Relationship:
    """A symmetric matrix between individuals, found by their labels.

    Made by :func:`relationship`, :func:`kinship`, ``grm`` or :func:`jaxlmm.load`, which check it. It is never changed:
    ``2 * K`` and ``K + D`` are new ones.

    Parameters
    ----------
    labels
        The n ids, whole numbers or text, each once. They are found by their text: 12345 is ``"12345"``.
    matrix
        ``(n, n)`` float64, symmetric, with rows and columns in the order of the labels: a NumPy array, or a
        ``scipy.sparse.csr_array`` that holds both triangles. A sparse matrix stays sparse, but in methods that return
        an array or a frame. Read it, do not write to it.
    notes
        Remarks on it, such as that it was made symmetric; the print shows them.

    Examples
    --------
    >>> import jaxlmm as lmm, numpy as np
    >>> K = lmm.genetics.relationship(np.array([[0.5, 0.25], [0.25, 0.5]]), labels=["father", "child"])
    >>> (2 * K).to_frame()
            father  child
    father     1.0    0.5
    child      0.5    1.0
    >>> (K + K).subset(["child"]).to_frame()
           child
    child    1.0
    """

    labels: pd.Index
    matrix: Float[Matrix, "n n"]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for array in self._arrays():
            array.flags.writeable = False

    def _arrays(self) -> tuple[NumpyArray, ...]:
        matrix = self.matrix
        return (matrix.data, matrix.indices, matrix.indptr) if self.is_sparse else (matrix,)

    @property
    def is_sparse(self) -> bool:
        """Whether only nonzero entries are stored."""
        return bool(scipy.sparse.issparse(self.matrix))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        storage = f"sparse, {self.matrix.nnz:,} entries" if self.is_sparse else "dense"
        mean = float(self.diagonal().mean()) if len(self) else math.nan
        notes = "".join(f"; {note}" for note in self.notes)
        return f"<Relationship: {len(self):,} ids, {storage}, mean diagonal {mean:.4g}{notes}>"

    def places(self, ids: Any, what: str = "relationship") -> Int[NumpyArray, " k"]:
        """Return the index of each of ``ids`` (k,) among the labels, (k,) integers; compared as text.

        Raises
        ------
        KinshipError
            If some are not there; the message begins with ``what`` and names the first.
        """
        return find_all(as_labels(ids, what, unique=False), self.labels, what)

    def subset(self, ids: Any) -> Relationship:
        """Return the rows and columns of ``ids``, in their order.

        Parameters
        ----------
        ids
            Labels, each once, all of them in the matrix.

        Raises
        ------
        KinshipError
            If an id is not there, or twice.

        Examples
        --------
        >>> import jaxlmm as lmm, numpy as np
        >>> K = lmm.genetics.relationship(np.diag([0.5, 0.5, 0.75]), labels=[11, 12, 13])
        >>> K.subset([13, 11]).to_frame()
              13   11
        13  0.75  0.0
        11  0.00  0.5
        """
        labels = as_labels(ids, "subset")
        chosen = self.places(labels, "subset")
        matrix = self.matrix[chosen][:, chosen] if self.is_sparse else self.matrix[np.ix_(chosen, chosen)]
        return Relationship(labels, matrix, self.notes)

    def to_array(self, ids: Any = None) -> Float[NumpyArray, "k k"]:
        """Return the entries of ``ids`` (k,), or of all labels, as a new array (k, k), dense; an id may occur twice."""
        if ids is None:
            return self.matrix.toarray() if self.is_sparse else self.matrix.copy()
        chosen = self.places(ids)
        return self.matrix[chosen][:, chosen].toarray() if self.is_sparse else self.matrix[np.ix_(chosen, chosen)]

    def to_frame(self) -> pd.DataFrame:
        """Return the whole matrix as a frame with the labels as index and columns.

        All n² entries are written out, 8 bytes each: take ``subset(ids)`` of a large one first.
        """
        return pd.DataFrame(self.to_array(), index=self.labels, columns=self.labels)

    def diagonal(self) -> Float[NumpyArray, " n"]:
        """Return the entries (n,) of each individual with itself: 0.5 (1 + inbreeding) in a kinship matrix."""
        return np.array(self.matrix.diagonal())

    def blocks(self) -> Int[NumpyArray, " n"]:
        """Return the number of the block of each individual, (n,) integers from 0 in order of occurrence.

        Individuals of different blocks are connected by no chain of entries other than zero: the matrix is block
        diagonal once it is sorted by this. A pedigree's blocks are its families.

        Examples
        --------
        >>> import jaxlmm as lmm, numpy as np
        >>> lmm.genetics.relationship(np.array([[1, 0, 0.5], [0, 1, 0], [0.5, 0, 1]]), labels=list("abc")).blocks()
        array([0, 1, 0])
        """
        return connected(self.matrix)

    def __add__(self, other: object) -> Relationship:
        """Return the sum over the same ids, in the order of the first; dense if one of both is.

        Different ids are an error rather than filled with zeros: a zero would say that somebody has no variance. Cut
        both to the ids in common with ``subset``.
        """
        if not isinstance(other, Relationship):
            return NotImplemented
        for one, two in ((self, other), (other, self)):
            absent = one.labels[find(one.labels, two.labels) < 0]
            if len(absent):
                raise KinshipError(
                    f"K + D: expected the same ids in both, got {len(absent)} of {len(one)} in one alone, the first is "
                    f"{quoted(absent[0])} (the other has {', '.join(map(quoted, two.labels[:3]))}). Take subset(ids) "
                    "of both with the ids that they have in common."
                )
        other = other if self.labels.equals(other.labels) else other.subset(self.labels)
        notes = tuple(dict.fromkeys((*self.notes, *other.notes)))
        if self.is_sparse and other.is_sparse:
            return Relationship(self.labels, canonical(self.matrix + other.matrix), notes)
        return Relationship(self.labels, self.to_array() + other.to_array(), notes)

    def __mul__(self, factor: object) -> Relationship:
        """Return the matrix times a finite number: ``2 * K`` of a kinship matrix is the additive relationship."""
        if not isinstance(factor, Real) or isinstance(factor, bool):
            return NotImplemented
        if not math.isfinite(factor):
            raise KinshipError(f"K * c: expected a finite number, got {factor}.")
        return Relationship(self.labels, canonical(self.matrix * float(factor)), self.notes)

    __rmul__ = __mul__
    __array_ufunc__ = None  # so that a NumPy scalar leaves the product to __rmul__

    def save(self, path: str | PathLike[str]) -> None:
        """Write labels and matrix to an ``.npz`` file, which ``lmm.load`` reads back to the last bit.

        Raises
        ------
        KinshipError
            If the path does not end in ``.npz``.
        OutputError
            If the file cannot be written; what was there is kept.

        Examples
        --------
        >>> import tempfile, jaxlmm as lmm, numpy as np
        >>> K = lmm.genetics.relationship(np.diag([0.5, 0.5, 0.75]), labels=["a", "b", "c"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     K.save(f"{folder}/K.npz")
        ...     again = lmm.load(f"{folder}/K.npz")
        >>> again.labels.tolist(), again.diagonal().tolist()
        (['a', 'b', 'c'], [0.5, 0.5, 0.75])
        """
        if Path(path).suffix != ".npz":
            raise KinshipError(f"save: expected a path that ends in .npz, got {str(path)!r}.")
        labels = self.labels.to_numpy()
        labels = labels if labels.dtype.kind in "iuf" else labels.astype(str)
        names = ("data", "indices", "indptr") if self.is_sparse else ("dense",)
        arrays = dict(zip(names, self._arrays(), strict=True))
        write = np.savez_compressed if self.is_sparse else np.savez  # dense numbers hardly shrink and take long to
        about = {"kind": np.array(RELATIONSHIP_KIND), "version": np.array(RELATIONSHIP_VERSION), "labels": labels}
        write_whole(path, lambda aside: write(aside, **about, **arrays))  # type: ignore[arg-type]


def checked(labels: Any, matrix: Any, what: str = "relationship") -> Relationship:
    """Return labels and a matrix as a :class:`Relationship`; the matrix is copied, and made symmetric, with a note.

    Raises
    ------
    KinshipError
        If it is not square, not of the labels' length, not finite or not symmetric, or if a label is missing or twice.
    """
    labels = as_labels(labels, what)
    try:
        values = scipy.sparse.csr_array(matrix) if scipy.sparse.issparse(matrix) else np.asarray(matrix)
        if np.iscomplexobj(values):
            raise TypeError("complex ones")
        values = values.astype(float)
    except (TypeError, ValueError) as error:
        raise KinshipError(f"{what}: expected real numbers, got {error}.") from error
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise KinshipError(f"{what}: expected a square matrix, got shape {values.shape}.")
    if values.shape[0] != len(labels):
        raise KinshipError(
            f"{what}: expected one label for each of {values.shape[0]} rows, got {len(labels)} labels; the labels of a "
            "matrix name its rows and columns in their order."
        )
    check_finite(labels, values, what)
    values, note = symmetric(labels, values, what)
    return Relationship(labels, values, (note,) if note else ())


def check_finite(labels: pd.Index, values: Float[Matrix, "n n"], what: str) -> None:
    """Raise if an entry of a matrix is not a number or infinite; ``what`` begins the message."""
    entries = values.data if scipy.sparse.issparse(values) else values
    if np.isfinite(entries).all():
        return
    if scipy.sparse.issparse(values):
        coordinates = values.tocoo()
        wrong = np.flatnonzero(~np.isfinite(coordinates.data))
        row, column = coordinates.row[wrong[0]], coordinates.col[wrong[0]]
        value, count = coordinates.data[wrong[0]], wrong.size
    else:
        rows, columns = np.nonzero(~np.isfinite(values))
        row, column, value, count = rows[0], columns[0], values[rows[0], columns[0]], rows.size
    raise KinshipError(
        f"{what}: expected finite numbers, got {value} between {quoted(labels[row])} and {quoted(labels[column])} "
        f"({count} such entries). Leave these ids out, or compute the matrix anew."
    )
