"""A study of 40 samples and 12 markers; the names of files in a folder."""

import numpy as np
import pandas as pd

import jaxlmm as lmm

FORMULA = "Reaction ~ Days + (1 | Subject)"


def small_study():
    """40 samples, 12 markers, one of which is monomorphic."""
    table = lmm.datasets.genotypes().iloc[:40, :12].copy()
    table.iloc[:, 4] = 2
    rng = np.random.default_rng(3)
    return pd.DataFrame({"id": table.index, "x": rng.normal(size=40), "y": rng.normal(size=40)}), table


def there(folder):
    return sorted(path.name for path in folder.iterdir())
