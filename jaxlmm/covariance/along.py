"""A structure with the positions that it acts along, for residuals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jaxlmm.covariance.base import AbstractCovariance


class Along(NamedTuple):
    """A structure along the positions ``"time | group"``: what :meth:`AbstractCovariance.along` returns."""

    structure: AbstractCovariance
    text: str


class AlongMethod:
    """``along("time | group")``, called on a structure or on its class, of which it then makes an object."""

    def __get__(self, structure: AbstractCovariance | None, cls: type[AbstractCovariance]) -> Callable[[str], Along]:
        """Return the function of the text."""

        def along(text: str) -> Along:
            return Along(cls() if structure is None else structure, text)

        return along
