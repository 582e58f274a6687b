"""Which clusters of rows share a covariance, as a function of theta, because they repeat a pattern."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from jaxlmm._util import NumpyArray
from jaxlmm.model import Design, Term
from jaxlmm.solvers.clusters import clusters_of


class Members(NamedTuple):
    """The rows of each cluster, in an order that depends on the pattern alone, and the pattern of each cluster."""

    clusters: list[Int[NumpyArray, " _n"]]
    pattern: Int[NumpyArray, " B"]

    @property
    def n_patterns(self) -> int:
        """The number of patterns, C."""
        return int(self.pattern.max(initial=-1)) + 1

    @property
    def largest(self) -> int:
        """The most rows of a cluster."""
        return max(rows.size for rows in self.clusters)

    @property
    def first(self) -> list[Int[NumpyArray, " _n"]]:
        """The rows of the first cluster of each pattern."""
        _, index = np.unique(self.pattern, return_index=True)
        return [self.clusters[number] for number in index]


_latest: list[tuple[weakref.ref[Design], Members]] = []  # a choice of solvers asks three times of one design


def members_of(design: Design) -> Members:
    """Return :func:`_found`, which of the latest design is kept until that is freed."""
    for of_design, members in _latest:
        if of_design() is design:
            return members
    members = _found(design)
    _latest[:] = [(weakref.ref(design, lambda _: _latest.clear()), members)]
    return members


def _found(design: Design) -> Members:
    """Find the patterns of a design without known matrices, whose terms have shared positions.

    Two clusters have one if their rows agree, in some order, in all that the covariance is made of: positions, columns
    of the terms, columns of dispersion, and which rows have the same level.
    """
    found = clusters_of(design)
    rows = np.concatenate(found)
    cluster = np.repeat(np.arange(len(found)), [own.size for own in found])
    parts: list[Shaped[NumpyArray, "n _"]] = []
    for term in (*design.terms, *([] if design.residual is None else [design.residual])):
        parts += _attributes(design, term, rows, cluster)
    if design.dispersion is not None:
        parts.append(np.asarray(design.dispersion.columns)[rows])
    _, kind = np.unique(np.concatenate(parts, axis=1), axis=0, return_inverse=True)
    order = np.lexsort((kind.reshape(-1), cluster))
    edges = np.flatnonzero(np.diff(cluster)) + 1
    kinds = np.split(kind.reshape(-1)[order].astype(np.int64), edges)
    numbers: dict[bytes, int] = {}
    pattern = np.array([numbers.setdefault(own.tobytes(), len(numbers)) for own in kinds], np.int32)
    return Members(np.split(rows[order], edges), pattern)


def _attributes(
    design: Design, term: Term, rows: Int[NumpyArray, " n"], cluster: Int[NumpyArray, " n"]
) -> list[Shaped[NumpyArray, "n _"]]:
    """Return what a term's covariance reads of each row: the number of its level in the cluster, z, its position."""
    levels = np.asarray(design.groupings[term.grouping].codes)[rows].astype(np.int64)
    pairs, index = np.unique(np.stack([cluster, levels], axis=1), axis=0, return_inverse=True)
    first = np.searchsorted(pairs[:, 0], cluster)
    parts = [(index.reshape(-1) - first)[:, None], np.asarray(term.z)[rows]]
    if term.positions is not None:
        parts.append(np.asarray(term.positions)[rows][:, None])
    return parts
