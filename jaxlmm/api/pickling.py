"""Optimizers in pickles: optax makes them of local functions, which ``pickle`` refuses."""

from __future__ import annotations

import importlib
import pickle
from typing import Any, Self


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
