"""One process at a time in a scan's folder: a file names the one that is at work, and a dead one holds nothing."""

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
"""The file that says who is at work."""

DEAD = "ZX"
"""States of a process that has ended and is still listed."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    Raises
    ------
    ResumeError
        If another process is at work there, or it is not known whether it still is.
    OutputError
        If nothing can be written there.
    """
    path, process = folder / LOCK, os.getpid()
    mine = json.dumps(
        {"host": platform.node(), "process": process, "started": started(process), "token": uuid.uuid4().hex}
    )
    with writing(folder):
        while not _made(path, mine):
            _taken_away(path, check_free(folder))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == mine:
                path.unlink()


def check_free(folder: Path) -> str:
    """Raise if a process is at work in a folder; return what one that has ended left there.

    Raises
    ------
    ResumeError
        If it runs, on this machine or, for all that is known, on another one.
    OutputError
        If the file that says so cannot be read.
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
    """Return when a process of this machine began, in some unit, so that another one of its number is told apart.

    Nothing (``""``) where there is no such process, None where the system does not tell.

    >>> started(os.getpid()) == started(os.getpid()), started(2**22 + 1)
    (True, '')
    """
    if Path("/proc/self/stat").exists():
        try:
            state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if state in DEAD else rest[18]  # fields 3 and 22 of proc(5)
    try:
        listed = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return listed.stdout.strip()


def _made(path: Path, text: str) -> bool:
    """Make the file, unless it is there; as a whole or not at all."""
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


def _taken_away(path: Path, text: str) -> None:
    """Take away the file of a process that has ended, but not one that somebody else has put there meanwhile."""
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
