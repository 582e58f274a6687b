"""R's names of contrasts. Imports formulaic: import this module where it is used."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from formulaic.transforms.contrasts import (
    UNSET,
    Contrasts,
    CustomContrasts,
    DiffContrasts,
    HelmertContrasts,
    PolyContrasts,
    SASContrasts,
    SumContrasts,
    TreatmentContrasts,
)

from jaxlmm.errors import DataError, FormulaError
from jaxlmm.formula.functions import level_among, said


class NamedContrasts(NamedTuple):
    """Contrasts by R's name: ``contr.sum``, or called with the number of levels, ``contr.treatment(3, base=2)``.

    Called without that number, they take formulaic's arguments: ``contr.treatment("b")``.
    """

    name: str
    kind: type[Contrasts]
    n: int | None = None
    options: Mapping[str, Any] = {}

    def __call__(self, *given: Any, **options: Any) -> NamedContrasts | Contrasts:
        """Return the contrasts with R's arguments, or formulaic's."""
        levels: Any = given[0] if given else None
        counted = isinstance(levels, (int, float)) and not isinstance(levels, bool)
        if counted or (isinstance(levels, (list, tuple)) and self.kind is not PolyContrasts):
            if len(given) > 1:
                options = {"base": given[1], **options}
            return self._replace(n=levels if counted else len(levels), options=options)
        return self.kind(*given, **options)

    def of(self, levels: Sequence[Hashable]) -> Contrasts:
        """Return the contrasts of these levels.

        Raises
        ------
        DataError
            If they are for another number of levels, or there is no level of the number ``base``.
        """
        if self.n is not None and self.n != len(levels):
            raise DataError(
                f"expected contrasts for the {len(levels)} levels {said(levels)}, got {self.name}({self.n})."
            )
        options = dict(self.options)
        if "base" in options:
            base = options["base"]
            if base not in range(1, len(levels) + 1):
                raise DataError(
                    f"expected base= as the number of a level, from 1 to {len(levels)}, got {base!r}; "
                    f"Treatment({levels[0]!r}) takes the level itself."
                )
            options["base"] = levels[int(base) - 1]
        try:
            return self.kind(**options)
        except TypeError:
            listed = ", ".join(f"{option}=" for option in options)
            raise DataError(f"{self.name} does not take {listed}.") from None


BY_NAME = {
    f"contr.{name}": NamedContrasts(f"contr.{name}", kind)
    for name, kind in {
        "treatment": TreatmentContrasts,
        "SAS": SASContrasts,
        "sum": SumContrasts,
        "helmert": HelmertContrasts,
        "poly": PolyContrasts,
        "diff": DiffContrasts,
    }.items()
}
"""As R's ``C(f, "contr.sum")`` names them; ``diff`` is formulaic's."""

CONTR = SimpleNamespace(
    **{name.removeprefix("contr."): contrasts for name, contrasts in BY_NAME.items()}, custom=CustomContrasts
)
"""What ``contr`` is in a formula."""


def contrasts_of(given: Any, options: Mapping[str, Any], levels: Sequence[Hashable]) -> Any:
    """Return what ``C(f, given, **options)`` asks for as formulaic takes it.

    Raises
    ------
    DataError
        If there are no such contrasts.
    FormulaError
        If the reference is no level.
    """
    found = BY_NAME.get(given, given) if isinstance(given, str) else given
    if isinstance(found, NamedContrasts):
        return (found._replace(n=len(levels), options=options) if options else found).of(levels)
    if isinstance(found, TreatmentContrasts | SASContrasts) and found.base is not UNSET:
        try:
            found = dataclasses.replace(found, base=level_among(levels, found.base))
        except DataError as error:
            raise FormulaError(str(error)) from error
    is_kind = isinstance(found, type) and issubclass(found, Contrasts)
    if options or not (is_kind or isinstance(found, (Contrasts, dict, list, tuple, np.ndarray))):
        what = f"the arguments {', '.join(options)}" if options else repr(given)
        raise DataError(f"expected {', '.join(BY_NAME)}, Treatment({levels[0]!r}), or a matrix as rows; got {what}.")
    return found
