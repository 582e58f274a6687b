"""Copy the reference results that the tests use from a folder of R results.

Usage: python collect.py SOURCE [MANY], where SOURCE holds ``data/*.csv``, ``data/*.schema.json`` and ``fits/*.json`` as
the R programs in ``scripts/`` write them (lme4 1.1-31, lmerTest 3.1-3, nlme 3.1-162, glmmTMB 1.1.5, R 4.2.2; every
optimum polished). Taken are all fits by ``lmer``, ``lme``, ``gls`` and ``glmmTMB`` but two, and all with known matrices
across levels (coxme 2.2-22, pedigreemm 0.3-5). Tables of marginal means (emmeans 1.8.4-1) and of comparisons
of models go to ``tables``.

Many responses on one design are two tables each, the data with the responses and lme4's fits, as
``21_many_responses.R OUT visible`` writes them into a folder; ``python collect.py SOURCE MANY`` copies that folder too.

Genotypes with GEMMA's results (0.98.5) stand in a folder GENETICS with ``synthetic100``, ``bxd``, ``mouse`` and what
``scripts/gemma_grm.py GENETICS`` makes of them, pedigrees with kinship2's coefficients (1.9.6.2, ``22_pedigrees.R``)
in its ``pedigree``: ``python collect.py SOURCE MANY GENETICS`` copies these too.
Generalized linear mixed models (glmmTMB 1.1.5, and lme4 with quadrature) stand in a folder with ``data`` and ``fits``,
as ``31_glmm.R`` writes them, and are copied in the same way; ``generalized_many`` is what ``32_many_glmm.R`` writes,
and ``generalized_results`` what ``33_glmm_results.R`` makes here. ``34_published.R`` writes data of published optima.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
NOT_TAKEN = ("bodyweight_varPower_reml", "bodyweight_corExp_varPower_reml")
"""Models of dispersion by fitted values, nlme's ``varPower()``: a fixed point of its iteration, not an optimum."""

KNOWN = ("lmekin", "pedigreemm")
"""Engines whose models have known matrices across levels."""


def main(source: Path) -> None:
    for path in sorted((source / "fits").glob("*.json")):
        record = json.loads(path.read_text())
        if record["kind"] in ("emmeans", "lrt"):
            (HERE / "tables").mkdir(exist_ok=True)
            shutil.copy(path, HERE / "tables" / path.name)
            continue
        if record.get("engine") not in ("lmer", "lme", "gls", "glmmTMB", *KNOWN) or path.stem in NOT_TAKEN:
            continue
        shutil.copy(path, HERE / "fits" / path.name)
        for extra in (source / "fits").glob(f"{path.stem}.ranef.csv.gz"):
            shutil.copy(extra, HERE / "fits" / extra.name)
        names = [record["dataset"]]
        names += [matrix["file"] for matrix in record.get("covariance_matrices") or [] if matrix["file"]]
        for name in names:
            stem = name.split(".csv")[0]
            shutil.copy(source / "data" / name, HERE / "data" / name)
            shutil.copy(source / "data" / f"{stem}.schema.json", HERE / "data" / f"{stem}.schema.json")


def many(source: Path) -> None:
    for path in sorted(source.glob("many_*.csv.gz")):
        shutil.copy(path, HERE / "many" / path.name)


def generalized(source: Path) -> None:
    """Copy generalized linear mixed models and their data, which no other reference shares."""
    (HERE / "generalized").mkdir(exist_ok=True)
    for path in sorted((source / "fits").glob("*.json")):
        shutil.copyfile(path, HERE / "generalized" / path.name)
    for path in sorted((source / "data").iterdir()):
        shutil.copyfile(path, HERE / "data" / path.name)


def genetics(source: Path) -> None:
    """Copy genotypes and GEMMA's results; long tables are compressed, PLINK's files stay as readers take them."""
    for name in ("synthetic100", "holes", "bxd", "mouse", "pedigree"):
        folder = HERE / "genetics" / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((source / name).iterdir()):
            if path.suffix == ".txt" and path.stat().st_size > 2**14:
                content = gzip.compress(path.read_bytes(), mtime=0)
                (folder / f"{path.name}.gz").write_bytes(content)
            else:
                shutil.copyfile(path, folder / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    for folder in sys.argv[2:]:
        path = Path(folder)
        if (path / "synthetic100").exists():
            genetics(path)
        else:
            (generalized if (path / "fits").exists() else many)(path)
