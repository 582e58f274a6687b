"""Read a pedigree from a table and check it: ids, parents, sexes, no cycle."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from jaxlmm._util import NumpyArray, as_frame, as_table
from jaxlmm.errors import KinshipError, nearest
from jaxlmm.genetics.ids import alike, as_labels, find, label_texts, quoted

UNKNOWN_IDS = ("", "0", ".", "NA")
"""Ids of an unknown parent, beside missing values and the number 0; no individual may have such an id."""

MALE, FEMALE, UNKNOWN_SEX = 1, 2, 0
WORDS_OF_SEXES = {
    MALE: ("1", "m", "male"),
    FEMALE: ("2", "f", "female"),
    UNKNOWN_SEX: ("0", "3", "4", "u", "unknown", "terminated", *(word.lower() for word in UNKNOWN_IDS)),
}
"""Codes and words for each sex, in any case: those of kinship2 and PLINK."""


class Pedigree(NamedTuple):
    """Labels of individuals, indices of their fathers and mothers (-1: unknown), and codes of their sexes.

    ``keys`` identify an individual as the table's columns do: by id, or by family and id.
    """

    labels: pd.Index
    keys: pd.Index
    father: Int[NumpyArray, " n"]
    mother: Int[NumpyArray, " n"]
    sex: Int[NumpyArray, " n"]


def read_pedigree(
    table: Any, *, id: str, father: str, mother: str, sex: str | None, family: str | None, needs_sex: bool
) -> Pedigree:
    """Read and check a table with a row for each individual; the parameters name its columns.

    Raises
    ------
    KinshipError
        If a column is not there, an id is missing or twice, a parent is not in the pedigree, is of the wrong sex, or is
        the child itself.
    """
    table = as_table(table, "pedigree")
    present = list(table.columns)
    if sex == "sex" and sex not in present and not needs_sex:
        sex = None  # the default name; nothing but a check depends on it
    for role, name in (("id", id), ("father", father), ("mother", mother), ("sex", sex), ("family", family)):
        if (name is not None or (role == "sex" and needs_sex)) and present.count(name) != 1:
            hint = f"name it by {role}=; {nearest(str(name), present)}"
            raise KinshipError(
                f"pedigree: expected one column {name!r} ({role}), got {present.count(name) or 'none'}; {hint}."
            )
    names = [name for name in (id, father, mother, sex, family) if name is not None]
    frame = as_frame(table, list(dict.fromkeys(names))).reset_index(drop=True)
    ids = as_labels(frame[id], f"pedigree, column {id}", unique=False)
    _check_ids(ids, id)
    families = None if family is None else as_labels(frame[family], f"pedigree, column {family}", unique=False)
    keys, labels = _keys(ids, families)
    _check_unique(labels, family)
    fathers = _parents(frame[father], father, ids, families, keys, labels)
    mothers = _parents(frame[mother], mother, ids, families, keys, labels)
    sexes = np.zeros(len(labels), np.int8) if sex is None else _sexes(frame[sex], labels, sex)
    people = Pedigree(labels, keys, fathers, mothers, sexes)
    return _with_roles(people, sex is not None or needs_sex)


def is_unknown(column: pd.Series) -> Bool[NumpyArray, " n"]:
    """Return which entries are missing or one of the ids of an unknown parent."""
    words = ["" if word is None else word.strip() for word in label_texts(column)]
    return np.asarray(column.isna().to_numpy() | np.isin(words, UNKNOWN_IDS), bool)


def find_by_key(ids: pd.Index, families: pd.Index | None, keys: pd.Index) -> Int[NumpyArray, " k"]:
    """Return the indices of individuals among the keys of a pedigree, -1 for those who are not there."""
    if families is None:
        return find(ids, keys)
    return np.asarray(keys.get_indexer(_by_family(families, ids)))


def _by_family(families: pd.Index, ids: pd.Index) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([label_texts(families), label_texts(ids)])


def _check_ids(ids: pd.Index, name: str) -> None:
    unknown = np.flatnonzero(is_unknown(pd.Series(ids)))
    if unknown.size:
        raise KinshipError(
            f"pedigree, column {name}: expected another id than {quoted(ids[unknown[0]])} (row {unknown[0]}), which "
            "stands for a parent who is not known; rename this individual, or drop the row."
        )


def _keys(ids: pd.Index, families: pd.Index | None) -> tuple[pd.Index, pd.Index]:
    """Return keys of individuals, and their labels: the ids, or ``family:id`` where ids repeat."""
    if families is None:
        return ids, ids
    keys = _by_family(families, ids)
    return keys, pd.Index([f"{group}:{label}" for group, label in keys]) if ids.has_duplicates else ids


def _check_unique(labels: pd.Index, family: str | None) -> None:
    if not labels.has_duplicates:
        return
    twice = labels[labels.duplicated()]
    rows = np.flatnonzero(labels == twice[0])
    within = "; if ids are unique within families alone, name their column (family=)" if family is None else ""
    raise KinshipError(
        f"pedigree: expected each individual once, got {quoted(twice[0])} in rows {', '.join(map(str, rows[:5]))} "
        f"({twice.nunique()} such ids). Drop repeated rows, such as those of repeated measurements{within}."
    )


def _parents(
    column: pd.Series, name: str, ids: pd.Index, families: pd.Index | None, keys: pd.Index, labels: pd.Index
) -> Int[NumpyArray, " n"]:
    """Return the index of each individual's parent, -1 where the parent is not known."""
    indices = np.full(len(labels), -1)
    known = np.flatnonzero(~is_unknown(column))
    if not known.size:
        return indices
    parents = as_labels(column.iloc[known], f"pedigree, column {name}", unique=False)
    indices[known] = find_by_key(parents, None if families is None else families[known], keys)
    absent = np.flatnonzero(indices[known] < 0)
    if absent.size:
        parent, child = parents[absent[0]], known[absent[0]]
        elsewhere = np.flatnonzero(label_texts(ids) == str(parent))
        if families is not None and elsewhere.size:
            home = quoted(families[elsewhere[0]])
            hint = f"It is in family {home}: correct the family, or leave family= out if ids are unique without it."
        else:
            hint = "Add a row for each, without father and mother, or write 0 for parents who are not known."
            hint += alike(parent, ids)
        more = parents[absent].nunique() - 1
        raise KinshipError(
            f"pedigree, column {name}: expected a row for each parent, got none for {quoted(parent)}, {name} of "
            f"{quoted(labels[child])}{f', and {more} more' if more else ''}. {hint}"
        )
    own = np.flatnonzero(indices == np.arange(len(labels)))
    if own.size:
        raise KinshipError(f"pedigree: {quoted(labels[own[0]])} is given as {name} of itself; correct the row.")
    return indices


def _sexes(column: pd.Series, labels: pd.Index, name: str) -> Int[NumpyArray, " n"]:
    codes = {word: code for code, words in WORDS_OF_SEXES.items() for word in words}
    values = column.astype(object).where(column.notna(), "")
    words = values.map(lambda value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    sexes = words.str.strip().str.lower().map(codes)
    wrong = np.flatnonzero(sexes.isna())
    if wrong.size:
        raise KinshipError(
            f"pedigree, column {name}: expected 1, M or male; 2, F or female; 0, 3 or nothing if unknown; got "
            f"{quoted(values.iloc[wrong[0]])} for {quoted(labels[wrong[0]])}."
        )
    return sexes.to_numpy(np.int8)


def _with_roles(people: Pedigree, has_sex: bool) -> Pedigree:
    """Check parents' sexes, and set an unknown sex to that of the parent's role.

    Without a column of sexes one may be father and mother, as a plant that fertilises itself.
    """
    sex = people.sex.copy()
    roles = (("father", people.father, MALE, "female"), ("mother", people.mother, FEMALE, "male"))
    for role, parents, expected, other in roles:
        known = parents >= 0
        wrong = np.flatnonzero(known & (people.sex[parents] == 3 - expected))
        if wrong.size:
            parent = people.labels[parents[wrong[0]]]
            raise KinshipError(
                f"pedigree: {quoted(parent)} is {other} and the {role} of {quoted(people.labels[wrong[0]])}; correct "
                "one of both (sex is 1 or M for males, 2 or F for females)."
            )
        clash = np.flatnonzero(known & (sex[parents] == 3 - expected))
        if clash.size and has_sex:
            raise KinshipError(
                f"pedigree: {quoted(people.labels[parents[clash[0]]])} is a father and a mother (of "
                f"{quoted(people.labels[clash[0]])}); correct one of both."
            )
        sex[parents[known]] = expected
    return people._replace(sex=sex)


def generations(people: Pedigree) -> Int[NumpyArray, " n"]:
    """Return the generation of each individual: 0 for founders, else one more than the later of its parents'.

    Raises
    ------
    KinshipError
        If somebody is an ancestor of itself.
    """
    n = len(people.father)
    parents = np.stack([people.father, people.mother])
    depth = np.full(n + 1, -1)  # the last entry is that of an unknown parent
    depth[n] = 0
    waiting, generation = np.arange(n), 0
    while waiting.size:
        ready = (depth[parents[:, waiting]] >= 0).all(axis=0)
        if not ready.any():
            cycle = _cycle(parents, waiting)
            raise KinshipError(
                f"pedigree: {quoted(people.labels[cycle[0]])} is an ancestor of itself: "
                f"{_chain(people.labels[cycle])}. Correct the father or mother of one of them."
            )
        depth[waiting[ready]] = generation
        waiting, generation = waiting[~ready], generation + 1
    return depth[:n]


def _cycle(parents: Int[NumpyArray, "2 n"], waiting: Int[NumpyArray, " _"]) -> list[int]:
    """Return a cycle of individuals: each is a child of the next, the last of the first."""
    left, path = set(waiting.tolist()), [int(waiting[0])]
    while path[-1] not in path[:-1]:
        path.append(next(int(parent) for parent in parents[:, path[-1]] if int(parent) in left))
    return path[path.index(path[-1]) : -1]


def _chain(labels: pd.Index) -> str:
    words = [quoted(label) for label in labels]
    return " is a child of ".join([*words[:8], *(["…"] if words[8:] else []), words[0]])
