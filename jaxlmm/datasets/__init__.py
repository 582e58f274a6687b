"""Small real data sets for examples, with R's column names and level order."""

from __future__ import annotations

import gzip
import io
from importlib.resources import files

import pandas as pd


def _read(file: str, factors: dict[str, tuple[str, ...]], ordered: tuple[str, ...] = ()) -> pd.DataFrame:
    packed = files("jaxlmm.datasets").joinpath(file).read_bytes()
    text = gzip.decompress(packed) if file.endswith(".gz") else packed
    data = pd.read_csv(io.BytesIO(text), dtype=dict.fromkeys(factors, str))
    for column, levels in factors.items():
        labels = list(levels) or list(dict.fromkeys(data[column]))
        data[column] = pd.Categorical(data[column], categories=labels, ordered=column in ordered)
    return data


def sleepstudy() -> pd.DataFrame:
    """Reaction time (ms) of 18 subjects over ten days of sleep deprivation (Belenky et al. 2003), 180 rows.

    >>> sleepstudy().columns.tolist()
    ['Reaction', 'Days', 'Subject']
    """
    return _read("sleepstudy.csv", {"Subject": ()})


def twins() -> pd.DataFrame:
    """Simulated twin study: 35 MZ and 90 DZ pairs, one row per twin, 250 rows.

    >>> twins()["twinstatus"].value_counts().to_dict()
    {'DZ': 180, 'MZ': 70}
    """
    return _read("twins.csv", {})


def variants5() -> pd.DataFrame:
    """Five people in two families with a height and three genetic variants, all standardized.

    >>> variants5().shape
    (5, 6)
    """
    return _read("variants5.csv", {})


def cake() -> pd.DataFrame:
    """Breaking angle of cakes by recipe and baking temperature in 15 replicates (Cochran and Cox 1957), 270 rows.

    >>> cake()["temperature"].cat.ordered
    True
    """
    temperatures = ("175", "185", "195", "205", "215", "225")
    return _read(
        "cake.csv", {"replicate": (), "recipe": ("A", "B", "C"), "temperature": temperatures}, ("temperature",)
    )


def penicillin() -> pd.DataFrame:
    """Diameter (mm) of growth inhibition on 24 plates by six penicillin samples (Davies 1972), 144 rows.

    >>> penicillin()[["plate", "sample"]].nunique().to_dict()
    {'plate': 24, 'sample': 6}
    """
    return _read("penicillin.csv", {"plate": (), "sample": ()})


def ergostool() -> pd.DataFrame:
    """Effort (Borg scale) to rise from four types of stool, by nine subjects (Wretenberg et al. 1993), 36 rows.

    >>> ergostool()["Type"].cat.categories.tolist()
    ['T1', 'T2', 'T3', 'T4']
    """
    subjects = tuple(str(number) for number in range(1, 10))
    return _read("ergostool.csv", {"Type": ("T1", "T2", "T3", "T4"), "Subject": subjects})


def eortc() -> pd.DataFrame:
    """A trial of a treatment in 37 centers, simulated after one of the EORTC on breast cancer (coxme), 2,323 rows.

    >>> eortc().columns.tolist()
    ['y', 'uncens', 'center', 'trt']
    """
    return _read("eortc.csv.gz", {})


def gaw() -> pd.DataFrame:
    """Simulated pedigrees of the Genetic Analysis Workshop 10 (from coxme): 1,497 people in 23 families.

    ``father`` and ``mother`` are 0 for founders; ``age`` and the traits ``q1`` … ``q5`` are known for 1,000 people.

    >>> data = gaw()
    >>> data["famid"].nunique(), int(data["age"].notna().sum())
    (23, 1000)
    """
    return _read("gaw.csv.gz", {})


def genotypes() -> pd.DataFrame:
    """Counts of the effect allele, 0 to 2, of 100 simulated people (index) at 500 variants (columns).

    >>> genotypes().shape
    (100, 500)
    """
    return _read("genotypes.csv.gz", {}).set_index("id")
