"""Several genotype files of the same samples as one source, as the files of all chromosomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.errors import GenotypeError
from jaxlmm.genetics.formats.source import GenotypeSource, variant_indices

KEY = ["chromosome", "position", "variant"]
"""What tells one variant from another, whichever of its alleles is counted."""


class JoinedSource(GenotypeSource):
    """The variants of several sources, one after the other, in the samples of the first one, which all have.

    Raises
    ------
    GenotypeError
        If a source has other samples, or a variant that another one has too.
    """

    def __init__(self, sources: Sequence[GenotypeSource]) -> None:
        first = sources[0]
        self.sources, self._rows = tuple(sources), []
        for source in sources:
            rows = pd.Index(source.sample_ids).get_indexer(pd.Index(first.sample_ids))
            if len(source.sample_ids) != len(first.sample_ids) or (rows < 0).any():
                lacking = f", no {first.sample_ids[rows < 0][0]!r}" if (rows < 0).any() else ""
                raise GenotypeError(
                    f"{source.name}: expected the {len(first.sample_ids)} samples of {first.name}, got "
                    f"{len(source.sample_ids)} samples{lacking}; write files of the same samples, as by plink2 --keep."
                )
            in_order = np.array_equal(rows, np.arange(len(rows)))
            self._rows.append(None if in_order else rows)
        variants = pd.concat([source.variants for source in sources], ignore_index=True)
        file = np.repeat(np.arange(len(sources)), [len(source.variants) for source in sources])
        own = variants[KEY].assign(file=file).drop_duplicates()
        again = own[own.duplicated(KEY)]
        if len(again):
            one = again.iloc[0]
            alike = own[(own[KEY] == one[KEY]).all(axis=1)]
            raise GenotypeError(
                f"{sources[int(one['file'])].name}: expected other variants than in "
                f"{sources[int(alike['file'].iloc[0])].name}, got {one['variant']!r} in both ({len(again)} repeated "
                "variants in all)."
            )
        self._first = np.concatenate([[0], np.cumsum([len(source.variants) for source in sources])])
        name = first.name if len(sources) == 1 else f"{len(sources)} files, {first.name} to {sources[-1].name}"
        super().__init__(name, first.sample_ids, variants)

    def read(
        self, markers: slice | Int[NumpyArray, " s"], rows: Int[NumpyArray, " n"] | None = None
    ) -> Float[NumpyArray, "n s"]:
        indices = variant_indices(markers, len(self.variants))
        count = len(self.sample_ids) if rows is None else len(rows)
        file = np.searchsorted(self._first, indices, side="right") - 1
        values: Float[NumpyArray, "n s"] | None = None
        for number in np.unique(file).tolist():
            own, wanted = self.sources[number], np.flatnonzero(file == number)
            in_own = indices[wanted] - self._first[number]
            steps = np.diff(in_own)
            asked = slice(int(in_own[0]), int(in_own[-1]) + 1) if (steps == 1).all() else in_own
            part = own.read(asked, self._in(number, rows))
            if wanted.size == indices.size:
                return part
            if values is None:
                values = np.empty((count, len(indices)), order="F")
            values[:, wanted] = part
        return np.empty((count, 0)) if values is None else values

    def _in(self, number: int, rows: Int[NumpyArray, " n"] | None) -> Int[NumpyArray, " n"] | None:
        """Return where some of the samples, or all, stand in a source."""
        own = self._rows[number]
        return rows if own is None else own if rows is None else own[rows]
