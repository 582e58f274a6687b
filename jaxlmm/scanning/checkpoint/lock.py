"""The locks of a scan's folder: files that name the processes at work; that of an ended process is removed.

One process has the lock of the whole folder, or several have one of a share each, and at the end that of the whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path

from jaxlmm._util import partial_name, started, writing
from jaxlmm.errors import ResumeError
from jaxlmm.scanning.checkpoint.share import Share

LOCK = "scan.lock"
"""The file that names the process at work in the whole folder."""

FINISHING = "finishing.lock"
"""The file that names the process that puts shares together, while others may begin that have nothing to do."""

LOCKS = "*.lock"
"""A pattern of the names of all locks."""


@contextlib.contextmanager
def locked(folder: Path, share: Share | None = None) -> Iterator[None]:
    """Lock a folder, or a share of it, for this process.

    Raises
    ------
    ResumeError
        If another process is at work there, or it is not known whether it still is.
    OutputError
        If nothing can be written there.
    """
    with _holding(folder, _name_of(share), share):
        with writing(folder):
            others = [folder / LOCK] if share is not None else folder.glob(LOCKS)
            for other in others:
                if other.name != _name_of(share):
                    _remove(other, check_free(other))
        yield


@contextlib.contextmanager
def finishing(folder: Path) -> Iterator[bool]:
    """Lock a folder for the process that puts its shares together; yield whether it may, since no other one does."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_holding(folder, FINISHING, None))
        except ResumeError:
            held = False
        else:
            held = True
        yield held


@contextlib.contextmanager
def _holding(folder: Path, name: str, share: Share | None) -> Iterator[None]:
    """Hold one lock."""
    path, process = folder / name, os.getpid()
    text = json.dumps(
        {"host": platform.node(), "process": process, "started": started(process), "token": uuid.uuid4().hex}
    )
    with writing(folder):
        while not _created(path, text):
            _remove(path, check_free(path, share))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == text:
                path.unlink()


def check_folder(folder: Path, share: Share | None = None) -> None:
    """Raise if a process is at work in a folder, or in its share and in the whole of it.

    Raises
    ------
    ResumeError
        If it runs, or may still run, on this machine or another one.
    OutputError
        If a lock cannot be read.
    """
    for path in sorted(folder.glob(LOCKS)) if share is None else [folder / LOCK, folder / _name_of(share)]:
        check_free(path, share if path.name != LOCK else None)


def check_free(path: Path, share: Share | None = None) -> str:
    """Raise if the process that a lock names is at work; return the text of one that an ended process left, else "".

    That of a ``share`` is taken from a process of another machine: a job that is started again elsewhere has ended.

    Raises
    ------
    ResumeError
        If it runs, or may still run, on this machine or another one.
    OutputError
        If the lock cannot be read.
    """
    folder = path.parent
    with writing(path):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""
    try:
        owner = json.loads(text)
        host, process, since = str(owner["host"]), int(owner["process"]), str(owner["started"] or "")
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"out: {path} says that a process is at work in {folder}, but not which ({error}). If none is, delete that "
            "file."
        ) from error
    wait = f"wait for it, or scan into another folder; if it no longer runs, delete {path}."
    if host != platform.node():
        if share is not None:
            return text
        raise ResumeError(
            f"out: process {process} on {host} is at work in {folder}, or was when it was stopped: {wait}"
        )
    now = started(process)
    if since and now == since:
        raise ResumeError(f"out: process {process} on this machine is at work in {folder}: {wait}")
    if now is None or not since:
        raise ResumeError(f"out: process {process} on this machine was at work in {folder}, and may still be: {wait}")
    return text


def _name_of(share: Share | None) -> str:
    """Return the name of the lock of a share, or of the whole."""
    return LOCK if share is None else f"scan-{share.index}-of-{share.count}.lock"


def _created(path: Path, text: str) -> bool:
    """Create the file, as a whole or not at all, and return whether it was; not if there is one."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:  # such as that the disk is full
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return True


def _remove(path: Path, text: str) -> None:
    """Remove the lock of an ended process, but not one that another process has written meanwhile."""
    if not text:
        return
    aside = path.with_name(partial_name(path.name))
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if aside.read_text(encoding="utf-8") != text:
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink()
