"""Claiming the folder of a scan: it is new, or holds a scan to go on with, and no other process is at work there."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxlmm._util import PARTIAL, writing
from jaxlmm.errors import OptionError
from jaxlmm.scanning.checkpoint.folder import UNFINISHED, Folder
from jaxlmm.scanning.checkpoint.lock import LOCKS, check_folder, locked
from jaxlmm.scanning.checkpoint.share import Share
from jaxlmm.scanning.output import MANIFEST, read_manifest


@contextlib.contextmanager
def claimed(out: Any, resume: bool, share: Share | None = None) -> Iterator[Folder]:
    """Lock a folder for this process, before anything is computed; a new one is removed if it stays empty.

    With a ``share`` that alone is locked, and a scan that has begun is gone on with.

    Raises
    ------
    OptionError
        If it holds something else, or a scan while ``resume`` is False.
    DataError
        If its scan is of another version of the layout, or its manifest is damaged.
    ResumeError
        If another process is at work there.
    OutputError
        If nothing can be written there.
    """
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise OptionError(f"out: expected a folder, got {path}, which is a file.")
    if path.is_dir():
        check_folder(path, share)
        finished = _check_content(path, resume or share is not None)
        if finished and not os.access(path, os.W_OK):  # if nothing is damaged, nothing is written
            yield Folder(path)
            return
    with writing(path):
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
    try:
        with locked(path, share):
            yield Folder(path)
    finally:
        with contextlib.suppress(OSError):  # that are not empty
            for folder in new:
                folder.rmdir()


def _check_content(path: Path, resume: bool) -> bool:
    """Raise unless a folder is new, or holds a scan to resume; return whether that scan is finished."""
    names = {file.name for file in path.iterdir() if not file.name.startswith(PARTIAL)}
    names -= set(fnmatch.filter(names, LOCKS))
    begun = MANIFEST in names or (names == {UNFINISHED} and any((path / UNFINISHED).glob("part-*.npz")))
    if names - {UNFINISHED} and MANIFEST not in names:
        raise OptionError(f"out: expected a new or an empty folder, got {path}, which holds something else.")
    if begun and not resume:
        raise OptionError(
            f"out: {path} holds a scan, which is never overwritten: go on with it by resume=True, delete it, or name "
            "another folder."
        )
    return MANIFEST in names and bool(read_manifest(path)["finished"])
