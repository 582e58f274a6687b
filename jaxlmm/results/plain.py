"""Estimates as JSON: each field of a dataclass under its name, read again by the type and shape of its annotation.

Arrays of floats stand in one section, named by the class's ``ARRAYS``, all else at the top; :func:`saved_at` names
other keys. A letter of a shape is one size within a file: those of the labels are given (:func:`sizes_of`), another is
that of the first array that has it. An axis ``_`` may have any length; ``*b`` is the axis of responses if the file is
of many, else none. NaN and infinities are written as null and as text, which NumPy reads again as floats.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import AbstractArray

from jaxlmm.formula import ModelLabels
from jaxlmm.formula.columns import numbers_from_plain, numbers_to_plain

T = TypeVar("T")

DTYPES: dict[str, Any] = {"Float": np.float64, "Bool": np.bool_, "Int": np.int64, "Int8": np.int8, "Shaped": np.object_}
"""The type of an array's elements, by the annotation."""

UNKNOWN: dict[str, Any] = {"Float": np.nan, "Bool": False, "Int": 0, "Int8": 0, "Shaped": ""}
"""The value of an array's elements for a response that has not been fitted, by the annotation."""


def saved_at(*keys: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """Return the metadata of a field that a file holds under other ``keys`` than its name, from the outermost inwards.

    The fields of a NamedTuple stand under these keys by their names. Integers that are indices of ``words`` are saved
    as these words.
    """
    return {"keys": keys, "words": words}


def to_plain(estimates: Any, **written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON types, in their order; those in ``written``, by name, as they are given there."""
    record: dict[str, Any] = {}
    for field in _saved_fields(type(estimates)):
        value = getattr(estimates, field.name)
        value = [field.words[index] for index in value] if field.words else value
        plain = written[field.name] if field.name in written else _written(value)
        for key in reversed(field.keys):
            plain = {key: plain}
        merge(record, plain)
    return record


def from_plain(cls: type[T], record: Mapping[str, Any], sizes: Mapping[str, int], **read: Any) -> T:
    """Return the estimates that :func:`to_plain` wrote; the fields in ``read``, by name, are not read again.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a field is not there, or of another type or shape.
    """
    sizes = dict(sizes)
    for field in _saved_fields(cls):
        if field.name not in read:
            plain: Any = functools.reduce(lambda part, key: part[key], field.keys, record)
            plain = [field.words.index(word) for word in plain] if field.words else plain
            read[field.name] = _read(field.annotation, plain, sizes)
    return cls(**read)


def merge(record: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add to a record what it does not have yet, inside its dicts too."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(record.get(key), dict):
            merge(record[key], value)
        else:
            record.setdefault(key, value)


def unknown_arrays(cls: type, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return an array of unknown values for each field annotated as an array or as a NamedTuple of arrays."""
    return {
        field.name: _unknown(field.annotation, dict(sizes))
        for field in _saved_fields(cls)
        if _is_array(field.annotation) or hasattr(field.annotation, "_fields")
    }


def sizes_of(labels: ModelLabels) -> dict[str, int]:
    """Return the sizes that labels know, by letter: p fixed effects, r natural parameters, t variance components."""
    return {"p": len(labels.fixed_names), "r": len(labels.parameters), "t": len(labels.terms) + 1}


class _SavedField(NamedTuple):
    """A field of estimates: its annotation, its keys in a file, and the words that it is an index of."""

    name: str
    annotation: Any
    keys: tuple[str, ...]
    words: Sequence[str]


def _saved_fields(cls: Any) -> list[_SavedField]:
    annotations, saved = get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        annotation = annotations[field.name]
        is_number = _is_array(annotation) and annotation.dtype.__name__ == "Float"
        keys = (cls.ARRAYS, field.name) if is_number else (field.name,)
        metadata = field.metadata
        saved.append(_SavedField(field.name, annotation, metadata.get("keys", keys), metadata.get("words", ())))
    return saved


def _is_array(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, AbstractArray)


def _written(value: Any) -> Any:
    if hasattr(value, "to_plain"):
        return value.to_plain()
    if isinstance(value, Mapping) or hasattr(value, "_asdict"):
        items = value if isinstance(value, Mapping) else value._asdict()
        return {name: _written(item) for name, item in items.items()}
    if isinstance(value, tuple | list):
        return [_written(item) for item in value]
    is_float = isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")
    return numbers_to_plain(value) if is_float else value.tolist() if isinstance(value, np.ndarray) else value


def _read(annotation: Any, plain: Any, sizes: dict[str, int]) -> Any:
    if _is_array(annotation):
        return np.array(plain, DTYPES[annotation.dtype.__name__]).reshape(_shape(annotation, sizes, plain))
    if annotation is float:
        return float(numbers_from_plain(plain, ()))
    if hasattr(annotation, "_fields"):
        return annotation(**{name: _read(a, plain[name], sizes) for name, a in get_type_hints(annotation).items()})
    if get_origin(annotation) is tuple:
        return tuple(_read(get_args(annotation)[0], item, sizes) for item in plain)
    if get_origin(annotation) is dict:
        return {name: _read(get_args(annotation)[1], item, sizes) for name, item in dict(plain).items()}
    return plain


def _unknown(annotation: Any, sizes: dict[str, int]) -> Any:
    if hasattr(annotation, "_fields"):
        return annotation(*(_unknown(part, sizes) for part in get_type_hints(annotation).values()))
    kind = annotation.dtype.__name__
    return np.full(_shape(annotation, sizes), UNKNOWN[kind], DTYPES[kind])


def _shape(annotation: Any, sizes: dict[str, int], plain: Any = ()) -> tuple[int, ...]:
    """Return the sizes of an array's axes; a letter without a size takes that of the nested lists, and keeps it."""
    shape: list[int] = []
    for axis, letter in enumerate(annotation.dim_str.replace("*b", "m" if "m" in sizes else "").split()):
        size = int(letter) if letter.isdigit() else sizes.get(letter)
        if size is None:
            outer = functools.reduce(lambda part, _: part[0] if len(part) else (), range(axis), plain)
            size = len(outer)
            if letter != "_":
                sizes[letter] = size
        shape.append(size)
    return tuple(shape)
