"""The device that computes, and those among which responses are spread."""

from __future__ import annotations

import jax
import numpy as np


def chosen_device() -> jax.Device | None:
    """Return the device that ``jax.default_device`` names; None where the caller has named none."""
    named = getattr(jax.config, "jax_default_device", None)
    return jax.local_devices(backend=named)[0] if isinstance(named, str) else named


def default_device() -> jax.Device:
    """Return the device that computes: the one that is named, else JAX's first."""
    return chosen_device() or jax.local_devices()[0]


def mesh_of_devices() -> jax.sharding.Mesh | None:
    """Return the devices among which responses are spread; None where there is one, or one is named."""
    devices = jax.local_devices()
    if len(devices) == 1 or chosen_device() is not None:
        return None
    return jax.sharding.Mesh(np.array(devices), ("responses",))


def memory_of_accelerator() -> int | None:
    """Return the bytes of memory that the device grants; None for a CPU, and where it does not say."""
    device = default_device()
    stats = None if device.platform == "cpu" else device.memory_stats()
    return None if stats is None else stats.get("bytes_limit")
