"""A known matrix of four people, as a frame, as pairs, and in GCTA's files."""

import numpy as np
import pandas as pd

VALUES = np.array([[1.0, 0.5, 0.0, 0.25], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 1.5, 0.0], [0.25, 0.0, 0.0, 1.0]])
TEXT, NUMBERS = ["b", "a", "c", "d"], [30, 4, 12345, 7]


def pairs(labels=TEXT, values=VALUES, lower=True):
    rows, columns = np.nonzero(np.tril(values) if lower else values)
    return pd.DataFrame({
        "id1": np.array(labels)[rows], "id2": np.array(labels)[columns], "value": values[rows, columns]
    })  # fmt: skip


def frame(labels=TEXT, values=VALUES):
    return pd.DataFrame(values, index=labels, columns=labels)


def write_gcta(folder, values, families="f1 f1 f2 f3", samples="1 2 NA 4", counts=None):
    """Write a matrix as GCTA does: the lower triangle row by row in single precision."""
    rows, columns = np.tril_indices(len(values))
    values[rows, columns].astype("<f4").tofile(folder / "all.grm.bin")
    lines = zip(families.split(), samples.split(), strict=True)
    (folder / "all.grm.id").write_text("".join(f"{one}\t{two}\n" for one, two in lines))
    if counts is not None:
        counts[rows, columns].astype("<f4").tofile(folder / "all.grm.N.bin")
    return folder / "all.grm.bin"
