"""The incidence of a design, its rows in levels and at positions: part of the program when its values are traced."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, is_traced

Entries = tuple[Int[NumpyArray, " _"], Int[NumpyArray, " _"]]
"""Where each row of a sparse matrix begins, and the column of each entry."""


@dataclasses.dataclass(frozen=True, eq=False)
class Incidence:
    """The rows, levels and positions of a design, on the host: all of it that is no value, and equal by content.

    Inside a function that JAX traces a design's arrays have no numbers. Which rows share a level must be known even
    then: it decides what is computed. ``names`` are those of the grouping factors, ``codes`` and ``n_levels`` theirs,
    ``entries`` where a sparse known matrix is not zero, ``places`` the position of each level where the levels are
    positions of one block (:class:`Grouping`, :class:`Relation`). ``positions`` are those of the terms' rows, last
    the residual's; ``roots`` and ``coords`` are the values that the design was built with, by which a search for an
    optimum is scaled; it ends at the same optimum whatever they are.
    """

    n: int
    names: tuple[str, ...]
    codes: tuple[Int[NumpyArray, " N"], ...]
    n_levels: tuple[int, ...]
    entries: tuple[Entries | None, ...]
    places: tuple[Int[NumpyArray, " _"] | None, ...]
    positions: tuple[Int[NumpyArray, " N"] | None, ...]
    roots: tuple[Float[NumpyArray, "_ _"], ...]
    coords: tuple[Float[NumpyArray, "... _ _"], ...]

    @classmethod
    def of(
        cls,
        design: Any,
        names: Sequence[str],
        places: Mapping[int, Int[NumpyArray, " _"]],
        roots: Sequence[Float[NumpyArray, "_ _"]] | None = None,
    ) -> Incidence:
        """Return that of a :class:`Design` whose groups have ``names``; ``places`` are by number of the group.

        Its roots are those of the design, unless they are given; coordinates that are traced are here whole numbers.
        """
        terms = [*design.terms, *([] if design.residual is None else [design.residual])]
        relations = [grouping.relation for grouping in design.groupings]
        return cls(
            int(design.n),
            tuple(names),
            tuple(np.asarray(grouping.codes) for grouping in design.groupings),
            tuple(int(grouping.n_levels) for grouping in design.groupings),
            tuple(
                None if one is None or one.starts is None else (np.asarray(one.starts), np.asarray(one.columns))
                for one in relations
            ),
            tuple(places.get(number) for number in range(len(design.groupings))),
            tuple(None if term.positions is None else np.asarray(term.positions) for term in terms),
            tuple(design.roots() if roots is None else roots),
            tuple(_numbered(term.coords) for term in terms),
        )

    @functools.cached_property
    def structure(self) -> bytes:
        """The digest of all but the values that the search is scaled by."""
        arrays = *self.codes, *self.positions, *self.places, *(a for pair in self.entries if pair for a in pair)
        return _digest((self.n, self.names, self.n_levels, tuple(pair is None for pair in self.entries)), arrays)

    @functools.cached_property
    def _key(self) -> bytes:
        return self.structure + _digest((), (*self.roots, *self.coords))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Incidence) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _numbered(coords: Float[Array, "*L q d"]) -> Float[NumpyArray, "*L q d"]:
    if not is_traced(coords):
        return np.asarray(coords)
    return np.broadcast_to(np.arange(float(coords.shape[-2]))[:, None], coords.shape)


def _digest(plain: tuple[object, ...], arrays: Sequence[NumpyArray | None]) -> bytes:
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=16)
    for array in arrays:
        digest.update(repr(None if array is None else (array.shape, array.dtype.str)).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()
