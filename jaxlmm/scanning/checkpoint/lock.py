"""The lock of a scan's folder: a file that names the one process at work; that of an ended process is removed."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from jaxlmm._util import PARTIAL, writing
from jaxlmm.errors import ResumeError

LOCK = "scan.lock"
"""The file that names the process at work."""

ENDED_STATES = "ZX"
"""States, in /proc, of a process that has ended and is still listed."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process.

    Raises
    ------
    ResumeError
        If another process is at work there, or it is not known whether it still is.
    OutputError
        If nothing can be written there.
    """
    path, process = folder / LOCK, os.getpid()
    text = json.dumps(
        {"host": platform.node(), "process": process, "started": started(process), "token": uuid.uuid4().hex}
    )
    with writing(folder):
        while not _created(path, text):
            _remove(path, check_free(folder))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == text:
                path.unlink()


def check_free(folder: Path) -> str:
    """Raise if a process is at work in a folder; return the text of a lock that an ended one left, else ``""``.

    Raises
    ------
    ResumeError
        If it runs, or may still run, on this machine or another one.
    OutputError
        If the lock cannot be read.
    """
    path = folder / LOCK
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
        raise ResumeError(
            f"out: process {process} on {host} is at work in {folder}, or was when it was stopped: {wait}"
        )
    now = started(process)
    if since and now == since:
        raise ResumeError(f"out: process {process} on this machine is at work in {folder}: {wait}")
    if now is None or not since:
        raise ResumeError(f"out: process {process} on this machine was at work in {folder}, and may still be: {wait}")
    return text


def started(process: int) -> str | None:
    """Return the start time of a process of this machine, as the system writes it.

    It tells a process from a later one that was given the same number. Nothing (``""``) where there is no such process,
    None where the system does not tell.

    >>> started(os.getpid()) == started(os.getpid()), started(2**22 + 1)
    (True, '')
    """
    if Path("/proc/self/stat").exists():
        try:
            state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if state in ENDED_STATES else rest[18]  # fields 3 and 22 of proc(5)
    try:
        listed = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return listed.stdout.strip()


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
    aside = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if aside.read_text(encoding="utf-8") != text:
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink()
