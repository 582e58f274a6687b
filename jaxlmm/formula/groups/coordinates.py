"""Covariance structures across the levels of a grouping factor, with coordinates of each level by its label."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import AbstractCovariance, as_field, increasing
from jaxlmm.errors import KinshipError
from jaxlmm.formula.groups.ids import as_text, complement, indices_among
from jaxlmm.formula.groups.structures import check_structure

MAX_LEVELS_CHECKED = 8
"""Number of levels at whose coordinates the contract of a structure is checked."""

COORDS_ADVICE = (
    "write lmm.covariance.OU(coords=frame) with a frame that has the levels as index and a column per coordinate"
)
"""The end of messages about coordinates that are not given by label."""


class LevelStructure(NamedTuple):
    """A covariance structure across the levels of a group, with the coordinates of all ids.

    ``name`` is that of the group, with the structure's own in brackets where it has one; ``ids`` (A,) are all ids as
    text, ``indices`` those of the levels among them. The levels are the positions of one block: ``positions`` are
    their indices in it. ``kind`` is the name of the structure's class.
    """

    name: str
    ids: pd.Index
    indices: Int[NumpyArray, " L"]
    structure: AbstractCovariance
    kind: str
    coords: Float[NumpyArray, "A d"]
    positions: Int[NumpyArray, " L"]

    @property
    def mean_diagonal(self) -> None:
        """None: the diagonal depends on parameters that are estimated."""
        return

    @property
    def notes(self) -> tuple[str, ...]:
        """No notes: coordinates are used as they are given."""
        return ()

    @property
    def block(self) -> Float[NumpyArray, "1 L d"]:
        """The coordinates of the positions of the one block."""
        coords = np.empty((1, self.indices.size, self.coords.shape[1]))
        coords[0, self.positions] = self.coords[self.indices]
        return coords

    @property
    def unobserved(self) -> Int[NumpyArray, " R"]:
        """Indices of the ids that are no levels."""
        return complement(self.indices, len(self.ids))


def level_structure(name: str, structure: Any, levels: pd.Index) -> LevelStructure:
    """Match the coordinates of a structure to the ``levels`` of a group by label.

    ``structure`` is a covariance structure, or, by mistake, its class.

    Raises
    ------
    KinshipError, OptionError
        If the structure or a level has no coordinates, they are not finite numbers by label, or the structure does not
        keep its contract at the first of them.
    """
    if isinstance(structure, type):
        raise KinshipError(
            f"kinship of {name!r}: expected an object, got the class {structure.__name__}; {COORDS_ADVICE}."
        )
    frame = structure.coords
    if isinstance(frame, pd.Series):
        frame = frame.to_frame()
    if not isinstance(frame, pd.DataFrame):
        what = "none" if frame is None else type(frame).__name__
        raise KinshipError(
            f"kinship of {name!r}: expected coords by label with {type(structure).__name__}, got {what}; "
            f"{COORDS_ADVICE}."
        )
    numeric = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind) for kind in frame.dtypes]
    if not numeric or not all(numeric):
        what = "no column" if not numeric else f"{frame.columns[numeric.index(False)]!r} of another kind"
        raise KinshipError(f"kinship of {name!r}: expected coords in columns of numbers, got {what}.")
    ids, coords = as_text(frame.index, name), frame.to_numpy(float, na_value=np.nan)
    remedy = "Drop these rows of the data, or add the ids to the frame."
    indices = indices_among(name, levels, ids, "the frame of coords", remedy)
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
    check_structure(bare, block[:MAX_LEVELS_CHECKED], f"kinship of {name!r}", across=True)
    return LevelStructure(
        name, ids, indices, as_field(bare, block.shape[1]), type(structure).__name__, coords, positions
    )
