"""Covariance structures of the bars of a formula: from tags or ``covariance=``, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float

from jaxlmm._util import NumpyArray, is_traced
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.covariance.contract import check_contract
from jaxlmm.errors import OptionError, nearest
from jaxlmm.formula.syntax import Bar
from jaxlmm.formula.tokens import join, tokenize, word


def structures_of(bars: Sequence[Bar], covariance: Mapping[str, AbstractCovariance] | None) -> list[AbstractCovariance]:
    """Return the structure of each bar: that of its tag, or of ``covariance`` by its group or text.

    Raises
    ------
    OptionError
        If a key matches no term, or a group's name matches several, or the value is no covariance structure.
    """
    structures = [bar.structure for bar in bars]
    for key, structure in (covariance or {}).items():
        if not isinstance(structure, AbstractCovariance):
            raise OptionError(
                f"covariance of {key!r}: expected a jaxlmm.covariance object, got {_described(structure)}."
            )
        if structure.coords is not None:
            raise OptionError(
                f"covariance of {key!r}: acts within the columns of a term, which have no coords; across the levels of "
                f"a group write kinship={{{key.split('|')[-1].strip()!r}: ...}}."
            )
        indices = [i for i, bar in enumerate(bars) if bar.group_name == key]
        if not indices:
            text = join(tokenize(key))
            indices = [i for i, bar in enumerate(bars) if text in _spellings(bar)]
        if len(indices) != 1:
            choices = [f"{join(bar.left)} | {bar.group_name}" for bar in bars]
            problem = "matches no term" if not indices else f"matches {len(indices)} terms; write the whole bar"
            raise OptionError(f"covariance: {key!r} {problem}; {nearest(key, choices)}.")
        if bars[indices[0]].over_positions:
            raise OptionError(
                f"covariance of {key!r}: acts within the columns of a term such as '(0 + f | g)', got a term over "
                f"positions, {bars[indices[0]].text}."
            )
        structures[indices[0]] = structure
    return structures


def is_from_tag(structure: AbstractCovariance, bar: Bar) -> bool:
    """Whether a structure of a bar is the one that its tag names."""
    return type(structure) is type(bar.structure)


def _spellings(bar: Bar) -> set[str]:
    """Return the texts by which ``covariance=`` may name a bar."""
    sides = {join(bar.left), f"1 + {join(bar.left)}"}
    return {f"{left} | {group}" for left in sides for group in (bar.group_name, ":".join(map(word, bar.group)))}


def check_structure(
    structure: AbstractCovariance, coords: Float[NumpyArray, "q d"], what: str, *, across: bool = False
) -> None:
    """Raise unless a structure can be used at ``coords`` and, if a user wrote it, keeps its contract there.

    It acts ``across`` levels or among columns; ``what`` begins the message. One whose fields are traced has no numbers
    to be tried with.
    """
    structure.check(coords)
    if structure.authored and not is_traced(structure):
        check_contract(structure, coords, what, across=across)


def _described(value: object) -> str:
    """Return the type of a value that is no structure, and the remedy."""
    if isinstance(value, type):
        return f"the class {value.__name__}; make an object of it, {value.__name__}()"
    return f"{type(value).__name__}; wrap a function in lmm.covariance.Custom"
