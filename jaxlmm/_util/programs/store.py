"""Executables on disk: a private folder of the user, of bounded size, whose broken files do no harm.

Executables are code, so the folder is used only if it belongs to the user and nobody else can write to it. The
environment variable ``JAXLMM_CACHE_DIR`` moves it, and switches it off where it is empty.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import platformdirs

VARIABLE = "JAXLMM_CACHE_DIR"

MAX_BYTES = 2**30
"""Size of the folder; what was used least recently goes first."""

ENDING = ".program"
DIGEST_SIZE = 32
COMPRESSION = 1
STALE_SECONDS = 3600.0
"""Age at which a half-written file was left by a process that is gone."""


class Contents(NamedTuple):
    """What a store holds."""

    folder: Path
    programs: int
    bytes: int


class Store:
    """The folder of executables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> bytes | None:
        """Return what is kept under a key; None if nothing is, or it is not whole."""
        file = self.folder / (key + ENDING)
        try:
            if not self._is_private():
                return None
            written = file.read_bytes()
        except OSError:
            return None
        checksum, packed = written[:DIGEST_SIZE], written[DIGEST_SIZE:]
        with contextlib.suppress(OSError):
            if hashlib.sha256(packed).digest() == checksum:
                os.utime(file)
                return zlib.decompress(packed)
            file.unlink()
        return None

    def write(self, key: str, make: Callable[[], bytes | None]) -> None:
        """Keep what ``make`` returns under a key, in the background; a full or read-only disk keeps nothing."""
        _writer().submit(self._write, key, make)

    def _write(self, key: str, make: Callable[[], bytes | None]) -> None:
        content = make()
        if content is None:
            return
        packed = zlib.compress(content, COMPRESSION)
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_private():
                return
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".partial")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(packed).digest() + packed)
                os.replace(name, self.folder / (key + ENDING))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._shrink()

    def contents(self) -> Contents:
        """Count the programs and their bytes."""
        sizes = [size for _, size, _ in self._files(ENDING)]
        return Contents(self.folder, len(sizes), sum(sizes))

    def clear(self) -> None:
        """Remove all programs."""
        for _, _, file in [*self._files(ENDING), *self._files(".partial")]:
            file.unlink(missing_ok=True)

    def _shrink(self) -> None:
        """Remove the programs used least recently until the rest is small enough, and what was left half written."""
        files = sorted(self._files(ENDING), reverse=True)
        kept = 0
        for _, size, file in files:
            kept += size
            if kept > MAX_BYTES:
                file.unlink(missing_ok=True)
        for used, _, file in self._files(".partial"):
            if time.time() - used > STALE_SECONDS:
                file.unlink(missing_ok=True)

    def _files(self, ending: str) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of the files with an ending."""
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                if entry.name.endswith(ending):
                    with contextlib.suppress(OSError):  # removed by another process in between
                        about = entry.stat()
                        found.append((about.st_mtime, about.st_size, Path(entry.path)))
        return found

    @property
    def trouble(self) -> str:
        """Why nothing is kept in the folder, empty if it is or will be."""
        try:
            if not self.folder.exists():
                parent = next(folder for folder in self.folder.absolute().parents if folder.exists())
                return "" if os.access(parent, os.W_OK) else f"{parent} cannot be written to"
            if not self.folder.is_dir():
                return "it is a file"
            if not self._is_private():
                return "others can write to it, and a program is code: chmod 700"
            return "" if os.access(self.folder, os.W_OK) else "it cannot be written to"
        except OSError as error:
            return str(error)

    def _is_private(self) -> bool:
        """Return whether nobody but the user can write to the folder."""
        if not hasattr(os, "getuid"):
            return True
        about = self.folder.stat()
        return about.st_uid == os.getuid() and not about.st_mode & 0o022


def store() -> Store | None:
    """Return the store of this user; None where it is switched off."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        folder = platformdirs.user_cache_dir("jaxlmm", appauthor=False)
    return Store(Path(folder).expanduser()) if folder else None


@functools.cache
def _writer() -> ThreadPoolExecutor:
    """Return the thread that writes; a process that ends waits for it."""
    return ThreadPoolExecutor(1, thread_name_prefix="jaxlmm-store")
