"""Kinship coefficients, generation by generation, from those of the parents."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from jaxlmm._util import NumpyArray
from jaxlmm.genetics.pedigrees.pedigree import MALE, Pedigree, generations
from jaxlmm.model import linked

FEW, MANY = 300, 6_000
"""Families of a size between these are computed each as a dense array: many generations in one family fill its matrix,
and a sparse one is copied in each generation. Smaller families are computed all at once, larger ones may be sparse."""


class _Line(NamedTuple):
    """Individuals in generation order: ``ends`` of the generations, parents' places or -1, who has one allele."""

    ends: NumpyArray
    father: NumpyArray
    mother: NumpyArray
    haploid: NumpyArray


def coefficients(people: Pedigree, on_x: bool) -> sparse.csr_array:
    """Return the kinship coefficients (n, n) of individuals in the order of the pedigree.

    Raises
    ------
    KinshipError
        If somebody is an ancestor of itself.
    """
    depth = generations(people)
    n = depth.size
    haploid = on_x & (people.sex == MALE)
    family = _families(people.father, people.mother)
    size = np.bincount(family)[family]
    alone = (size > FEW) & (size <= MANY)
    parts = [np.flatnonzero(family == number) for number in pd.unique(family[alone])]
    lines = [(_dense, members) for members in parts] + [(_sparse, np.flatnonzero(~alone))]
    found, orders = [], []
    for compute, members in lines:
        order = members[np.argsort(depth[members], kind="stable")]
        place = np.full(n + 1, -1)  # the last is that of a parent who is not known
        place[order] = np.arange(order.size)
        ends = np.cumsum(np.bincount(depth[order])) if order.size else np.zeros(1, np.int64)
        line = _Line(ends, place[people.father[order]], place[people.mother[order]], haploid[order])
        found.append(compute(line))
        orders.append(order)
    place = np.empty(n, np.int64)
    place[np.concatenate(orders)] = np.arange(n)
    phi = sparse.csr_array(sparse.block_diag(found, format="csr"))
    return sparse.csr_array(phi[place][:, place])


def _families(father: NumpyArray, mother: NumpyArray) -> NumpyArray:
    """Return the number (n,) of the family of each individual: of all with whom parents and children connect it."""
    child = np.r_[np.flatnonzero(father >= 0), np.flatnonzero(mother >= 0)]
    parent = np.r_[father[father >= 0], mother[mother >= 0]]
    return linked(father.size, child, parent)


def _dense(line: _Line) -> NumpyArray:
    n = line.father.size
    phi = np.zeros((n + 1, n + 1))  # the last row is that of a parent who is not known
    first = np.arange(line.ends[0])
    phi[first, first] = np.where(line.haploid[first], 1.0, 0.5)
    for before, after in itertools.pairwise(line.ends):
        new = np.arange(before, after)
        father, mother, single = line.father[new], line.mother[new], line.haploid[new]
        from_father, from_mother = np.where(single, 0.0, 0.5)[:, None], np.where(single, 1.0, 0.5)[:, None]
        phi[new, :before] = from_father * phi[father, :before] + from_mother * phi[mother, :before]
        phi[:before, new] = phi[new, :before].T
        phi[new, before:after] = from_father * phi[father, before:after] + from_mother * phi[mother, before:after]
        phi[new, new] = np.where(single, 1.0, 0.5 * (1 + phi[father, mother]))
    return phi[:n, :n]


def _sparse(line: _Line) -> sparse.csr_array:
    first = line.haploid[: line.ends[0]]
    phi = sparse.csr_array(sparse.diags_array(np.where(first, 1.0, 0.5)))
    for before, after in itertools.pairwise(line.ends):
        single = line.haploid[before:after]
        fathers, mothers = (_rows_of(parents[before:after], before) for parents in (line.father, line.mother))
        own = np.where(single, 1.0, 0.5 * (1 + (fathers @ phi).multiply(mothers).sum(axis=1)))
        from_father, from_mother = np.where(single, 0.0, 0.5), np.where(single, 1.0, 0.5)
        passed = sparse.diags_array(from_father) @ fathers + sparse.diags_array(from_mother) @ mothers
        to_older = passed @ phi
        to_same = to_older @ passed.T
        to_same = to_same + sparse.diags_array(own - to_same.diagonal())
        phi = sparse.csr_array(sparse.block_array([[phi, to_older.T], [to_older, to_same]]))
    return phi


def _rows_of(parents: NumpyArray, before: int) -> sparse.csr_array:
    """Return the matrix (k, before) that takes the row of each parent, and zeros where there is none."""
    known = np.flatnonzero(parents >= 0)
    return sparse.csr_array(
        sparse.coo_array((np.ones(known.size), (known, parents[known])), shape=(parents.size, before))
    )
