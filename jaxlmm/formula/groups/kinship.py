"""Known covariance matrices across the levels of a grouping factor: read, matched by label, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.errors import KinshipError, nearest
from jaxlmm.formula.groups.coordinates import Located, located
from jaxlmm.formula.groups.ids import as_text, others_than, places_of
from jaxlmm.formula.groups.levels import Levels
from jaxlmm.genetics import Relationship
from jaxlmm.genetics.matrices import check_finite, symmetric
from jaxlmm.model import Relation

NEGATIVE = 1e-8
"""A known matrix may have eigenvalues below zero by this much of its largest entry, for each level."""

ROUNDED = 1e-6
"""Or by this much, times the root of the number of levels: what entries in single precision, or written with six
digits, do to the eigenvalues. Solvers take what is below zero to be zero."""


class Known(NamedTuple):
    """One known matrix of a grouping factor: what the group is called with it, its ids and entries.

    ``name`` is that of the group, with the matrix's own in brackets where it has one; ``ids`` (A,) are all ids as
    text; ``indices`` (G,) are those of the levels among them; ``matrix`` (A, A) is an array, or a
    ``scipy.sparse.csr_array``; ``relation`` is its part for the levels; ``notes`` are what is to be said of it.
    """

    name: str
    ids: pd.Index
    indices: NumpyArray
    matrix: Any
    relation: Relation
    notes: tuple[str, ...] = ()

    def between(self, rows: NumpyArray, columns: NumpyArray) -> Any:
        """Return the part (r, c) of the matrix as a ``scipy.sparse.csr_array``."""
        from scipy.sparse import csr_array

        return csr_array(_part(self.matrix, rows, columns))

    @property
    def others(self) -> NumpyArray:
        """Places (R,) of the ids that are no levels and whose entries towards the levels are finite."""
        rows = others_than(self.indices, len(self.ids))
        towards = self.between(rows, self.indices)
        wrong = np.repeat(np.arange(rows.size), np.diff(towards.indptr))[~np.isfinite(towards.data)]
        good = np.isfinite(self.matrix.diagonal()[rows])
        good[wrong] = False
        return rows[good]

    @property
    def mean_diagonal(self) -> float:
        """The mean of the diagonal over the levels."""
        return float(self.relation.diagonal().mean())


def known_matrices(
    kinship: Mapping[str, Any] | None, levels: Mapping[str, Levels]
) -> dict[str, tuple[Known | Located, ...]]:
    """Return what is known across the levels of each group in ``kinship``: matrices, or structures with coordinates.

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
            raise not_grouped_by(group, levels)
        for part in levels[group].parts:
            as_text(part, group)  # in an interaction too, each must be exact
        named = _named(group, value)
        found[group] = tuple(_known(name, matrix, levels[group].labels) for name, matrix in named.items())
    return found


def not_grouped_by(group: str, levels: Iterable[str]) -> KinshipError:
    """Return the error for a matrix of a ``group`` that no random term has."""
    there = nearest(group, levels)
    return KinshipError(f"kinship: no random term is grouped by {group!r}; {there}. A term (1 | {group}) has it.")


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


def _known(name: str, value: Any, levels: pd.Index) -> Known | Located:
    if isinstance(value, AbstractCovariance) or (isinstance(value, type) and issubclass(value, AbstractCovariance)):
        return located(name, value, levels)
    ids, rows, notes = _labelled(name, value, len(levels))
    text = as_text(ids, name)
    remedy = (
        "Drop these rows of the data, or add the ids to the matrix (1 on the diagonal and 0 elsewhere for unrelated "
        "ones)."
    )
    indices = places_of(name, levels, text, "the matrix", remedy)
    relation, note = _checked(name, _part(rows, indices, indices), levels)
    notes = (*notes, *([note] if note else []))
    return Known(name, text, indices, rows, relation, tuple(f"The matrix of {name} was {said}." for said in notes))


def _labelled(name: str, matrix: Any, count: int) -> tuple[pd.Index, Any, tuple[str, ...]]:
    """Return the ids (A,), the matrix (A, A), an array or sparse rows, and the notes on it.

    It is to be matched with ``count`` levels.
    """
    if isinstance(matrix, Relationship):
        return matrix.labels, matrix.matrix, matrix.notes
    if not isinstance(matrix, pd.DataFrame):
        shape = f" of shape {matrix.shape}" if hasattr(matrix, "shape") else ""
        raise KinshipError(
            f"kinship of {name!r}: expected a data frame with ids as index and columns, or a Relationship, got "
            f"{type(matrix).__name__}{shape} for {count} levels. An array does not say whose rows it has: write "
            "lmm.genetics.relationship(K, labels=ids); lmm.load reads a file, lmm.genetics.grm genotypes."
        )
    rows, columns = as_text(matrix.index, name), as_text(matrix.columns, name)
    if matrix.shape[0] != matrix.shape[1] or set(rows) != set(columns):
        raise KinshipError(
            f"kinship of {name!r}: expected the same ids as rows and columns, got {matrix.shape}. A table of pairs is "
            "read by lmm.genetics.relationship(table)."
        )
    try:
        values = matrix.to_numpy(float)
    except (TypeError, ValueError) as error:
        raise KinshipError(f"kinship of {name!r}: expected numbers, got others ({error}).") from error
    if not rows.has_duplicates and not rows.equals(columns):
        values = values[:, columns.get_indexer(rows)]
    return matrix.index, values, ()


def _part(matrix: Any, rows: NumpyArray, columns: NumpyArray) -> Any:
    """Return the entries of some rows and columns, sparse where the matrix is."""
    return matrix[np.ix_(rows, columns)] if isinstance(matrix, np.ndarray) else matrix[rows][:, columns]


def _checked(name: str, matrix: Any, levels: pd.Index) -> tuple[Relation, str]:
    """Return the matrix of the levels, symmetric to the last digit, with a note; raise if it is no covariance matrix.

    Raises
    ------
    KinshipError
        If it is not symmetric, or not positive semidefinite, but for rounding.
    """
    what = f"kinship of {name!r}"
    check_finite(levels, matrix, what)
    largest = float(abs(matrix).max())
    if largest == 0.0:
        raise KinshipError(f"{what}: expected a covariance matrix, got zeros alone.")
    matrix, note = symmetric(levels, matrix, what)
    relation = Relation.of(matrix)
    tolerance = largest * max(NEGATIVE * len(levels), ROUNDED * len(levels) ** 0.5)
    for block in relation.blocks():
        try:  # an order of magnitude quicker than eigenvalues, which are needed for the message alone
            np.linalg.cholesky(relation.among(block) + tolerance * np.eye(block.size))
        except np.linalg.LinAlgError:
            smallest = float(np.linalg.eigvalsh(relation.among(block))[0])
            if smallest < -tolerance:
                raise KinshipError(
                    f"{what}: expected a positive semidefinite matrix, got a smallest eigenvalue of "
                    f"{smallest:g}. The nearest one that is has these eigenvalues set to 0."
                ) from None
    return relation, note


def repeated(group: str, known: Sequence[Known | Located]) -> tuple[str, ...]:
    """Return what a group is called, once for each of its known matrices."""
    return tuple(one.name for one in known) or (group,)
