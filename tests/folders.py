"""Scans of one study into folders, and what damages the files of a folder."""

import pandas as pd

import jaxlmm as lmm
from jaxlmm.genetics import ArraySource

TOGETHER = 1e-9
"""Relative: sums of the same numbers in another order."""


class StoppedError(Exception):
    """Stands for whatever ends a process."""


class Failing(ArraySource):
    """Genotypes that cannot be read any more after some blocks."""

    left = 10**9

    def read(self, markers, rows=None):
        if self.left == 0:
            raise StoppedError
        self.left -= 1
        return super().read(markers, rows)


def scanned(study, out=None, **options):
    data, source, kinship = study
    options = {"kinship": kinship, "variances": "null", "responses": ["a", "b"], "out": out, **options}
    return lmm.scan("~ (1 | id)", data, genotypes=source, **options)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def zeroed(path):
    content, middle = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(content[:middle] + bytes(60) + content[middle + 60 :])


def same(hits, expected):
    pd.testing.assert_frame_equal(hits.tidy(), expected, rtol=TOGETHER, check_dtype=False)
