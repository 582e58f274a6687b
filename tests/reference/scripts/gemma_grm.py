"""Relationship matrices by GEMMA of genotypes with missing calls, judged where a phenotype is known.

Usage: python gemma_grm.py GENETICS, where GENETICS holds ``synthetic100/test.bed``; needs GEMMA (0.98.5).
Writes ``holes/`` there: 60 samples and 200 markers of synthetic100, one call in twenty missing, a fifth of the samples
without a phenotype, and rare alleles; ``holes.cXX.txt`` is ``-gk 1``, ``holes.sXX.txt`` ``-gk 2``. Beside synthetic100
its own ``-gk 2`` is written.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bed_reader import open_bed, to_bed


def gemma(folder: Path, stem: str, mode: int) -> str:
    command = ["gemma", "-bfile", stem, "-gk", str(mode), "-o", "out"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "output" / f"out.{'cs'[mode - 1]}XX.txt").read_text()


def main(genetics: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (genetics / "synthetic100").glob("test.*"):
            shutil.copy(path, folder)
        (genetics / "synthetic100" / "gemma_kinship.sXX.txt").write_text(gemma(folder, "test", 2))
        whole = open_bed(folder / "test.bed")
        calls = np.array(whole.read(dtype="float64")[:60, :200], order="F")
        draw = np.random.default_rng(100)
        calls[draw.random(calls.shape) < 0.05] = np.nan
        rare = draw.random(200) < 0.3  # one or two carriers are left
        carriers = np.cumsum(calls[:, rare] > 0, axis=0) <= draw.integers(1, 3, rare.sum())
        calls[:, rare] = np.where(carriers | np.isnan(calls[:, rare]), calls[:, rare], 0.0)
        phenotype = np.where(draw.random(60) < 0.2, "-9", whole.pheno[:60])
        properties = {key: value[:60] for key, value in whole.properties.items() if len(value) == 100}
        properties |= {key: value[:200] for key, value in whole.properties.items() if len(value) == 500}
        holes = genetics / "holes"
        holes.mkdir(exist_ok=True)
        to_bed(holes / "holes.bed", calls, properties={**properties, "pheno": phenotype})
        for path in holes.glob("holes.[bf]*"):
            shutil.copy(path, folder)
        for mode, letter in ((1, "c"), (2, "s")):
            (holes / f"holes.{letter}XX.txt").write_text(gemma(folder, "holes", mode))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
