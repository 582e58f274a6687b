"""Known covariance matrices across the levels of a grouping factor: read, matched by label, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import KinshipError, nearest
from jaxlmm.formula.levels import Levels
from jaxlmm.genetics import Relationship
from jaxlmm.model.relation import Relation

ASYMMETRY = 1e-8
"""A known matrix may differ from its transpose, or have eigenvalues below zero, by this much of its largest entry."""


class Known(NamedTuple):
    """One known matrix of a grouping factor: what the group is called with it, its ids and entries.

    ``name`` is that of the group, with the matrix's own in brackets where it has one; ``ids`` (A,) are all ids as
    text; ``places`` (G,) are those of the levels among them; ``matrix`` (A, A) is an array, or a
    ``scipy.sparse.csr_array``; ``relation`` is its part for the levels.
    """

    name: str
    ids: pd.Index
    places: NumpyArray
    matrix: Any
    relation: Relation

    def between(self, rows: NumpyArray, columns: NumpyArray) -> Any:
        """Return the part (r, c) of the matrix as a ``scipy.sparse.csr_array``."""
        from scipy.sparse import csr_array

        return csr_array(_part(self.matrix, rows, columns))

    @property
    def others(self) -> NumpyArray:
        """Places (R,) of the ids that are no levels and whose entries towards the levels are finite."""
        free = np.ones(len(self.ids), bool)
        free[self.places] = False
        rows = np.flatnonzero(free)
        towards = self.between(rows, self.places)
        wrong = np.repeat(np.arange(rows.size), np.diff(towards.indptr))[~np.isfinite(towards.data)]
        good = np.isfinite(self.matrix.diagonal()[rows])
        good[wrong] = False
        return rows[good]

    def relatives(self, levels: pd.Index) -> pd.Index:
        """Return the ids that are no levels, as numbers where the ``levels`` are and all of them can be."""
        ids = self.ids[self.others]
        if not pd.api.types.is_integer_dtype(levels.dtype):
            return ids
        numbers = pd.to_numeric(pd.Series(ids, dtype=object), errors="coerce")
        if numbers.isna().any() or list(as_text(pd.Index(numbers))) != list(ids):
            return ids
        return pd.Index(numbers.astype(levels.dtype))


def known_matrices(kinship: Mapping[str, Any] | None, levels: Mapping[str, Levels]) -> dict[str, tuple[Known, ...]]:
    """Return the known matrices of each group in ``kinship``.

    Parameters
    ----------
    kinship
        ``{group: K}``, ``{group: [K1, K2]}`` or ``{group: {"kin": K1, "ibd": K2}}``; ids are compared as text, so that
        12345 is ``"12345"``.
    levels
        Those of each grouping factor.

    Raises
    ------
    KinshipError
        If a matrix is not labelled, lacks a level, or is not a covariance matrix.
    """
    found = {}
    for group, value in (kinship or {}).items():
        if group not in levels:
            raise KinshipError(f"kinship: no random term is grouped by {group!r}; {nearest(group, levels)}.")
        named = _named(group, value)
        found[group] = tuple(_known(name, matrix, levels[group].labels) for name, matrix in named.items())
    return found


def as_text(labels: pd.Index) -> pd.Index:
    """Return labels as text; whole numbers without a point.

    >>> as_text(pd.Index([1.0, 12345.0])).tolist()
    ['1', '12345']
    """
    if pd.api.types.is_float_dtype(labels.dtype) and (labels == np.floor(labels)).all():
        labels = labels.astype(np.int64)
    return pd.Index([str(label) for label in labels], dtype=object)


def _named(group: str, value: Any) -> dict[str, Any]:
    """Return the matrices of a group by the group's names with them: ``id``, or ``id[kin]`` and ``id[ibd]``."""
    if isinstance(value, Mapping):
        parts = dict(value)
    elif isinstance(value, list | tuple):
        parts = {str(number): matrix for number, matrix in enumerate(value, start=1)}
    else:
        return {group: value}
    if not parts:
        raise KinshipError(f"kinship of {group!r}: expected at least one matrix, got an empty {type(value).__name__}.")
    for name in parts:
        if not isinstance(name, str) or not name or any(sign in name for sign in ":[]"):
            raise KinshipError(f"kinship of {group!r}: expected names without ':' and brackets, got {name!r}.")
    return {f"{group}[{name}]": matrix for name, matrix in parts.items()}


def _known(name: str, matrix: Any, levels: pd.Index) -> Known:
    ids, rows = _labelled(name, matrix, len(levels))
    text = as_text(ids)
    if text.has_duplicates:
        raise KinshipError(
            f"kinship of {name!r}: id {str(text[text.duplicated()][0])!r} occurs more than once; every id has one row "
            "(numbers and their text are the same id)."
        )
    places = np.asarray(text.get_indexer(as_text(levels)))
    missing = levels[places < 0]
    if len(missing):
        raise KinshipError(
            f"kinship of {name!r}: {len(missing)} of {len(levels)} ids in the data are not in the matrix, the first "
            f"is {str(missing[0])!r}; the matrix has {len(ids)} ids such as {', '.join(repr(i) for i in text[:3])}. "
            "Drop these rows of the data, or add the ids to the matrix (1 on the diagonal and 0 elsewhere for "
            "unrelated ones)."
        )
    return Known(name, text, places, rows, _checked(name, _part(rows, places, places), levels))


def _labelled(name: str, matrix: Any, count: int) -> tuple[pd.Index, Any]:
    """Return the ids (A,) and the matrix (A, A), an array or sparse rows, to be matched with ``count`` levels."""
    if isinstance(matrix, Relationship):
        return matrix.labels, matrix.matrix
    if not isinstance(matrix, pd.DataFrame):
        shape = f" of shape {matrix.shape}" if hasattr(matrix, "shape") else ""
        raise KinshipError(
            f"kinship of {name!r}: expected a data frame with ids as index and columns, or a Relationship, got "
            f"{type(matrix).__name__}{shape} for {count} levels. An array does not say whose rows it has: write "
            "lmm.genetics.relationship(K, labels=ids)."
        )
    rows, columns = as_text(matrix.index), as_text(matrix.columns)
    if matrix.shape[0] != matrix.shape[1] or set(rows) != set(columns):
        raise KinshipError(f"kinship of {name!r}: expected the same ids as rows and columns, got {matrix.shape}.")
    try:
        values = matrix.to_numpy(float)
    except (TypeError, ValueError) as error:
        raise KinshipError(f"kinship of {name!r}: expected numbers, got others ({error}).") from error
    if not rows.has_duplicates and not rows.equals(columns):
        values = values[:, columns.get_indexer(rows)]
    return matrix.index, values


def _part(matrix: Any, rows: NumpyArray, columns: NumpyArray) -> Any:
    """Return the entries of some rows and columns, sparse where the matrix is."""
    return matrix[np.ix_(rows, columns)] if isinstance(matrix, np.ndarray) else matrix[rows][:, columns]


def _checked(name: str, matrix: Any, levels: pd.Index) -> Relation:
    """Return the matrix of the levels, symmetric to the last digit; raise if it is no covariance matrix."""
    from scipy.sparse import coo_array

    entries = matrix if isinstance(matrix, np.ndarray) else matrix.data
    if not np.isfinite(entries).all():
        found = coo_array(matrix)
        row = int(found.coords[0][np.flatnonzero(~np.isfinite(found.data))[0]])
        raise KinshipError(
            f"kinship of {name!r}: expected finite numbers, got missing or infinite ones, first in the row of "
            f"{str(levels[row])!r}."
        )
    largest = float(np.abs(entries).max(initial=0.0))
    if largest == 0.0:
        raise KinshipError(f"kinship of {name!r}: expected a covariance matrix, got zeros alone.")
    difference = abs(matrix - matrix.T)
    asymmetry = float(difference.max())
    if asymmetry > ASYMMETRY * largest:
        one, other = divmod(int(difference.argmax()), len(levels))
        raise KinshipError(
            f"kinship of {name!r}: expected a symmetric matrix, got entries that differ by {asymmetry:g}, that of "
            f"{str(levels[one])!r} and {str(levels[other])!r}."
        )
    relation = Relation.of(0.5 * (matrix + matrix.T) if asymmetry else matrix)
    tolerance = ASYMMETRY * largest * len(levels)
    for block in relation.blocks():
        try:  # an order of magnitude quicker than eigenvalues, which are needed for the message alone
            np.linalg.cholesky(relation.among(block) + tolerance * np.eye(block.size))
        except np.linalg.LinAlgError:
            smallest = float(np.linalg.eigvalsh(relation.among(block))[0])
            if smallest < -tolerance:
                raise KinshipError(
                    f"kinship of {name!r}: expected a positive semidefinite matrix, got a smallest eigenvalue of "
                    f"{smallest:g}. The nearest one that is has these eigenvalues set to 0."
                ) from None
    return relation


def repeated(group: str, known: Sequence[Known]) -> tuple[str, ...]:
    """Return what a group is called, once for each of its known matrices."""
    return tuple(one.name for one in known) or (group,)
