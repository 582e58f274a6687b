"""Writing files: each is there as a whole or not at all, and what is in the way is said in words."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import uuid
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from jaxlmm._util.processes import has_ended
from jaxlmm.errors import JaxlmmError, OutputError

HINTS = {
    errno.ENOSPC: "make room there, or write elsewhere",
    errno.EFBIG: "raise the limit on the size of files, or write elsewhere",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "name a place in a folder",
    errno.EISDIR: "name a file in it",
}
"""What to do, by what is wrong; elsewhere one is told to write to another place."""

PARTIAL = ".partial-"
"""How names of files begin that are being written; host and process follow."""

PARTIAL_NAME = re.compile(rf"{re.escape(PARTIAL)}(?P<host>.*)-(?P<process>\d+)-[0-9a-f]{{32}}-")
"""The names of files that are being written."""

READ = 2**22
"""Bytes that are read at once to be summed up."""


def write_whole(path: str | PathLike[str], write: Callable[[Path], Any]) -> None:
    """Write a file so that whatever happens, under its name is all of it or what was there before.

    Parameters
    ----------
    path
        The file; an existing one is replaced when the new one is complete and on the disk. A link stays one: what it
        points to is replaced. What is no regular file, such as a pipe or ``/dev/stdout``, is written to directly.
    write
        Writes to the path that it is given, in the same folder and with the same ending.

    Raises
    ------
    OutputError
        If it cannot be written; then nothing of it is left.
    """
    with writing(path):
        target, aside = _places(path)
        if _is_direct(path, target):
            write(Path(path))
            return
        try:
            write(aside)
            _onto_disk(aside)
            with contextlib.suppress(OSError):
                aside.chmod(target.stat().st_mode & 0o7777)
            os.replace(aside, target)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            _onto_disk(target.parent)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write a text as UTF-8, as :func:`write_whole` does."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def writing(path: str | PathLike[str]) -> Iterator[None]:
    """Say of what the system refuses that it was about this place.

    Raises
    ------
    OutputError
        In place of any ``OSError``.
    """
    try:
        yield
    except JaxlmmError:
        raise
    except OSError as error:
        hint = HINTS.get(error.errno or 0, "write to another place")
        said = os.strerror(error.errno) if error.errno else str(error).splitlines()[0].rstrip(".")
        raise OutputError(f"{os.fspath(path)}: cannot be written: {said}; {hint}.", error.errno) from error


def check_writable(path: str | PathLike[str]) -> None:
    """Find out, before there is anything to write, whether a file can be written; nothing is left of the trial.

    Raises
    ------
    OutputError
        If not.
    """
    with writing(path):
        target, aside = _places(path)
        if _is_direct(path, target):
            return
        try:
            aside.touch()
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """Return the BLAKE2 digest of a file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while part := file.read(READ):
            digest.update(part)
    return digest.hexdigest()


def _places(path: str | PathLike[str]) -> tuple[Path, Path]:
    """Return the file that a path stands for, if it can be written, and where it is written before it is complete."""
    target = Path(os.path.realpath(path))
    wrong = errno.EISDIR if target.is_dir() else 0
    if target.exists() and not os.access(target, os.W_OK):
        wrong = errno.EACCES
    if not target.parent.is_dir():
        wrong = errno.ENOTDIR if any(folder.is_file() for folder in target.parents) else errno.ENOENT
    if wrong:
        raise OSError(wrong, os.strerror(wrong))
    return target, target.with_name(partial_name(target.name))


def partial_name(name: str) -> str:
    """Return a name under which this process writes a file, no other process's, before it is complete."""
    return f"{PARTIAL}{platform.node()}-{os.getpid()}-{uuid.uuid4().hex}-{name}"


def left_by_an_ended_process(path: Path) -> bool:
    """Return whether a file was being written by a process of this machine that has ended.

    >>> left_by_an_ended_process(Path(partial_name("a.txt")))
    False
    """
    found = PARTIAL_NAME.match(path.name)
    return found is not None and found["host"] == platform.node() and has_ended(int(found["process"]))


def _is_direct(path: str | PathLike[str], target: Path) -> bool:
    """Whether nothing can be put in the place of a path: a pipe, a device, or what a process has open."""
    place = os.path.abspath(path)
    return target.exists() and (not target.is_file() or place.startswith(("/proc/", "/dev/fd/", "/dev/std")))


def _onto_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # not every file system and every folder knows this
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)
