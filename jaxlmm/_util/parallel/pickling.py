"""Pickles for other processes; what ``pickle`` refuses, as the local functions of optax, is left to cloudpickle."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from typing import Any, Self

from jaxlmm.errors import OptionError


class Lost:
    """The optimizer of an unpickled fit if its pickle could not hold it; printed in errors that ask for another one."""

    def __repr__(self) -> str:
        return (
            "one that the pickle could not hold, since it is made of local functions (with cloudpickle installed it "
            "can; or give optimizer= again)"
        )


class Picklable:
    """A holder that pickles its ``value`` as it is, else by ``cloudpickle``, else as :class:`Lost`.

    A copy in the same process has the value itself.

    >>> pickle.loads(pickle.dumps(Picklable("newton"))).value
    'newton'
    >>> import copy
    >>> copy.deepcopy(Picklable(local := lambda x: x)).value is local
    True
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        try:
            pickle.dumps(self.value)
        except (pickle.PicklingError, AttributeError, TypeError):
            pass
        else:
            return Picklable, (self.value,)
        try:
            return _unpacked, (importlib.import_module("cloudpickle").dumps(self.value),)
        except ImportError:
            return Picklable, (Lost(),)


def _unpacked(content: bytes) -> Picklable:
    return Picklable(pickle.loads(content))


def pickled(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Return an object as a pickle: by cloudpickle if it is installed, which sends what a notebook defines too.

    Raises
    ------
    OptionError
        If it holds something that cannot be sent.
    """
    try:
        dumps = importlib.import_module("cloudpickle").dumps
    except ModuleNotFoundError:
        dumps = pickle.dumps
    try:
        content: bytes = dumps(value, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=buffer_callback)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise OptionError(
            f"executor: expected a model and data that can be sent to other processes, got one that cannot: {error}. "
            "Classes and functions that a notebook defines are sent where cloudpickle is installed."
        ) from error
    return content
