"""Kinship coefficients φ of a pedigree by recursion over generations (Lange 2002, section 5.2)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Bool, Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.genetics.pedigrees.pedigree import MALE, Pedigree, generations
from jaxlmm.model import linked

MIN_DENSE_FAMILY, MAX_DENSE_FAMILY = 300, 6_000
"""Individuals: a family of more than the first and at most the second number is computed alone, as a dense array, since
many generations in one family fill its matrix, and a sparse one is copied in each generation. All others are computed
together, as a sparse matrix."""


class _Sorted(NamedTuple):
    """Individuals by generation: the index after the last of each, indices of parents (-1: unknown), who is haploid."""

    ends: Int[NumpyArray, " generations"]
    father: Int[NumpyArray, " n"]
    mother: Int[NumpyArray, " n"]
    haploid: Bool[NumpyArray, " n"]


def coefficients(people: Pedigree, on_x: bool) -> Float[scipy.sparse.csr_array, "n n"]:
    """Return the kinship coefficients of individuals in the order of the pedigree.

    With ``on_x`` they are those of the X chromosome, for which males are haploid.

    Raises
    ------
    KinshipError
        If an individual is its own ancestor.
    """
    depth = generations(people)
    n = depth.size
    haploid = on_x & (people.sex == MALE)
    family = _families(people.father, people.mother)
    size = np.bincount(family)[family]
    alone = (size > MIN_DENSE_FAMILY) & (size <= MAX_DENSE_FAMILY)
    parts = [np.flatnonzero(family == number) for number in pd.unique(family[alone])]
    groups = [(_dense, members) for members in parts] + [(_sparse, np.flatnonzero(~alone))]
    blocks, orders = [], []
    for compute, members in groups:
        order = members[np.argsort(depth[members], kind="stable")]
        index = np.full(n + 1, -1)  # the last entry is that of an unknown parent
        index[order] = np.arange(order.size)
        ends = np.cumsum(np.bincount(depth[order])) if order.size else np.zeros(1, np.int64)
        blocks.append(compute(_Sorted(ends, index[people.father[order]], index[people.mother[order]], haploid[order])))
        orders.append(order)
    index = np.empty(n, np.int64)
    index[np.concatenate(orders)] = np.arange(n)
    phi = scipy.sparse.csr_array(scipy.sparse.block_diag(blocks, format="csr"))
    return scipy.sparse.csr_array(phi[index][:, index])


def _families(father: Int[NumpyArray, " n"], mother: Int[NumpyArray, " n"]) -> Int[NumpyArray, " n"]:
    """Return the number of each individual's family, a connected component of the graph of parents and children."""
    child = np.r_[np.flatnonzero(father >= 0), np.flatnonzero(mother >= 0)]
    parent = np.r_[father[father >= 0], mother[mother >= 0]]
    return linked(father.size, child, parent)


def _dense(people: _Sorted) -> Float[NumpyArray, "n n"]:
    """Return the array of φᵢⱼ = ½ (φ of father and j + φ of mother and j), φᵢᵢ = ½ (1 + φ of father and mother).

    A haploid individual has the φ of its mother, and φᵢᵢ = 1.
    """
    n = people.father.size
    phi = np.zeros((n + 1, n + 1))  # the last row is that of an unknown parent
    first = np.arange(people.ends[0])
    phi[first, first] = np.where(people.haploid[first], 1.0, 0.5)
    for before, after in itertools.pairwise(people.ends):
        new = np.arange(before, after)
        father, mother, single = people.father[new], people.mother[new], people.haploid[new]
        from_father, from_mother = np.where(single, 0.0, 0.5)[:, None], np.where(single, 1.0, 0.5)[:, None]
        phi[new, :before] = from_father * phi[father, :before] + from_mother * phi[mother, :before]
        phi[:before, new] = phi[new, :before].T
        phi[new, before:after] = from_father * phi[father, before:after] + from_mother * phi[mother, before:after]
        phi[new, new] = np.where(single, 1.0, 0.5 * (1 + phi[father, mother]))
    return phi[:n, :n]


def _sparse(people: _Sorted) -> Float[scipy.sparse.csr_array, "n n"]:
    """Return the same coefficients as a sparse matrix, which grows by the individuals of each generation."""
    first = people.haploid[: people.ends[0]]
    phi = scipy.sparse.csr_array(scipy.sparse.diags_array(np.where(first, 1.0, 0.5)))
    for before, after in itertools.pairwise(people.ends):
        single = people.haploid[before:after]
        fathers, mothers = (_rows_of(parents[before:after], before) for parents in (people.father, people.mother))
        own = np.where(single, 1.0, 0.5 * (1 + (fathers @ phi).multiply(mothers).sum(axis=1)))
        from_father, from_mother = np.where(single, 0.0, 0.5), np.where(single, 1.0, 0.5)
        passed = scipy.sparse.diags_array(from_father) @ fathers + scipy.sparse.diags_array(from_mother) @ mothers
        to_older = passed @ phi
        to_same = to_older @ passed.T
        to_same = to_same + scipy.sparse.diags_array(own - to_same.diagonal())
        phi = scipy.sparse.csr_array(scipy.sparse.block_array([[phi, to_older.T], [to_older, to_same]]))
    return phi


def _rows_of(parents: Int[NumpyArray, " k"], before: int | np.integer) -> Float[scipy.sparse.csr_array, "k before"]:
    """Return the matrix that selects each parent among the ``before`` individuals of earlier generations.

    Its row is zero where the parent is unknown.
    """
    known = np.flatnonzero(parents >= 0)
    return scipy.sparse.csr_array(
        scipy.sparse.coo_array((np.ones(known.size), (known, parents[known])), shape=(parents.size, before))
    )
