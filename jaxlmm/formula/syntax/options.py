"""The options of a model beside its formula, in one frozen record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.errors import KinshipError, OptionError
from jaxlmm.families import AbstractFamily, Gaussian, ZeroInflated, family_of
from jaxlmm.formula.syntax.dispersion import dispersion_terms
from jaxlmm.formula.syntax.parse import Bar, residual_bar
from jaxlmm.formula.syntax.zeros import zero_terms
from jaxlmm.formula.tokens import Token


@dataclasses.dataclass(frozen=True, eq=False)
class ModelOptions:
    """Weights, offset, known matrices, structures and family of a model, checked as far as that needs no data.

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
    family, trials, quadrature, zero_inflated
        The distribution of the response, as in :func:`jaxlmm.fit`.

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
    family: str | AbstractFamily = "gaussian"
    trials: str | Sequence[float] | None = None
    quadrature: int = 1
    zero_inflated: str | None = None

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
        _ = self.residual_bar, self.dispersion_terms, self.zero_terms
        self._check_family()

    def _check_family(self) -> None:
        family, name = self.row_family, self.family if isinstance(self.family, str) else type(self.family).__name__
        nodes = self.quadrature
        if not isinstance(nodes, int | np.integer) or isinstance(nodes, bool) or nodes < 1:
            raise OptionError(f"quadrature: expected a whole number of nodes, 1 or more, got {nodes!r}.")
        if family is None and nodes != 1:
            raise OptionError("quadrature: a linear mixed model has no integral to approximate; leave it out.")
        if self.trials is not None and not self.has_trials:
            raise OptionError(f"trials: expected a family of successes among trials, 'binomial', got {name!r}.")
        if self.zero_inflated is not None:
            if family is None:
                raise OptionError(f"zero_inflated: expected a family of counts or positive numbers, got {name!r}.")
            ZeroInflated(family)  # raises where a family has no zeros to inflate
        for option in ("residual", "dispersion"):
            if family is not None and getattr(self, option) is not None:
                raise OptionError(
                    f"{option}: the residual of a linear mixed model has one, and family={name!r} has no residual; "
                    "leave it out."
                )

    @property
    def has_trials(self) -> bool:
        """Whether the response is of successes among trials."""
        return self.row_family is not None and self.row_family.has_trials

    @property
    def row_family(self) -> AbstractFamily | None:
        """The family of a generalized model, None of a linear mixed model."""
        family = family_of(self.family)
        return None if isinstance(family, Gaussian) and family.link == "identity" else family

    @property
    def residual_bar(self) -> Bar | None:
        """The residual structure, parsed."""
        return None if self.residual is None else residual_bar(self.residual)

    @property
    def zero_terms(self) -> tuple[Token, ...]:
        """The terms of the zero part, none without one."""
        return () if self.zero_inflated is None else zero_terms(self.zero_inflated)

    @property
    def dispersion_terms(self) -> tuple[Token, ...]:
        """The terms of the model of dispersion, none without one."""
        return () if self.dispersion is None else dispersion_terms(self.dispersion)
