"""Small real data sets for examples, with R's column names and level order."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd


def _read(name: str, factors: dict[str, tuple[str, ...]], ordered: tuple[str, ...] = ()) -> pd.DataFrame:
    with files("jaxlmm.datasets").joinpath(f"{name}.csv").open() as file:
        data = pd.read_csv(file, dtype=dict.fromkeys(factors, str))
    for column, levels in factors.items():
        labels = list(levels) or list(dict.fromkeys(data[column]))
        data[column] = pd.Categorical(data[column], categories=labels, ordered=column in ordered)
    return data


def sleepstudy() -> pd.DataFrame:
    """Reaction time (ms) of 18 subjects over ten days of sleep deprivation (Belenky et al. 2003), 180 rows.

    >>> sleepstudy().columns.tolist()
    ['Reaction', 'Days', 'Subject']
    """
    return _read("sleepstudy", {"Subject": ()})


def twins() -> pd.DataFrame:
    """Simulated twin study: 35 MZ and 90 DZ pairs, one row per twin, 250 rows.

    >>> twins()["twinstatus"].value_counts().to_dict()
    {'DZ': 180, 'MZ': 70}
    """
    return _read("twins", {})


def variants5() -> pd.DataFrame:
    """Five people in two families with a height and three genetic variants, all standardised.

    >>> variants5().shape
    (5, 6)
    """
    return _read("variants5", {})


def cake() -> pd.DataFrame:
    """Breaking angle of cakes by recipe and baking temperature in 15 replicates (Cochran and Cox 1957), 270 rows.

    >>> cake()["temperature"].cat.ordered
    True
    """
    temperatures = ("175", "185", "195", "205", "215", "225")
    return _read("cake", {"replicate": (), "recipe": ("A", "B", "C"), "temperature": temperatures}, ("temperature",))


def penicillin() -> pd.DataFrame:
    """Diameter (mm) of growth inhibition on 24 plates by six penicillin samples (Davies 1972), 144 rows.

    >>> penicillin()[["plate", "sample"]].nunique().to_dict()
    {'plate': 24, 'sample': 6}
    """
    return _read("penicillin", {"plate": (), "sample": ()})


def genotypes() -> pd.DataFrame:
    """Counts of the effect allele, 0 to 2, of 100 simulated people (index) at 500 variants (columns).

    >>> genotypes().shape
    (100, 500)
    """
    with files("jaxlmm.datasets").joinpath("genotypes.csv.gz").open("rb") as file:
        return pd.read_csv(file, index_col="id", compression="gzip")
