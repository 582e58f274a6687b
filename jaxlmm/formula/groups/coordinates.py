"""Structures across the levels of a grouping factor, which say by label where each level is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import AbstractCovariance, as_field, increasing
from jaxlmm.errors import KinshipError
from jaxlmm.formula.groups.ids import as_text, others_than, places_of
from jaxlmm.formula.groups.structures import check_structure

FEW = 8
"""Levels at which a structure is tried out."""

WRITE = "write lmm.covariance.OU(coords=frame) with a frame that has the levels as index and a column per coordinate"


class Located(NamedTuple):
    """A structure across the levels of a group: what the group is called with it, the ids and where they are.

    ``name`` is that of the group, with the structure's own in brackets where it has one; ``ids`` (A,) are all ids as
    text, with ``coords`` (A, d); ``indices`` (G,) are those of the levels among them. The levels are the positions of
    one block: ``positions`` (G,) int32 is that of each. ``kind`` is the structure's class.
    """

    name: str
    ids: pd.Index
    indices: NumpyArray
    structure: AbstractCovariance
    kind: str
    coords: NumpyArray
    positions: NumpyArray

    @property
    def mean_diagonal(self) -> None:
        """Unknown: the diagonal depends on parameters that are estimated."""
        return

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is to be said of coordinates."""
        return ()

    @property
    def block(self) -> NumpyArray:
        """The coordinates (1, G, d) of the positions."""
        found = np.empty((1, self.indices.size, self.coords.shape[1]))
        found[0, self.positions] = self.coords[self.indices]
        return found

    @property
    def others(self) -> NumpyArray:
        """Places (R,) of the ids that are no levels."""
        return others_than(self.indices, len(self.ids))


def located(name: str, structure: Any, levels: pd.Index) -> Located:
    """Return a structure with its coordinates matched to the ``levels`` (G,) of a group.

    Raises
    ------
    KinshipError, OptionError
        If the structure has no coordinates, a level has none, they are not finite numbers by label, or the structure
        does not keep its contract on some of them.
    """
    if isinstance(structure, type):
        raise KinshipError(f"kinship of {name!r}: expected an object, got the class {structure.__name__}; {WRITE}.")
    given = structure.coords
    if isinstance(given, pd.Series):
        given = given.to_frame()
    if not isinstance(given, pd.DataFrame):
        what = "none" if given is None else type(given).__name__
        raise KinshipError(
            f"kinship of {name!r}: expected coords by label with {type(structure).__name__}, got {what}; {WRITE}."
        )
    numeric = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind) for kind in given.dtypes]
    if not numeric or not all(numeric):
        what = "no column" if not numeric else f"{given.columns[numeric.index(False)]!r} of another kind"
        raise KinshipError(f"kinship of {name!r}: expected coords in columns of numbers, got {what}.")
    ids, coords = as_text(given.index, name), given.to_numpy(float, na_value=np.nan)
    remedy = "Drop these rows of the data, or add the ids to the frame."
    indices = places_of(name, levels, ids, "the frame of coords", remedy)
    wrong = np.flatnonzero(~np.isfinite(coords).all(axis=1))
    if wrong.size:
        raise KinshipError(
            f"kinship of {name!r}: expected finite coords, got {coords[wrong[0]].tolist()} for {str(ids[wrong[0]])!r} "
            f"({wrong.size} such ids)."
        )
    positions = np.empty(len(levels), np.int32)
    positions[increasing(coords[indices])] = np.arange(len(levels), dtype=np.int32)
    bare = structure.without_coords()
    block = coords[indices][np.argsort(positions)]
    check_structure(bare, block[:FEW], f"kinship of {name!r}", across=True)
    return Located(name, ids, indices, as_field(bare), type(structure).__name__, coords, positions)
