"""Ids that differ in their form alone: leading zeros, a family before them, capitals, spaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

SHOWN = 3
"""Ids of each side that an error shows."""

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")


def _same(value: str) -> str:
    return value


def _after_underscore(value: str) -> str:
    return value.split("_", 1)[-1]


def _number(value: str) -> str:
    stripped = value.strip()
    if NUMBER.fullmatch(stripped):
        number = Decimal(stripped)
        if number == int(number):
            return str(int(number))
    return value


def _folded(value: str) -> str:
    return value.strip().casefold()


FORMS: tuple[tuple[Callable[[str], str], Callable[[str], str], str], ...] = (
    (_same, _after_underscore, "{theirs_of} ids are FID_IID, those of {ours} IID: write FID_IID in {ours}"),
    (_after_underscore, _same, "{ours_of} ids are FID_IID, those of {theirs} IID: write the IID in {ours}"),
    (_number, _number, "the numbers are the same, written differently (leading zeros?): write them alike"),
    (_folded, _folded, "they differ in capitals or spaces: write them alike"),
)
"""Forms of one side's ids and of the other's in which they may match after all, and what to do then."""


def hint(ours: Iterable[str], theirs: Iterable[str], our_name: str, their_name: str) -> str:
    """Return in which form ids of two sides that do not match would match; nothing if in no form.

    >>> hint(["1", "2"], ["01", "02"], "the data", "the matrix").split(":")[0]
    ' 2 ids would match'
    """
    mine, yours = set(ours), set(theirs)
    return _told(mine - yours, yours - mine, our_name, their_name, certain=False)


def nearly(ours: Iterable[str], theirs: Iterable[str], our_name: str, their_name: str) -> str:
    """Return in which form more ids of two sides would match, beside those that do; nothing if in no form.

    Told are only ids that would match one each.

    >>> nearly(["100", "99"], ["099", "100"], "the data", "the matrix").split(":")[0]
    ' 1 id would match'
    >>> nearly(["100", "98"], ["099", "100"], "the data", "the matrix")
    ''
    """
    mine, yours = set(ours), set(theirs)
    return _told(mine - yours, yours - mine, our_name, their_name, certain=True)


def _told(ours: set[str], theirs: set[str], our_name: str, their_name: str, *, certain: bool) -> str:
    if not ours or not theirs:
        return ""
    for our_form, their_form, told in FORMS:
        mine, yours = _by_form(ours, our_form), _by_form(theirs, their_form)
        common = list(mine.keys() & yours.keys())
        if certain:
            common = [form for form in common if len(mine[form]) == len(yours[form]) == 1]
        if common:
            first = min(common)
            words = told.format(ours=our_name, theirs=their_name, ours_of=_of(our_name), theirs_of=_of(their_name))
            count = f"{len(common)} id{'s' if len(common) > 1 else ''}"
            return f" {count} would match: {words} ({min(mine[first])!r} is {min(yours[first])!r} there)."
    return ""


def _by_form(values: set[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for value in values:
        found.setdefault(form(value), []).append(value)
    return found


def _of(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def some(ids: Iterable[str]) -> str:
    """Return the first of distinct ids in quotation marks.

    >>> some(["a", "a", "b"])
    "'a', 'b'"
    """
    distinct = list(dict.fromkeys(ids))
    return ", ".join(repr(value) for value in distinct[:SHOWN]) + (", …" if len(distinct) > SHOWN else "")
