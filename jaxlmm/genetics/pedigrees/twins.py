"""Twins in a pedigree: identical ones share a genome, all of them share parents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import KinshipError, nearest
from jaxlmm.genetics.ids import as_labels, quoted
from jaxlmm.genetics.pedigrees.pedigree import FEMALE, MALE, Pedigree, find_by_key
from jaxlmm.model import linked

WORDS_OF_RELATIONS = {
    1: ("1", "mz", "mz twin", "monozygotic"),
    2: ("2", "dz", "dz twin", "dizygotic"),
    3: ("3", "uz", "uz twin", "unknown"),
    4: ("4", "spouse"),
}
"""Codes and words for each relation, in any case, as in kinship2."""

IDENTICAL, DIZYGOTIC, SPOUSE = 1, 2, 4


def with_twins(people: Pedigree, relations: Any, family: str | None) -> tuple[Pedigree, Int[NumpyArray, " n"]]:
    """Return the pedigree of distinct genomes, and the genome of each individual.

    Identical twins are one genome. Twins of any kind have the same parents: for each unknown parent a founder is
    added behind the individuals.

    Raises
    ------
    KinshipError
        If a relation is not understood, an individual not there, or twins differ in their parents or identical ones in
        sex.
    """
    n = len(people.labels)
    one, two, code = _read(people, relations, family)
    twins, identical = code != SPOUSE, code == IDENTICAL
    _check_alike(people, one[twins], two[twins], "twins have the same father", people.father)
    _check_alike(people, one[twins], two[twins], "twins have the same mother", people.mother)
    known = identical & (people.sex[one] > 0) & (people.sex[two] > 0)
    _check_alike(people, one[known], two[known], "identical twins have the same sex", people.sex)
    people = _shared_parents(people, one[twins], two[twins])
    genome = linked(len(people.father), one[identical], two[identical])
    contrary = np.flatnonzero((code == DIZYGOTIC) & (genome[one] == genome[two]))
    if contrary.size:
        pair = " and ".join(quoted(people.labels[twin[contrary[0]]]) for twin in (one, two))
        raise KinshipError(f"relations: {pair} are dizygotic in one row and identical by others; remove what is wrong.")
    _, representative = np.unique(genome, return_index=True)
    sex = np.zeros(representative.size, people.sex.dtype)
    np.maximum.at(sex, genome, people.sex)  # a twin of unknown sex has that of the other
    father, mother = (
        np.where(parents < 0, -1, genome[parents])[representative] for parents in (people.father, people.mother)
    )
    return Pedigree(people.labels[representative], people.keys, father, mother, sex), genome[:n]


def _check_alike(
    people: Pedigree, one: Int[NumpyArray, " r"], two: Int[NumpyArray, " r"], rule: str, values: Int[NumpyArray, " n"]
) -> None:
    unlike = np.flatnonzero(values[one] != values[two])
    if unlike.size:
        first, second = (quoted(people.labels[twin[unlike[0]]]) for twin in (one, two))
        raise KinshipError(f"relations: {rule}, but {first} and {second} differ; correct the pedigree or the relation.")


def _read(
    people: Pedigree, relations: Any, family: str | None
) -> tuple[Int[NumpyArray, " r"], Int[NumpyArray, " r"], Int[NumpyArray, " r"]]:
    """Return the indices of both individuals of each relation, and its code."""
    none = np.zeros(0, np.int64)
    if isinstance(relations, pd.DataFrame) and relations.empty:
        return none, none, none
    table = as_table(relations, "relations")
    by_family = isinstance(people.keys, pd.MultiIndex)
    names = ["id1", "id2", "code"]
    if by_family and not (family not in table.columns and people.keys.get_level_values(1).is_unique):
        names.append(str(family))
    for name in names:
        if name not in table.columns:
            raise KinshipError(f"relations: expected a column {name!r}; {nearest(name, table.columns)}.")
    frame = as_frame(table, names).reset_index(drop=True)
    keys = people.keys
    if by_family and len(names) == 3:
        keys = keys.get_level_values(1)
    families = as_labels(frame[names[3]], "relations, family", unique=False) if len(names) == 4 else None
    one, two = (_individuals(frame[name], name, families, keys) for name in names[:2])
    same = np.flatnonzero(one == two)
    if same.size:
        raise KinshipError(
            f"relations: {quoted(people.labels[one[same[0]]])} is given as its own twin; remove the row."
        )
    return one, two, _codes(frame["code"])


def _individuals(column: pd.Series, name: str, families: pd.Index | None, keys: pd.Index) -> Int[NumpyArray, " r"]:
    ids = as_labels(column, f"relations, column {name}", unique=False)
    indices = find_by_key(ids, families, keys)
    absent = np.flatnonzero(indices < 0)
    if absent.size:
        of = f" of family {quoted(families[absent[0]])}" if families is not None else ""
        raise KinshipError(
            f"relations, column {name}: {absent.size} ids are not in the pedigree, the first is "
            f"{quoted(ids[absent[0]])}{of}."
        )
    return indices


def _codes(column: pd.Series) -> Int[NumpyArray, " r"]:
    code_of = {word: code for code, words in WORDS_OF_RELATIONS.items() for word in words}
    words = column.map(lambda value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    codes = words.str.strip().str.lower().map(code_of)
    wrong = np.flatnonzero(codes.isna())
    if wrong.size:
        raise KinshipError(
            f"relations, column code: expected 1 or MZ, 2 or DZ, 3 or UZ (twins of unknown zygosity), 4 or spouse; got "
            f"{quoted(column.iloc[wrong[0]])} in row {wrong[0]}."
        )
    return codes.to_numpy(np.int64)


def _shared_parents(people: Pedigree, one: Int[NumpyArray, " r"], two: Int[NumpyArray, " r"]) -> Pedigree:
    """Add one founder as the common parent of twins for each unknown father or mother."""
    n = len(people.father)
    sets = linked(n, one, two)
    is_twin = np.bincount(sets)[sets] > 1
    parents_by_role, sexes = {}, [people.sex]
    for name, sex in (("father", MALE), ("mother", FEMALE)):
        parents = getattr(people, name).copy()
        orphans = np.flatnonzero(is_twin & (parents < 0))
        orphaned_sets, inverse = np.unique(sets[orphans], return_inverse=True)
        parents[orphans] = sum(map(len, sexes)) + inverse
        parents_by_role[name] = parents
        sexes.append(np.full(orphaned_sets.size, sex, people.sex.dtype))
    total = sum(map(len, sexes))
    founders = np.full(total - n, -1)
    labels = people.labels.append(pd.Index([f"parent of twins {number}" for number in range(total - n)]))
    both = {name: np.r_[parents, founders] for name, parents in parents_by_role.items()}
    return Pedigree(labels, people.keys, **both, sex=np.concatenate(sexes))
