"""The manifest of a scan's folder, and the check of its files against it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from jaxlmm._util import checksum
from jaxlmm.errors import DataError
from jaxlmm.scanning.output.result import ScanHeader

KIND, VERSION = "jaxlmm.scan", 1
"""The kind of folder in the manifest, and the version of its layout."""

MANIFEST, NULL = "manifest.json", "null.parquet"
"""Names of the manifest, and of the file with the fits without a marker."""

MANIFEST_FIELDS = {"kind": str, "version": int, "digests": dict, "n_parts": int, "finished": bool}
"""Fields of every manifest, with their types."""

FINISHED_MANIFEST_FIELDS = {"files": dict, "checksums": dict, "header": dict}
"""Further fields of a finished scan, with their types: numbers of rows by file, :func:`sealed` by file, the header.

Folders written before there were checksums have no ``checksums``.
"""

PART_NAME = re.compile(r"part-\d{5,}\.parquet")
"""Names of files with rows."""


def part_name(number: int) -> str:
    """Return the name of the file of a part's rows."""
    return f"part-{number:05d}.parquet"


def part_number(name: str) -> int:
    """Return the number of the part whose rows a file holds.

    >>> part_number(part_name(12))
    12
    """
    return int(name.removeprefix("part-").removesuffix(".parquet"))


def sealed(path: Path) -> list[Any]:
    """Return the size of a file in bytes, and its checksum."""
    return [path.stat().st_size, checksum(path)]


def broken(path: Path, seal: list[Any] | None, rows: int | None = None) -> str:
    """Return in words how a file differs from its seal and number of rows when written; "" if it does not."""
    if not path.is_file():
        return f"no {path.name}"
    if seal is not None and path.stat().st_size != seal[0]:
        return f"{path.name} with {path.stat().st_size:,} bytes instead of {seal[0]:,}"
    if seal is not None and checksum(path) != seal[1]:
        return f"{path.name} with other content than was written"
    if rows is None:
        return ""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        n_rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException):
        return f"{path.name} that cannot be read"
    return "" if n_rows == rows else f"{path.name} with {n_rows:,} rows instead of {rows:,}"


def damaged(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Return, by file, how files of a finished scan differ from its manifest, in words.

    Files of rows that it does not list are damage too: programs that read all parts would read these.
    """
    listed = {**record["files"], NULL: None}
    seals = record.get("checksums")
    damage = {}
    for name, rows in listed.items():
        seal = None if seals is None else seals.get(name, [-1, ""])
        damage[name] = broken(folder / name, seal, rows)
    for name in sorted(path.name for path in folder.iterdir()):
        if PART_NAME.fullmatch(name) and name not in listed:
            damage[name] = f"{name}, which {MANIFEST} does not list (if it is no copy, move it elsewhere)"
    return {name: words for name, words in damage.items() if words}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a scan's folder, once it is checked.

    Raises
    ------
    DataError
        If it is no folder of a scan, of another version of the layout, or the manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder}: expected a folder that scan(out=) wrote, got one without {MANIFEST}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{path}: expected the manifest of a scan, got no JSON: {error}. The file is damaged: delete the folder, "
            "and scan again."
        ) from error
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise DataError(f"{path}: expected the manifest of a scan, of kind {KIND!r}, got something else.")
    version = record.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        hint = "install a newer jaxlmm" if newer else "scan again with this version"
        raise DataError(f"{path}: expected layout version {VERSION}, got {version!r}; {hint}.")
    _check(path, record)
    return record


def header_of(folder: Path, record: Mapping[str, Any]) -> ScanHeader:
    """Return the header of the scan in a folder.

    Raises
    ------
    DataError
        If the manifest has it not, or with other fields or types.
    """
    fields: dict[str, Any] = record["header"]
    written = {field.name: field.type for field in dataclasses.fields(ScanHeader)}
    _compare(folder / MANIFEST, set(fields), set(written), "header")
    kinds = get_type_hints(ScanHeader)
    for name, value in fields.items():
        if not _is_of(kinds[name], value):
            raise DataError(
                f"{folder / MANIFEST}: expected {name} in the header of type {written[name]}, got {value!r}; the file "
                "was changed after it was written."
            )
    read: dict[str, Any] = {name: tuple(value) if type(value) is list else value for name, value in fields.items()}
    return ScanHeader(**read)


def _check(path: Path, record: Mapping[str, Any]) -> None:
    """Raise if a manifest has other fields or types than it should have."""
    further = FINISHED_MANIFEST_FIELDS if record.get("finished") is True else {}
    expected: dict[str, type] = {**MANIFEST_FIELDS, **further}
    optional = set() if "checksums" in record else {"checksums"}
    _compare(path, set(record), set(expected) - optional, "manifest")
    wrong = [name for name, kind in expected.items() if name in record and type(record[name]) is not kind]
    if wrong:
        name = wrong[0]
        raise DataError(
            f"{path}: expected {name} of type {expected[name].__name__}, got {record[name]!r}; the file was changed "
            "after it was written."
        )
    files, seals = record.get("files", {}), record.get("checksums", {})
    for name, rows in files.items():
        if not PART_NAME.fullmatch(name) or type(rows) is not int or rows < 0:
            raise DataError(f"{path}: expected files such as {part_name(0)} with their rows, got {name!r}: {rows!r}.")
    unlisted = sorted(name for name in seals if name not in files and name != NULL)
    if unlisted:
        raise DataError(
            f"{path}: expected the rows of each file with a checksum, got none of {', '.join(unlisted)}; the file was "
            "changed after it was written."
        )
    for name, seal in seals.items():
        if not (isinstance(seal, list) and [type(value) for value in seal] == [int, str]):
            raise DataError(f"{path}: expected the size and the checksum of {name}, got {seal!r}.")


def _is_of(kind: Any, value: Any) -> bool:
    """Return whether a value of JSON, in which tuples are lists, is of an annotated type.

    >>> _is_of(tuple[str, ...], ["a"]), _is_of(Mapping[str, int], {"a": "b"}), _is_of(str | None, None)
    (True, False, True)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(_is_of(part, value) for part in parts)
    if origin is tuple:
        return type(value) is list and all(_is_of(parts[0], part) for part in value)
    if origin is Mapping:
        return type(value) is dict and all(_is_of(parts[1], part) for part in value.values())
    return type(value) is kind or (kind is float and type(value) is int)


def _compare(path: Path, fields: set[str], expected: set[str], what: str) -> None:
    """Raise if the fields of a record, ``what`` of a scan, are not the expected ones."""
    unknown, missing = sorted(fields - expected), sorted(expected - fields)
    said = [f"no {', '.join(missing)}"] if missing else []
    said += [f"also {', '.join(unknown)}, which this version does not know"] if unknown else []
    if said:
        raise DataError(
            f"{path}: expected the fields of the {what} of a scan, got {' and '.join(said)}; it was changed, or "
            "written by another version of jaxlmm: read it with that, or scan again."
        )
