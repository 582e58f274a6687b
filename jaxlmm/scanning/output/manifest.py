"""What a scan's folder says of itself, and whether its files are what was written."""

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
"""What the folder is, and the version of its layout."""

MANIFEST, NULL = "manifest.json", "null.parquet"

FIELDS = {"kind": str, "version": int, "digests": dict, "n_parts": int, "finished": bool}
"""Fields of every manifest, with their types."""

WHEN_FINISHED = {"files": dict, "checksums": dict, "header": dict}
"""Further fields of a finished scan's: rows by file, what :func:`sealed` says of each file, what was scanned.

Folders that were written before there were checksums have none.
"""

PART = re.compile(r"part-\d{5,}\.parquet")
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
    """Say what is wrong with a file that was written with a seal and so many rows; nothing if nothing is."""
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
        found = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException):
        return f"{path.name} that cannot be read"
    return "" if found == rows else f"{path.name} with {found:,} rows instead of {rows:,}"


def damaged(folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong, by file, with the files that the manifest of a finished scan lists.

    Files of rows that it does not list are wrong too: those who read all of them would read these.
    """
    listed = {**record["files"], NULL: None}
    seals = record.get("checksums")
    said = {}
    for name, rows in listed.items():
        seal = None if seals is None else seals.get(name, [-1, ""])
        said[name] = broken(folder / name, seal, rows)
    for name in sorted(path.name for path in folder.iterdir()):
        if PART.fullmatch(name) and name not in listed:
            said[name] = f"{name}, which {MANIFEST} does not list (if it is no copy, move it elsewhere)"
    return {name: what for name, what in said.items() if what}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what the manifest of a scan's folder says.

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
    """Return what was scanned into a folder.

    Raises
    ------
    DataError
        If the manifest does not say it.
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
    """Raise if a manifest has not just the fields that it should have."""
    expected: dict[str, type] = {**FIELDS, **(WHEN_FINISHED if record.get("finished") is True else {})}
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
        if not PART.fullmatch(name) or type(rows) is not int or rows < 0:
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


def _compare(path: Path, found: set[str], expected: set[str], what: str) -> None:
    unknown, missing = sorted(found - expected), sorted(expected - found)
    said = [f"no {', '.join(missing)}"] if missing else []
    said += [f"also {', '.join(unknown)}, which this version does not know"] if unknown else []
    if said:
        raise DataError(
            f"{path}: expected the fields of the {what} of a scan, got {' and '.join(said)}; it was changed, or "
            "written by another version of jaxlmm: read it with that, or scan again."
        )
