"""Symmetrize matrices that are symmetric but for rounding, with a note."""

from __future__ import annotations

from typing import Any, TypeAlias

import pandas as pd
import scipy
from jaxtyping import Float

from jaxlmm.errors import KinshipError
from jaxlmm.genetics.ids import quoted

Matrix: TypeAlias = Any
"""A NumPy array or an array of scipy.sparse."""

MAX_ASYMMETRY = 1e-6
"""A matrix may differ from its transpose by this much of its largest entry, as in single precision or written with few
digits; it is made symmetric."""

MAX_ASYMMETRY_WITHOUT_NOTE = 1e-12
"""A difference of up to this much of the largest entry gets no note: rounding of double precision."""


def symmetric(labels: pd.Index, values: Float[Matrix, "n n"], what: str) -> tuple[Float[Matrix, "n n"], str]:
    """Return a finite matrix made exactly symmetric, and a note if it differed from its transpose.

    Raises
    ------
    KinshipError
        If it differs from its transpose by more than rounding.
    """
    largest = float(abs(values).max()) if values.shape[0] else 0.0
    difference = abs(values - values.T)
    worst = float(difference.max()) if values.shape[0] else 0.0
    if worst > MAX_ASYMMETRY * largest:
        row, column = divmod(int(difference.argmax()), values.shape[0])
        here, there = told_apart(values[row, column], values[column, row])
        raise KinshipError(
            f"{what}: expected a symmetric matrix, got {here} between {quoted(labels[row])} and "
            f"{quoted(labels[column])} and {there} the other way round, a difference of {worst:.2g} where up to "
            f"{MAX_ASYMMETRY * largest:.2g} would be rounding. A matrix with one triangle alone is given as a table of "
            "id1, id2, value."
        )
    return canonical(0.5 * (values + values.T) if worst > 0.0 else values), made_symmetric(worst, largest)


def made_symmetric(difference: float, largest: float) -> str:
    """Return the note on a matrix whose triangles differed by up to ``difference``; "" if that is rounding."""
    if difference <= MAX_ASYMMETRY_WITHOUT_NOTE * largest:
        return ""
    return f"made symmetric: its triangles differed by up to {difference / largest:.1g} of its largest entry"


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Format two numbers with enough digits to show that they differ.

    >>> told_apart(0.5, 0.25), told_apart(0.50000001, 0.5)
    (('0.5', '0.25'), ('0.50000001', '0.5'))
    """
    digits = next((count for count in range(6, 18) if f"{one:.{count}g}" != f"{other:.{count}g}"), 17)
    return f"{one:.{digits}g}", f"{other:.{digits}g}"


def canonical(matrix: Float[Matrix, "n n"]) -> Float[Matrix, "n n"]:
    """Return a sparse matrix with sorted columns and without stored zeros; a dense matrix as it is."""
    if scipy.sparse.issparse(matrix):
        matrix = scipy.sparse.csr_array(matrix)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix
