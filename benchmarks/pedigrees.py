"""Kinship coefficients of pedigrees: many families, nuclear ones, one deep inbred family; beside kinship2 if R has it.

Run ``python benchmarks/pedigrees.py [SCALE]``; 1 is 28,116 people in 426 families. The median and range of three runs
on a quiet machine go to ``benchmarks/results/pedigrees.json``. kinship2 is given the same table, once.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import jaxlmm as lmm

KINSHIP2 = """
suppressMessages(library(kinship2)); d <- read.csv(commandArgs(TRUE)[1])
p <- pedigree(d$id, d$father, d$mother, d$sex, famid = d$family, missid = 0)
cat(system.time(k <- kinship(p))["elapsed"])
"""


def families(count: int, size: int, founders: int, seed: int = 1) -> pd.DataFrame:
    """Draw families in which each child has parents among the 30 who were born before."""
    rng = np.random.default_rng(seed)
    tables = []
    for family in range(count):
        sex = rng.integers(1, 3, size)
        sex[:2] = 1, 2
        parents = np.zeros((2, size), int)
        for child in range(founders, size):
            first = max(0, child - 30)
            for role in range(2):
                earlier = first + np.flatnonzero(sex[first:child] == role + 1)
                parents[role, child] = (rng.choice(earlier) if earlier.size else role) + 1
        offset = family * size
        known = np.where(parents > 0, parents + offset, 0)
        columns = {"id": np.arange(1, size + 1) + offset, "father": known[0], "mother": known[1], "sex": sex}
        tables.append(pd.DataFrame({"family": family, **columns}))
    return pd.concat(tables, ignore_index=True)


def nuclear(count: int) -> pd.DataFrame:
    """Two parents and two children each."""
    place = np.arange(4 * count)
    child = place % 4 > 1
    first = place - place % 4 + 1
    columns = {"father": np.where(child, first, 0), "mother": np.where(child, first + 1, 0), "sex": place % 2 + 1}
    return pd.DataFrame({"family": place // 4, "id": place + 1, **columns})


def kinship2(table: pd.DataFrame) -> float | None:
    """Return the seconds that kinship2 takes, or None if it is not there."""
    with tempfile.TemporaryDirectory() as folder:
        file, script = Path(folder) / "pedigree.csv", Path(folder) / "kinship2.R"
        table.to_csv(file, index=False)
        script.write_text(KINSHIP2)
        try:
            done = subprocess.run(["Rscript", script, file], capture_output=True, text=True, timeout=3600)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
    return float(done.stdout) if done.returncode == 0 else None


def main(scale: float) -> None:
    cases = {
        "families of 66": families(max(1, round(426 * scale)), 66, founders=20),
        "nuclear families": nuclear(max(1, round(20_000 * scale))),
        "one deep family": families(1, max(60, round(5_000 * scale)), founders=50),
    }
    rows = []
    for name, table in cases.items():
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            found = lmm.genetics.kinship(table)
            seconds.append(time.perf_counter() - start)
        row = {"case": name, "individuals": len(found), "entries": int(found.matrix.nnz)}
        row |= {"seconds": statistics.median(seconds), "range": [min(seconds), max(seconds)]}
        rows.append({**row, "kinship2": kinship2(table)})
        print(rows[-1], flush=True)
    if scale == 1.0:
        results = {"python": platform.python_version(), "cores": os.cpu_count(), "cases": rows}
        out = Path(__file__).parent / "results" / "pedigrees.json"
        out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 1.0)
