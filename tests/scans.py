"""Scans for tests: GEMMA's data sets and conventions, and the engine of a scan within GEMMA's bounds."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import jaxlmm as lmm
from jaxlmm.scanning.kernels.filter import PairFilter
from jaxlmm.scanning.kernels.null_models import NullModels
from jaxlmm.scanning.kernels.rotate import ScanRows
from jaxlmm.scanning.kernels.scanner import EigenScanner

FOLDER = Path(__file__).parent / "reference" / "genetics"
BOUNDS = (1e-5, 1e5)
"""Between which GEMMA looks for the variance ratio."""


def recentred(K):
    K = K - K.mean(axis=0)
    return K - K.mean(axis=1)[:, None]


def gemma(name):
    return pd.read_csv(FOLDER / name, sep="\t").set_index("rs")


def aligned(name, ids):
    return gemma(name).loc[ids]


def engine_scan(data, formula, K, G, *, bounds=(0.0, np.inf), method="REML", refit=True, y=None, tests=None):
    """Scan markers ``G`` (n, s) by the engine; one row of the data per level of ``id``."""
    labels = data["id"].to_list()
    design = lmm.design(formula, data, kinship={"id": pd.DataFrame(K, index=labels, columns=labels)})
    y = data["y"].to_numpy()[:, None] if y is None else y
    with jax.enable_x64(True):
        rows = ScanRows.of(design.unpadded(), np.arange(len(y)), len(y), bounds=bounds)
        traits = NullModels.of(rows, y, reml=method == "REML")
        scanner = EigenScanner(
            traits, np.arange(y.shape[1]), refit=refit, reml=method == "REML",
            tests=tests or ("wald", "lrt", "score"), size=1024,
        )  # fmt: skip
        keeper = PairFilter("wald", None, None, False)
        scanner.scan(G, np.arange(G.shape[1]), G.mean(axis=0) / 2.0, keeper)
    return keeper.finish(), traits


@functools.cache
def synthetic100():
    """Phenotypes, covariate, GEMMA's matrix, genotypes and names of the markers."""
    opened = lmm.genetics.genotypes(FOLDER / "synthetic100" / "test.bed", missing=1.0)
    fam = pd.read_csv(FOLDER / "synthetic100" / "test.fam", sep=r"\s+", header=None)
    data = pd.DataFrame({"id": opened.sample_ids, "y": fam[5].to_numpy(float)})
    covariates = pd.read_csv(FOLDER / "synthetic100" / "covariates.txt", sep=r"\s+", header=None)
    data["x"] = covariates[1].to_numpy()
    K = np.loadtxt(FOLDER / "synthetic100" / "gemma_kinship.cXX.txt.gz")
    return data, K, next(opened.blocks()).values, opened.variants["variant"].to_numpy()


@functools.cache
def bxd():
    """Phenotype, covariates, GEMMA's matrix and genotypes of the strains that have a phenotype."""
    y = pd.read_csv(FOLDER / "bxd" / "BXD_pheno.txt", header=None)[0].to_numpy(float)
    used = np.isfinite(y)
    table = pd.read_csv(FOLDER / "bxd" / "BXD_geno.txt.gz", sep=",", header=None, skipinitialspace=True)
    K = np.loadtxt(FOLDER / "bxd" / "BXD.cXX.txt.gz")
    covariates = np.loadtxt(FOLDER / "bxd" / "BXD_covariates2.txt")[used]
    data = pd.DataFrame({"id": np.flatnonzero(used), "y": y[used], "a": covariates[:, 0], "b": covariates[:, 1]})
    genotypes = pd.DataFrame(table.iloc[:, 3:].to_numpy(float).T, columns=table[0])
    return data, recentred(K[np.ix_(used, used)]), genotypes[used]


@functools.cache
def mouse():
    """Trait 1 of the mice that have it, GEMMA's matrix (all mice, cut, centered), names and prepared genotypes."""
    pheno = pd.read_csv(FOLDER / "mouse" / "mouse.pheno.csv", dtype={"id": str}).dropna(subset="trait1")
    data = pheno.rename(columns={"trait1": "y"})[["id", "y"]].reset_index(drop=True)
    source = lmm.genetics.genotypes(FOLDER / "mouse" / "mouse.bed", maf=0.01)
    blocks = list(source.blocks(data["id"]))
    keep = np.concatenate([block.keep for block in blocks])
    values = np.concatenate([block.values for block in blocks], axis=1)[:, keep]
    everyone = source.select(keep)
    calls = everyone.read()
    calls -= np.nanmean(calls, axis=0)
    calls[np.isnan(calls)] = 0.0
    K = calls @ calls.T / keep.sum()
    rows = pd.Index(source.sample_ids).get_indexer(data["id"])
    return data, recentred(K[np.ix_(rows, rows)]), values, everyone.variants["variant"].to_numpy(), source
