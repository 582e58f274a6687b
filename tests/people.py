"""Records of 12 people whose ids can be any text, with a known matrix."""

import numpy as np
import pandas as pd

RNG = np.random.default_rng(11)

LONG = [str(123456789012345678 + number) for number in range(12)]
TEXTS = {
    "zeros": [f"{number:04d}" for number in range(1, 13)],
    "exponents": ["1E5", "2E5", "1e5", "3E05", "1E1", "1E2", "4E5", "5E5", "6E5", "7E5", "8E5", "9E5"],
    "18 digits": LONG,
    "25 digits": [f"9{label:0>24}" for label in LONG],
    "words": ["None", "TRUE", "FALSE", "1_000", "0x1F", "+5", "5", "05", "N/A", "null", "inf", "-0"],
    "numbers": [str(number) for number in range(1, 13)],
}
X, Y = RNG.normal(size=40), RNG.normal(size=40)
WHO = np.r_[np.arange(12), RNG.integers(0, 12, 28)]
ROOT = RNG.normal(size=(12, 12))
K = ROOT @ ROOT.T / 12 + np.eye(12)


def table(labels, missing=True):
    """People's records: 40 rows of 12 people, and two rows without an id."""
    data = pd.DataFrame({"id": [labels[place] for place in WHO], "x": X, "y": Y})
    more = pd.DataFrame({"id": [""] * 2, "x": [0.1, 0.2], "y": [1.0, 2.0]})
    return pd.concat([data, more], ignore_index=True) if missing else data


def square(labels):
    return pd.DataFrame(K, index=labels, columns=labels)
