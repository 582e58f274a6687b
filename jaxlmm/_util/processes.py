"""Whether a process of this machine still runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

ENDED_STATES = "ZX"
"""States, in /proc, of a process that has ended and is still listed."""


def started(process: int) -> str | None:
    """Return the start time of a process of this machine, as the system writes it.

    It tells a process from a later one that was given the same number. Nothing (``""``) where there is no such process,
    None where the system does not tell.

    >>> import os
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


def has_ended(process: int) -> bool:
    """Return whether there is no process of this number on this machine; False where the system does not tell.

    >>> import os
    >>> has_ended(os.getpid())
    False
    """
    return started(process) == ""
