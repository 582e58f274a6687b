"""The options of a model beside its formula, in one frozen record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.errors import KinshipError, OptionError
from jaxlmm.formula.syntax.dispersion import dispersion_terms
from jaxlmm.formula.syntax.parse import Bar, residual_bar
from jaxlmm.formula.tokens import Token


@dataclasses.dataclass(frozen=True, eq=False)
class ModelOptions:
    """Weights, offset, known matrices and structures of a model, checked as far as that needs no data.

    Parameters
    ----------
    weights, offset
        A column's name or one number per row of the data, as in :func:`jaxlmm.fit`.
    kinship
        ``{group: K}``, ``{group: [K1, K2]}`` or ``{group: {name: K}}``, known covariances across the levels of a group.
    covariance
        ``{group or bar: structure}``, a structure within the columns of a term.
    residual
        A residual structure as text, ``"ou(time | group)"``, or one's own, ``Structure().along("time | group")``.
    dispersion
        A formula of the residual's log standard deviation, ``"~ x + f"``.

    Raises
    ------
    KinshipError, OptionError, FormulaError
        If a mapping is none, or the residual structure or the model of dispersion cannot be read.

    Examples
    --------
    >>> ModelOptions(residual="ou(Days|Subject)").residual_bar.group_name
    'Subject'
    """

    weights: str | Sequence[float] | None = None
    offset: str | Sequence[float] | None = None
    kinship: Mapping[str, Any] | None = None
    covariance: Mapping[str, AbstractCovariance] | None = None
    residual: str | Along | None = None
    dispersion: str | None = None

    def __post_init__(self) -> None:
        if self.kinship is not None and not isinstance(self.kinship, Mapping):
            raise KinshipError(f"kinship: expected a dict from group to matrix, got {type(self.kinship).__name__}.")
        if self.covariance is not None and not isinstance(self.covariance, Mapping):
            raise OptionError(
                f"covariance: expected a dict from group to structure, got {type(self.covariance).__name__}; write "
                "covariance={'g': structure}."
            )
        for name in ("kinship", "covariance"):  # so that a dict that is changed later changes nothing here
            mapping = getattr(self, name)
            object.__setattr__(self, name, None if mapping is None else dict(mapping))
        _ = self.residual_bar, self.dispersion_terms

    @property
    def residual_bar(self) -> Bar | None:
        """The residual structure, parsed."""
        return None if self.residual is None else residual_bar(self.residual)

    @property
    def dispersion_terms(self) -> tuple[Token, ...]:
        """The terms of the model of dispersion, none without one."""
        return () if self.dispersion is None else dispersion_terms(self.dispersion)
