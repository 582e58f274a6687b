"""What compiled code depends on beside the function: this package, JAX, the compiler's flags, and the device."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from pathlib import Path

import jax
import jaxlib
import numpy as np

PACKAGE = Path(__file__).parents[2]


def compiler(device: jax.Device) -> tuple[str, ...]:
    """Return all that two processes must share to share compiled code for a device."""
    return *_software(), os.environ.get("XLA_FLAGS", ""), *_hardware(), *_of_device(device)


@functools.cache
def _software() -> tuple[str, ...]:
    """Return the versions of what is traced and of what compiles; of this package the digest of its source."""
    source = hashlib.blake2b(digest_size=16)
    for file in sorted(PACKAGE.rglob("*.py")):
        source.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return source.hexdigest(), sys.version, jax.__version__, jaxlib.__version__, np.__version__


@functools.cache
def _hardware() -> tuple[str, ...]:
    """Return the processor and its features: code for one with more of them crashes on one with fewer."""
    features = Path("/proc/cpuinfo")
    known = set()
    if features.exists():
        known = {
            line
            for line in features.read_text().splitlines()
            if line.startswith(("vendor_id", "cpu family", "model", "flags", "Features", "CPU "))
        }
    return platform.system(), platform.machine(), platform.processor(), *sorted(known)


@functools.cache
def _of_device(device: jax.Device) -> tuple[str, ...]:
    """Return the kind of a device and the version of its driver."""
    return device.platform, device.device_kind, device.client.platform_version, str(device.id)
