"""The table of a scan: its columns from tested pairs, and the table held in memory."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.scanning.kernels import Pairs


@runtime_checkable
class ScanTable(Protocol):
    """The table of a scan, a row for each pair of a response and a marker, in memory or in files."""

    def __len__(self) -> int: ...

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows, with some of the columns, or all."""

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in parts that fit into memory, in no order."""

    def numbers(self, column: str) -> tuple[Int[NumpyArray, " k"], Float[NumpyArray, " k"]]:
        """Return, of all rows in no order, the index of the response, and the numbers of one column."""


@dataclasses.dataclass(frozen=True, eq=False)
class Names:
    """What indices in pairs stand for: ``responses``, rows of ``variants``, and ``words`` of status codes.

    ``n`` are the numbers of rows of the responses.
    """

    responses: tuple[str, ...]
    n: Int[NumpyArray, " m"]
    variants: pd.DataFrame
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class HeldTable:
    """A table held in memory as pairs, and made into a data frame when it is first read."""

    pairs: Pairs
    names: Names
    tests: tuple[str, ...]
    interaction: str | None

    def __len__(self) -> int:
        return int(self.pairs.marker.size)

    @functools.cached_property
    def _frame(self) -> pd.DataFrame:
        return tabulated(self.pairs, self.names, self.tests, self.interaction)

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all rows, with some of the columns, or all."""
        return self._frame.copy() if columns is None else self._frame[list(columns)].copy()

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows at once."""
        yield self.read(columns)

    def numbers(self, column: str) -> tuple[Int[NumpyArray, " k"], Float[NumpyArray, " k"]]:
        """Return, of all rows in no order, the index of the response, and the numbers of one column."""
        return np.asarray(self.pairs.response), self._frame[column].to_numpy(float)


def tabulated(pairs: Pairs, names: Names, tests: tuple[str, ...], interaction: str | None) -> pd.DataFrame:
    """Return the table of some pairs, with the columns of :meth:`jaxlmm.Scan.tidy`."""
    variants = names.variants.iloc[pairs.marker].reset_index(drop=True)
    columns: dict[str, object] = {
        "response": np.array(names.responses, dtype=object)[pairs.response],
        **{name: variants[name] for name in ("chromosome", "position", "variant", "effect_allele", "other_allele")},
        "n": names.n[pairs.response],
        "frequency": pairs.frequency,
        "estimate": pairs.estimate[0],
        "std_error": pairs.std_error[0],
    }
    if "wald" in tests:
        columns["statistic"] = pairs.wald[0]
    columns["df"] = pairs.degrees
    if "wald" in tests:
        columns |= _p_values("", pairs.column_height(0))
    for test in ("lrt", "score"):
        if test in tests:
            columns[f"statistic_{test}"] = getattr(pairs, test)
            columns |= _p_values(f"_{test}", pairs.height(test))
    if interaction is not None:
        columns |= {"estimate_interaction": pairs.estimate[1], "std_error_interaction": pairs.std_error[1]}
        columns["statistic_interaction"] = pairs.wald[1]
        columns |= _p_values("_interaction", pairs.column_height(1))
        columns["statistic_joint"] = pairs.joint
        columns |= _p_values("_joint", pairs.height("wald"))
    columns |= {"h2": pairs.share, "variance_ratio": pairs.ratio}
    columns["status"] = np.array(names.words, dtype=object)[pairs.status]
    return pd.DataFrame(columns)


def counted(counts: Int[NumpyArray, " k"], words: Sequence[str]) -> Mapping[str, int]:
    """Return the counts of status codes by word, without zeros, the most frequent first."""
    by_word = {word: int(count) for word, count in zip(words, counts, strict=False) if count}
    return dict(sorted(by_word.items(), key=lambda item: -item[1]))


def _p_values(suffix: str, height: Float[NumpyArray, " k"]) -> dict[str, Float[NumpyArray, " k"]]:
    """Return the columns of p-values whose −log10 is ``height``."""
    with np.errstate(under="ignore"):
        return {f"neg_log10_p{suffix}": height, f"p_value{suffix}": 10.0**-height}
