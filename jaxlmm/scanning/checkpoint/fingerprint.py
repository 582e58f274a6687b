"""The fingerprint of a scan: a digest of each of its inputs, by which a folder recognizes the same scan."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Num

from jaxlmm._util import NumpyArray
from jaxlmm._version import __version__
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.genetics import Genotypes
from jaxlmm.results import FitMany
from jaxlmm.scanning.data import ScanData
from jaxlmm.scanning.loco import GivenKinship
from jaxlmm.scanning.options import ScanOptions
from jaxlmm.solvers import identity

PROBED_CALLS = 2**22
"""Genotype calls that are digested, of markers evenly spaced among all: 32 MB."""

MIN_PROBED_MARKERS, MAX_PROBED_MARKERS = 8, 256
"""The fewest and the most markers of which calls are digested."""


def digests(data: ScanData, scan_options: ScanOptions, null: dict[str | None, FitMany]) -> dict[str, str]:
    """Return a digest of each input of a scan, by its name in errors.

    That of genotypes is of the variants, the samples, coding and filters, and the calls of some markers.
    """
    call, options, design = data.call, data.call.options, data.frame.design
    terms = [*design.terms, *([] if design.residual is None else [design.residual])]
    structures = [_structure(term.structure, np.asarray(term.coords)) for term in terms]
    relations = [grouping.relation for grouping in design.groupings]
    return {
        "the version of jaxlmm": __version__,
        "the formula": _of(call.formula, data.frame.labels.parameters, structures),
        "the options": _of(
            repr(scan_options), options.criterion, identity(options.solver), _optimizer(options.optimizer),
            repr(options.start), repr(options.fixed)
        ),
        "the rows or predictors": _of(design.without_relations(), data.sample_of_row, data.moderator),
        "kinship": _of(relations, data.matrices.leaves() if isinstance(data.matrices, GivenKinship) else []),
        "the responses": _of(data.responses.names, data.y),
        "the genotypes": _of(
            data.sample_ids.tolist(), pd.util.hash_pandas_object(data.genotypes.variants).to_numpy(),
            repr(data.genotypes.preparation), _probe(data.genotypes),
        ),
        "null": _of([(name, many.estimates.theta, many.estimates.bases) for name, many in null.items()]),
    }  # fmt: skip


def _structure(structure: AbstractCovariance, coords: NumpyArray) -> list[Any]:
    """Return the traced factor of a structure, with its name, so that structures of users are compared too."""
    own_coords = coords[0] if coords.ndim == 3 else coords
    theta = np.zeros(structure.n_params(len(own_coords)))
    return [type(structure).__name__, *_traced(structure.cholesky, theta, own_coords)]


def _optimizer(optimizer: Any) -> list[Any]:
    """Return the name of an optimizer, or its traced functions."""
    if isinstance(optimizer, str):
        return [optimizer]
    theta = np.zeros(2)
    state = optimizer.init(theta)
    return [*_traced(optimizer.init, theta), *_traced(optimizer.update, theta, state, theta)]


def _traced(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return a function as JAX traces it, without addresses in memory, and its constants."""
    traced = jax.make_jaxpr(function)(*arguments)
    return [re.sub("0x[0-9a-f]+", "", str(traced)), *(np.asarray(constant) for constant in traced.consts)]


def _probe(genotypes: Genotypes) -> Num[NumpyArray, "q s"]:
    """Return the calls of markers evenly spaced among all."""
    total = len(genotypes.variants)
    count = max(PROBED_CALLS // len(genotypes.sample_ids), MIN_PROBED_MARKERS)
    count = min(count, MAX_PROBED_MARKERS, total)
    return genotypes.read(np.unique(np.linspace(0, total - 1, count).astype(int)))


def _of(*inputs: Any) -> str:
    """Return the digest of all texts and arrays in pytrees."""
    digest = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(inputs):
        if isinstance(leaf, str):
            digest.update(leaf.encode())
        else:
            array = np.ascontiguousarray(leaf)
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        digest.update(b"\0")
    return digest.hexdigest()
