"""Pedigrees drawn at random, with twins, and their kinship by a plain recursion."""

import functools
import io
import itertools

import numpy as np
import pandas as pd

EXACT = 1e-12
"""Coefficients are sums of powers of 1/2, exact in binary until a pedigree has dozens of generations."""


def same(found, expected):
    """The same numbers; ``pytest.approx`` takes half a minute for a thousand rows."""
    assert found.shape == np.shape(expected)
    assert np.abs(found - expected).max() <= EXACT


def people(text, **options):
    return pd.read_csv(io.StringIO(text), **options)


NUCLEAR = people("id,father,mother,sex\n1,0,0,1\n2,0,0,2\n3,1,2,1\n4,1,2,1\n5,1,2,2\n6,1,0,2\n")
"""Two founders, three children (3 and 4 may be twins), and a half-sibling of whom the mother is not known."""


def plain(table, relations=(), on_x=False):
    """Return kinship coefficients (n, n) by the textbook recursion, one pair at a time; ids are 1 to n."""
    n = len(table)
    father, mother, sex = (dict(zip(table["id"], table[name], strict=True)) for name in ("father", "mother", "sex"))
    same = {person: person for person in table["id"]}
    hidden = {}
    for one, two, code in relations:
        if code == 1:
            old, new = same[two], same[one]
            same = {person: new if of == old else of for person, of in same.items()}
        else:
            for role, parents in (("father", father), ("mother", mother)):
                if not parents[one]:
                    stranger = hidden.setdefault((role, one), n + len(hidden) + 1)
                    parents[one] = parents[two] = stranger
                    father[stranger] = mother[stranger] = 0
                    sex[stranger] = 1 if role == "father" else 2
                    same[stranger] = stranger

    @functools.cache
    def depth(person):
        return 0 if not person else 1 + max(depth(father[person]), depth(mother[person]))

    @functools.cache
    def phi(a, b):
        a, b = same.get(a, 0), same.get(b, 0)
        if not a or not b:
            return 0.0
        if a == b:
            return 1.0 if on_x and sex[a] == 1 else 0.5 * (1 + phi(father[a], mother[a]))
        if depth(a) < depth(b):
            a, b = b, a
        if on_x and sex[a] == 1:
            return phi(mother[a], b)
        return 0.5 * (phi(father[a], b) + phi(mother[a], b))

    return np.array([[phi(a, b) for b in table["id"]] for a in table["id"]])


def random_pedigree(seed, n=40, families=1, founders=5):
    """Draw families with much inbreeding, and children of whom one parent or both are not known."""
    rng = np.random.default_rng(seed)
    tables = []
    for family in range(families):
        sex = rng.integers(1, 3, n)
        sex[:2] = 1, 2
        parents = np.zeros((2, n), int)
        for child, role in itertools.product(range(founders, n), range(2)):
            earlier = np.flatnonzero(sex[max(0, child - 15) : child] == role + 1) + max(0, child - 15)
            if earlier.size and rng.random() < 0.9:
                parents[role, child] = rng.choice(earlier) + 1
        tables.append(
            {"family": family, "id": np.arange(1, n + 1), "father": parents[0], "mother": parents[1], "sex": sex}
        )
    return pd.concat([pd.DataFrame(table) for table in tables], ignore_index=True)


def with_twins(table):
    """Add identical twins and a pair of unknown parents, a pair with one parent known, identical triplets, children."""
    n, last = len(table), table.iloc[-1]
    table = table[["id", "father", "mother", "sex"]].replace({"mother": {3: 0}})
    table["sex"] = table["sex"].where(~table["id"].isin([3, n]), 1)  # one becomes a father, the other one of triplets
    like_last = (last["father"], last["mother"], 1)
    rows = [
        (n + 1, 0, 0, 2), (n + 2, 0, 0, 2),
        (n + 3, 0, 0, 1), (n + 4, 0, 0, 2),
        (n + 5, 3, 0, 1), (n + 6, 3, 0, 2),
        (n + 7, *like_last), (n + 8, *like_last),
        (n + 9, n + 5, n + 1, 1), (n + 10, n + 5, n + 2, 2), (n + 11, n + 3, n + 4, 2), (n + 12, n + 8, n + 1, 1),
    ]  # fmt: skip
    twins = [(n + 1, n + 2, 1), (n + 3, n + 4, 2), (n + 5, n + 6, 3), (n, n + 7, 1), (n + 7, n + 8, 1)]
    return pd.concat([table, pd.DataFrame(rows, columns=table.columns)], ignore_index=True), twins


def as_frame(relations):
    return pd.DataFrame(relations, columns=["id1", "id2", "code"])
