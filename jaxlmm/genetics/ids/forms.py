"""Ids that differ in their form alone: leading zeros, a family before them, capitals, spaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal

IDS_SHOWN = 3
"""Ids of each side in the text of an error."""

DECIMAL_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")


def _same(value: str) -> str:
    return value


def _after_underscore(value: str) -> str:
    return value.split("_", 1)[-1]


def _number(value: str) -> str:
    stripped = value.strip()
    if DECIMAL_NUMBER.fullmatch(stripped):
        number = Decimal(stripped)
        if number == int(number):
            return str(int(number))
    return value


def _folded(value: str) -> str:
    return value.strip().casefold()


FORMS: tuple[tuple[Callable[[str], str], Callable[[str], str], str], ...] = (
    (_same, _after_underscore, "{others_of} ids are FID_IID, those of {name} IID: write FID_IID in {name}"),
    (_after_underscore, _same, "{name_of} ids are FID_IID, those of {other_name} IID: write the IID in {name}"),
    (_number, _number, "the numbers are the same, written differently (leading zeros?): write them alike"),
    (_folded, _folded, "they differ in capitals or spaces: write them alike"),
)
"""Normal forms of one side's ids and of the other's under which they may match, and the advice for that case."""


def hint(ids: Iterable[str], others: Iterable[str], name: str, other_name: str) -> str:
    """Return the change of form under which ids of two sides would match, of those that do not; "" if there is none.

    >>> hint(["1", "2"], ["01", "02"], "the data", "the matrix").split(":")[0]
    ' 2 ids would match'
    """
    left, right = set(ids), set(others)
    return _advice(left - right, right - left, name, other_name, one_to_one=False)


def nearly(ids: Iterable[str], others: Iterable[str], name: str, other_name: str) -> str:
    """Return the change of form under which more ids of two sides would match; "" if there is none.

    Only ids that would match exactly one id of the other side count.

    >>> nearly(["100", "99"], ["099", "100"], "the data", "the matrix").split(":")[0]
    ' 1 id would match'
    >>> nearly(["100", "98"], ["099", "100"], "the data", "the matrix")
    ''
    """
    left, right = set(ids), set(others)
    return _advice(left - right, right - left, name, other_name, one_to_one=True)


def _advice(ids: set[str], others: set[str], name: str, other_name: str, *, one_to_one: bool) -> str:
    if not ids or not others:
        return ""
    for form, other_form, template in FORMS:
        left, right = _by_form(ids, form), _by_form(others, other_form)
        common = list(left.keys() & right.keys())
        if one_to_one:
            common = [key for key in common if len(left[key]) == len(right[key]) == 1]
        if common:
            first = min(common)
            words = template.format(
                name=name, other_name=other_name, name_of=_possessive(name), others_of=_possessive(other_name)
            )
            count = f"{len(common)} id{'s' if len(common) > 1 else ''}"
            return f" {count} would match: {words} ({min(left[first])!r} is {min(right[first])!r} there)."
    return ""


def _by_form(values: set[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(form(value), []).append(value)
    return groups


def _possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def listed(ids: Iterable[str]) -> str:
    """Return the first few distinct ids in quotation marks.

    >>> listed(["a", "a", "b"])
    "'a', 'b'"
    """
    distinct = list(dict.fromkeys(ids))
    return ", ".join(repr(value) for value in distinct[:IDS_SHOWN]) + (", …" if len(distinct) > IDS_SHOWN else "")
