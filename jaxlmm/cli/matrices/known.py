"""``--kinship GROUP=FILE``: known matrices from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlmm.cli.common import USAGE_ERROR, stop
from jaxlmm.cli.matrices.square import read_matrix

Kinship = Annotated[
    list[str] | None,
    typer.Option(
        help="GROUP=FILE, or GROUP=2*FILE: a known matrix (.npz as written by the commands grm and kinship, GCTA's "
        ".grm.bin; .csv, .tsv or .parquet with ids as first column, or with columns id1, id2, value). Repeatable; "
        "several of one group each have a variance of their own, called GROUP[FILE] without the ending."
    ),
]

SCALED_FILE = re.compile(r"(?P<factor>[0-9.]+(e[+-]?[0-9]+)?) *\* *(?P<file>.+)", re.IGNORECASE)
"""A number times a file, as in ``2*FILE``."""


def matrices(arguments: list[str]) -> dict[str, Any]:
    """Return the known matrices of each group: one, or several by the names of their files."""
    by_group: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        group, _, file = argument.partition("=")
        scaled = None if Path(file).exists() else SCALED_FILE.fullmatch(file)
        path = Path(scaled["file"] if scaled else file)
        if not group or not file or not path.exists():
            stop(f"--kinship: expected GROUP=FILE with an existing file, got {argument!r}.", USAGE_ERROR)
        matrix = read_matrix(path)
        of_group = by_group.setdefault(group, {})
        name = path.name.split(".")[0]
        if name in of_group:
            stop(f"--kinship: expected files of different names for {group}, got {name!r} twice.", USAGE_ERROR)
        of_group[name] = float(scaled["factor"]) * matrix if scaled else matrix
    return {group: named if len(named) > 1 else next(iter(named.values())) for group, named in by_group.items()}
