"""Optimizers in pickles: they are made of local functions, which ``pickle`` does not take."""

from __future__ import annotations

import importlib
import pickle
from typing import Any, Self


class Lost:
    """Stands for what a pickle could not hold."""

    def __repr__(self) -> str:
        return (
            "one that the pickle could not hold, since it is made of local functions (with cloudpickle installed it "
            "can; or give optimizer= again)"
        )


class Carried:
    """A value on its way into a pickle: as it is, its functions by value, or word that it is lost.

    A copy in the same process has the value itself.

    >>> pickle.loads(pickle.dumps(Carried("newton"))).value
    'newton'
    >>> import copy
    >>> copy.deepcopy(Carried(local := lambda x: x)).value is local
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
            return Carried, (self.value,)
        try:
            return _unpacked, (importlib.import_module("cloudpickle").dumps(self.value),)
        except ImportError:
            return Carried, (Lost(),)


def _unpacked(content: bytes) -> Carried:
    return Carried(pickle.loads(content))
