"""Many responses in other processes: each task is the model and some of the responses."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, in_double_precision, in_workers, pickled
from jaxlmm.results import Collector

TASKS = 64
"""The number of tasks where there are enough responses."""

FEWEST_RESPONSES, MOST_RESPONSES = 64, 4096
"""The fewest and the most responses of a task; their number is a multiple of the first, as that of a batch is."""

ADVICE = "Give a new executor, or none; if memory is short, fewer processes."
"""What to do when workers died."""


class _Present(threading.local):
    """The model that a thread is at, by its pickle."""

    content = b""
    model: Any = None

    def at(self, content: bytes) -> Any:
        """Return the model in a pickle, read unless it is the present one."""
        if self.content != content:
            self.content, self.model = content, pickle.loads(content)
        return self.model


_PRESENT = _Present()


def fit_in_workers(
    executor: Any,
    function: Callable[..., Collector],
    model: tuple[Any, ...],
    y: Float[NumpyArray, "n m"],
    collector: Collector,
    done: Callable[[int], None],
) -> None:
    """Fit responses in the workers of an executor; all end in the ``collector``.

    Parameters
    ----------
    function, model
        A function of a module, which takes the parts of the model and then responses, and returns what it collected.
    done
        Called with the number of responses that a task has dealt with.

    Raises
    ------
    WorkerError
        If workers died or failed twice at the same task.
    OptionError
        If the model holds something that cannot be sent.
    """
    share = min(max(-(-y.shape[1] // TASKS), FEWEST_RESPONSES), MOST_RESPONSES)
    size = -(-share // FEWEST_RESPONSES) * FEWEST_RESPONSES
    parts = [np.arange(first, min(first + size, y.shape[1])) for first in range(0, y.shape[1], size)]
    content = pickled((function, model))
    tasks = [(content, np.ascontiguousarray(y[:, part])) for part in parts]
    for number, (arrays, bases) in in_workers(executor, fit_task, tasks, ADVICE):
        collector.take(parts[number], arrays, bases)
        done(parts[number].size)


@in_double_precision
@np.errstate(all="ignore")
def fit_task(content: bytes, y: Float[NumpyArray, "n b"]) -> tuple[dict[str, Any], tuple[NumpyArray, ...]]:
    """Fit some responses; run by a worker. Returns the arrays of what was collected."""
    function, model = _PRESENT.at(content)
    collected = function(*model, y)
    return collected.arrays, collected.bases
