"""Tasks of an executor: anything that has the ``submit`` of :mod:`concurrent.futures`."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxlmm.errors import JaxlmmError, OptionError, WorkerError

SHORTEST_WAIT, LONGEST_WAIT = 0.005, 0.25
"""Seconds between two looks at the tasks; each look at which none has ended doubles them."""

MOST_ATTEMPTS = 2
"""How often a task is submitted before it is given up."""


def check_executor(executor: Any) -> None:
    """Raise unless an executor can run tasks.

    Raises
    ------
    OptionError
        If it has no ``submit``, or its processes are forked: JAX hangs in the fork of a process in which it has run.
    """
    if not callable(getattr(executor, "submit", None)):
        raise OptionError(
            "executor: expected an object with the submit of concurrent.futures, as a ProcessPoolExecutor or a "
            f"dask.distributed.Client, got {type(executor).__name__}."
        )
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise OptionError(
                "executor: expected processes that are started anew, since JAX hangs in forked ones; write "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )


def in_workers(
    executor: Any, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], advice: str
) -> Iterator[tuple[int, Any]]:
    """Call a function of a module with the arguments of each task, in the workers of an executor.

    A task that fails, as it does when its worker dies, is submitted once more. An error of this package is raised at
    once: it would come again.

    Parameters
    ----------
    executor
        Has ``submit(function, *arguments)``, which returns an object with ``done()`` and ``result()``.
    function, tasks
        The function, and its arguments in each task.
    advice
        What to do when tasks were given up, for the error.

    Yields
    ------
    number, result
        The place of a task among the ``tasks``, and what the function returned, in the order in which tasks end.

    Raises
    ------
    WorkerError
        If tasks were given up; raised when all others have ended.
    """
    waiting: dict[Any, tuple[int, int]] = {}  # number and attempt, by the executor's handle of a task
    given_up: dict[int, BaseException] = {}

    def submit(number: int, attempt: int) -> None:
        try:
            # The token is new each time: dask gives the same result, or the same error, to equal calls.
            future = executor.submit(_called, uuid.uuid4().hex, function, tasks[number])
        except Exception as error:  # whatever a broken or closed executor raises
            given_up.setdefault(number, error)
        else:
            waiting[future] = number, attempt

    try:
        for number in range(len(tasks)):
            submit(number, 1)
        wait = SHORTEST_WAIT
        while waiting:
            ended = [future for future in waiting if future.done()]
            if not ended:
                time.sleep(wait)
                wait = min(2.0 * wait, LONGEST_WAIT)
                continue
            wait = SHORTEST_WAIT
            for future in ended:
                number, attempt = waiting.pop(future)
                try:
                    result = future.result()
                except JaxlmmError:
                    raise
                except Exception as error:  # the worker's, or that it died
                    if attempt < MOST_ATTEMPTS:
                        submit(number, attempt + 1)
                    else:
                        given_up[number] = error
                else:
                    yield number, result
    finally:
        for future in waiting:
            with contextlib.suppress(Exception):
                future.cancel()
    if given_up:
        first = next(iter(given_up.values()))
        raise WorkerError(
            f"executor: expected workers that finish their work, got {len(given_up)} of {len(tasks)} tasks that none "
            f"finished: {type(first).__name__}: {first}. {advice}"
        ) from first


def _called(token: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return the value of a function; the ``token`` tells one attempt from another."""
    return function(*arguments)
