"""Known covariance matrices across the levels of a grouping factor: matched by label, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.errors import KinshipError, nearest
from jaxlmm.formula.groups.coordinates import LevelStructure, level_structure
from jaxlmm.formula.groups.ids import as_text, complement, indices_among
from jaxlmm.formula.groups.levels import Levels
from jaxlmm.genetics import LocoRelationships, Relationship
from jaxlmm.genetics.matrices import check_finite, symmetric
from jaxlmm.model import Relation

NEGATIVE_PER_LEVEL = 1e-8
"""Negative eigenvalues of a known matrix are rounding up to this times its largest entry times the number of levels."""

NEGATIVE_PER_ROOT_LEVEL = 1e-6
"""Or up to this times its largest entry times the root of the number of levels: the error of the eigenvalues if entries
are in single precision, or have six digits. Solvers set negative eigenvalues to zero."""

Matrix: TypeAlias = Any
"""An array of NumPy, or a ``scipy.sparse.csr_array``."""


class KnownMatrix(NamedTuple):
    """A known covariance matrix across the levels of a grouping factor.

    ``name`` is that of the group, with the matrix's own in brackets where it has one; ``ids`` (A,) are all ids as
    text, ``indices`` those of the levels among them; ``relation`` is the part of the ``matrix`` for the levels;
    ``notes`` are sentences on changes made to the matrix.
    """

    name: str
    ids: pd.Index
    indices: Int[NumpyArray, " L"]
    matrix: Float[Matrix, "A A"]
    relation: Relation
    notes: tuple[str, ...] = ()

    def between(self, rows: Int[NumpyArray, " i"], columns: Int[NumpyArray, " j"]) -> Float[Matrix, "i j"]:
        """Return a submatrix as a ``scipy.sparse.csr_array``."""
        return scipy.sparse.csr_array(_part(self.matrix, rows, columns))

    @property
    def unobserved(self) -> Int[NumpyArray, " R"]:
        """Indices of the ids that are no levels, and whose variance and covariances with the levels are finite."""
        rows = complement(self.indices, len(self.ids))
        with_levels = self.between(rows, self.indices)
        wrong = np.repeat(np.arange(rows.size), np.diff(with_levels.indptr))[~np.isfinite(with_levels.data)]
        finite = np.isfinite(self.matrix.diagonal()[rows])
        finite[wrong] = False
        return rows[finite]

    @property
    def mean_diagonal(self) -> float:
        """The mean of the diagonal over the levels."""
        return float(self.relation.diagonal().mean())


def known_matrices(
    kinship: Mapping[str, Any] | None, levels: Mapping[str, Levels]
) -> dict[str, tuple[KnownMatrix | LevelStructure, ...]]:
    """Return the known matrices, or structures with coordinates, across the levels of each group in ``kinship``.

    Parameters
    ----------
    kinship
        ``{group: K}``, ``{group: [K1, K2]}`` or ``{group: {"kin": K1, "ibd": K2}}``; ids are compared as text, so that
        12345 is ``"12345"``.
    levels
        The levels of each grouping factor.

    Raises
    ------
    KinshipError
        If a matrix is not labelled, lacks a level, or is not a covariance matrix.
    """
    matrices = {}
    for group, value in (kinship or {}).items():
        if group not in levels:
            raise not_grouped_by(group, levels)
        for part in levels[group].parts:
            as_text(part, group)  # each factor of an interaction must be exact
        named = _named(group, value)
        matrices[group] = tuple(_matched(name, matrix, levels[group].labels) for name, matrix in named.items())
    return matrices


def not_grouped_by(group: str, levels: Iterable[str]) -> KinshipError:
    """Return the error for a matrix of a ``group`` that no random term has."""
    suggestion = nearest(group, levels)
    return KinshipError(f"kinship: no random term is grouped by {group!r}; {suggestion}. A term (1 | {group}) has it.")


def _named(group: str, value: Any) -> dict[str, Any]:
    """Return the matrices of a group by name: the group's, ``id``, or with their own, ``id[kin]`` and ``id[ibd]``."""
    if isinstance(value, LocoRelationships):
        raise KinshipError(
            f"kinship of {group!r}: expected a matrix, got those that each leave one chromosome out, which are for "
            "lmm.scan(loco=True); the matrix of all markers is their .whole."
        )
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


def _matched(name: str, value: Any, levels: pd.Index) -> KnownMatrix | LevelStructure:
    """Match a matrix, or a structure with coordinates, to the ``levels`` of a group."""
    if isinstance(value, AbstractCovariance) or (isinstance(value, type) and issubclass(value, AbstractCovariance)):
        return level_structure(name, value, levels)
    ids, matrix, notes = _labelled(name, value, len(levels))
    text = as_text(ids, name)
    remedy = (
        "Drop these rows of the data, or add the ids to the matrix (1 on the diagonal and 0 elsewhere for unrelated "
        "ones)."
    )
    indices = indices_among(name, levels, text, "the matrix", remedy)
    relation, note = _checked(name, _part(matrix, indices, indices), levels)
    notes = (*notes, *([note] if note else []))
    sentences = tuple(f"The matrix of {name} was {note}." for note in notes)
    return KnownMatrix(name, text, indices, matrix, relation, sentences)


def _labelled(name: str, matrix: Any, n_levels: int) -> tuple[pd.Index, Float[Matrix, "A A"], tuple[str, ...]]:
    """Return the ids (A,), the matrix, and the notes on it."""
    if isinstance(matrix, Relationship):
        return matrix.labels, matrix.matrix, matrix.notes
    if not isinstance(matrix, pd.DataFrame):
        shape = f" of shape {matrix.shape}" if hasattr(matrix, "shape") else ""
        raise KinshipError(
            f"kinship of {name!r}: expected a data frame with ids as index and columns, or a Relationship, got "
            f"{type(matrix).__name__}{shape} for {n_levels} levels. An array does not say whose rows it has: write "
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


def _part(
    matrix: Float[Matrix, "A A"], rows: Int[NumpyArray, " i"], columns: Int[NumpyArray, " j"]
) -> Float[Matrix, "i j"]:
    """Return a submatrix, sparse if the matrix is."""
    return matrix[np.ix_(rows, columns)] if isinstance(matrix, np.ndarray) else matrix[rows][:, columns]


def _checked(name: str, matrix: Float[Matrix, "L L"], levels: pd.Index) -> tuple[Relation, str]:
    """Return the matrix of the levels made exactly symmetric, with a note; raise if it is no covariance matrix.

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
    tolerance = largest * max(NEGATIVE_PER_LEVEL * len(levels), NEGATIVE_PER_ROOT_LEVEL * len(levels) ** 0.5)
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


def group_names(group: str, matrices: Sequence[KnownMatrix | LevelStructure]) -> tuple[str, ...]:
    """Return the names of a group, one for each of its known matrices: the terms that it stands for."""
    return tuple(matrix.name for matrix in matrices) or (group,)
