"""Contrasts by R's names. Imports formulaic, which is slow: imported where it is used."""

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
from jaxlmm.formula.functions import level_among, listed


class NamedContrasts(NamedTuple):
    """Contrasts by R's name: ``contr.sum``, or called with the number ``n`` of levels, ``contr.treatment(3, base=2)``.

    Called without that number, they take formulaic's arguments: ``contr.treatment("b")``.
    """

    name: str
    kind: type[Contrasts]
    n: int | None = None
    options: Mapping[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> NamedContrasts | Contrasts:
        """Return the contrasts with R's arguments, or formulaic's."""
        levels: Any = arguments[0] if arguments else None
        counted = isinstance(levels, (int, float)) and not isinstance(levels, bool)
        if counted or (isinstance(levels, (list, tuple)) and self.kind is not PolyContrasts):
            if len(arguments) > 1:
                options = {"base": arguments[1], **options}
            return self._replace(n=levels if counted else len(levels), options=options)
        return self.kind(*arguments, **options)

    def of(self, levels: Sequence[Hashable]) -> Contrasts:
        """Return the contrasts of these levels.

        Raises
        ------
        DataError
            If they are for another number of levels, or there is no level of the number ``base``.
        """
        if self.n is not None and self.n != len(levels):
            raise DataError(
                f"expected contrasts for the {len(levels)} levels {listed(levels)}, got {self.name}({self.n})."
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
            names = ", ".join(f"{option}=" for option in options)
            raise DataError(f"{self.name} does not take {names}.") from None


CONTRASTS_BY_NAME = {
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
"""Contrasts by their names in R's ``C(f, "contr.sum")``; ``diff`` is formulaic's."""

CONTR = SimpleNamespace(
    **{name.removeprefix("contr."): contrasts for name, contrasts in CONTRASTS_BY_NAME.items()}, custom=CustomContrasts
)
"""The namespace ``contr`` of formulas, as in ``contr.sum``."""


def contrasts_of(spec: Any, options: Mapping[str, Any], levels: Sequence[Hashable]) -> Any:
    """Return the contrasts of ``C(f, spec, **options)``, for a factor with these levels, as formulaic takes them.

    Raises
    ------
    DataError
        If there are no such contrasts.
    FormulaError
        If the reference is no level.
    """
    contrasts = CONTRASTS_BY_NAME.get(spec, spec) if isinstance(spec, str) else spec
    if isinstance(contrasts, NamedContrasts):
        return (contrasts._replace(n=len(levels), options=options) if options else contrasts).of(levels)
    if isinstance(contrasts, TreatmentContrasts | SASContrasts) and contrasts.base is not UNSET:
        try:
            contrasts = dataclasses.replace(contrasts, base=level_among(levels, contrasts.base))
        except DataError as error:
            raise FormulaError(str(error)) from error
    is_kind = isinstance(contrasts, type) and issubclass(contrasts, Contrasts)
    if options or not (is_kind or isinstance(contrasts, (Contrasts, dict, list, tuple, np.ndarray))):
        names, got = ", ".join(CONTRASTS_BY_NAME), f"the arguments {', '.join(options)}" if options else repr(spec)
        raise DataError(f"expected {names}, Treatment({levels[0]!r}), or a matrix as rows; got {got}.")
    return contrasts
