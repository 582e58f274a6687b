"""Whether two scans are the same: a digest of each thing that a scan is made of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd

from jaxlmm._util import NumpyArray
from jaxlmm._version import __version__
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.results import FitMany
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.options import ScanOptions

PROBED = 2**22
"""Calls that are read of genotypes, of markers here and there among all: 32 MB."""

MARKERS = 8, 256
"""The fewest and the most markers of which these are."""


def digests(laid: ScanData, wanted: ScanOptions, null: dict[str | None, FitMany]) -> dict[str, str]:
    """Return a digest of each thing by what it is called in an error.

    Of genotypes: the variants, the samples, what is asked of them, and the calls of some markers.
    """
    call, options, design = laid.call, laid.call.options, laid.frame.design
    terms = [*design.terms, *([] if design.residual is None else [design.residual])]
    structures = [_structure(term.structure, np.asarray(term.coords)) for term in terms]
    relations = [grouping.relation for grouping in design.groupings]
    return {
        "the version of jaxlmm": __version__,
        "the formula": _of(call.formula, laid.frame.labels.parameters, structures),
        "the options": _of(
            repr(wanted), options.method, options.solver, _optimizer(options.optimizer), repr(options.start),
            repr(options.fixed)
        ),
        "the rows or predictors": _of(design.without_relations(), laid.sample_of_row, laid.moderator),
        "kinship": _of(relations),
        "the responses": _of(laid.responses.names, laid.y),
        "the genotypes": _of(
            laid.sample_ids.tolist(), pd.util.hash_pandas_object(laid.genotypes.variants).to_numpy(),
            repr(laid.genotypes.preparation), _probe(laid),
        ),
        "null": _of([(name, many.estimates.theta, many.estimates.bases) for name, many in null.items()]),
    }  # fmt: skip


def _structure(structure: AbstractCovariance, coords: NumpyArray) -> list[Any]:
    """Return what a structure computes, by whatever function."""
    block = coords[0] if coords.ndim == 3 else coords
    theta = np.zeros(structure.n_params(len(block)))
    return [type(structure).__name__, *_computed(structure.cholesky, theta, block)]


def _optimizer(optimizer: Any) -> list[Any]:
    if isinstance(optimizer, str):
        return [optimizer]
    theta = np.zeros(2)
    state = optimizer.init(theta)
    return [*_computed(optimizer.init, theta), *_computed(optimizer.update, theta, state, theta)]


def _computed(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return the traced program of a function, without addresses in memory, and its constants."""
    traced = jax.make_jaxpr(function)(*arguments)
    return [re.sub("0x[0-9a-f]+", "", str(traced)), *(np.asarray(constant) for constant in traced.consts)]


def _probe(laid: ScanData) -> NumpyArray:
    genotypes, (fewest, most) = laid.genotypes, MARKERS
    total = len(genotypes.variants)
    count = min(max(PROBED // len(genotypes.sample_ids), fewest), most, total)
    return genotypes.read(np.unique(np.linspace(0, total - 1, count).astype(int)))


def _of(*things: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(things):
        if isinstance(leaf, str):
            digest.update(leaf.encode())
        else:
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        digest.update(b"\0")
    return digest.hexdigest()
