"""Whether one model is nested in another, and the distribution of their likelihood ratio if the smaller is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import RESIDUAL_SD, AbstractCovariance, Parameter, Unstructured
from jaxlmm.families import ZERO_PART
from jaxlmm.formula import ModelFrame
from jaxlmm.formula.groups import KnownMatrix, LevelStructure
from jaxlmm.model import Design
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.hypotheses import nesting

MAX_OFF_SPACE = 1e-7
"""Share of a column's length that may lie off the columns of another model, by rounding."""

NOT_NESTED, NOT_KNOWN = "not nested", "not known"
"""Names of null distributions that are none: without a test, and of a statistic whose distribution nobody knows, as
where coefficients of a zero part mean nothing in the smaller model."""


class NullDistribution(NamedTuple):
    """The distribution of a likelihood ratio where the smaller model is true: a mixture of chi-squared ones.

    ``name`` says it in words; ``weights`` are those of ``degrees`` of freedom, none where models are not nested, or no
    distribution is known.
    """

    name: str
    degrees: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def nested(self) -> bool:
        """Whether the models are nested, so that there is a statistic."""
        return self.name != NOT_NESTED

    def tail(self, statistic: float) -> float:
        """Return the probability of a larger statistic; one of at most 0 has 1."""
        if not self.degrees or not np.isfinite(statistic):
            return float("nan")
        if statistic <= 0.0:
            return 1.0
        parts = (
            weight * (scipy.special.chdtrc(df, statistic) if df else 0.0)
            for df, weight in zip(self.degrees, self.weights, strict=True)
        )
        return float(sum(parts))


def tested_against(null: NullDistribution, smaller: Fitted, larger: Fitted) -> dict[str, float | str]:
    """Return the columns of a likelihood-ratio test; NaN where models are not nested, or an optimum is not proven."""
    usable = null.nested and smaller.estimates.proven and larger.estimates.proven
    statistic = smaller.deviance - larger.deviance if usable else np.nan
    return {
        "statistic": statistic,
        "df": float(larger.n_params - smaller.n_params) if null.nested else np.nan,
        "p_value": null.tail(statistic),
        "null_distribution": null.name,
    }


class Parts(NamedTuple):
    """What decides whether models are nested: free natural parameters, those ``held`` by name, columns of X, number of
    parameters, what relates the levels ``across`` each group, the structures ``along`` positions by group, and the
    ``design``.
    """

    natural: tuple[Parameter, ...]
    held: dict[str, float]
    x: Float[NumpyArray, "n p"]
    n_params: int
    across: Mapping[str, KnownMatrix | LevelStructure]
    along: Mapping[str, AbstractCovariance]
    design: Design

    @classmethod
    def of(cls, fit: Fitted) -> Parts:
        """Return the parts of a fit."""
        estimates = fit.estimates
        given = np.where(estimates.fixed, estimates.report, np.nan)
        return cls.from_frame(fit.frame, given, fit.n_params)

    @classmethod
    def from_frame(cls, frame: ModelFrame, given: Float[NumpyArray, " r"], n_params: int) -> Parts:
        """Return the parts of a model, some of whose natural parameters are ``given``, the others NaN."""
        natural = frame.labels.natural
        free = tuple(p for p, value in zip(natural, given, strict=True) if np.isnan(value))
        held = {p.name: float(value) for p, value in zip(natural, given, strict=True) if not np.isnan(value)}
        design, labels = frame.design, frame.labels
        pairs = zip(design.terms, labels.terms, strict=True)
        along = {label.group: term.structure for term, label in pairs if term.over_positions}
        if design.residual is not None:
            along[RESIDUAL_SD.group] = design.residual.structure
        return cls(free, held, frame.x, n_params, frame.level_covariances, along, design)

    def nested_in(self, larger: Parts) -> bool:
        """Whether all that this model can be the larger one can be too."""
        names = {parameter.name for parameter in larger.natural}
        by_structure = self.residual_is_special_case_of(larger)
        if not nesting.family_is_special_case(self.design.distribution, larger.design.distribution):
            return False
        without_names = ({RESIDUAL_SD.group} if by_structure else set()) | self.zero_part & larger.zero_part
        own = [p for p in self.natural if p.group not in without_names]
        free = {parameter.name for parameter in own} <= names
        same = all(self.held.get(name) == value for name, value in larger.held.items())
        # Parameters of one name mean different things in different structures, as the range of two kernels.
        pairs = [(self.along[group], larger.along[group]) for group in self.along.keys() & larger.along.keys()]
        same = same and all(type(one) is type(other) or nesting.is_special_case(one, other) for one, other in pairs)
        shared = {parameter.group for parameter in self.natural} & {parameter.group for parameter in larger.natural}
        related = all(_relates_alike(self.across.get(group), larger.across.get(group)) for group in shared)
        return free and same and related and within(self.x, larger.x)

    @property
    def zero_part(self) -> set[str]:
        """The group of the parameters of a zero part, if there is one; columns tell which of two is the larger one."""
        return {ZERO_PART} & {parameter.group for parameter in self.natural}

    def residual_is_special_case_of(self, larger: Parts) -> bool:
        """Whether the residual structures say that the residual of this model is a special case, without names.

        None of its parameters is held, and the positions are the same, in an unstructured covariance in number alone.
        """
        residual, general = self.design.residual, larger.design.residual
        held = any(name.startswith(f"{RESIDUAL_SD.group}: ") for name in larger.held)
        dispersed = self.design.dispersion is not None or larger.design.dispersion is not None
        if general is None or held or dispersed:
            return False
        if residual is None:
            return nesting.is_special_case(None, general.structure)
        q = min(residual.size, general.size)
        pairs = [(np.asarray(residual.positions) % q, np.asarray(general.positions) % q)]
        one, other = self.design.groupings[residual.grouping], larger.design.groupings[general.grouping]
        pairs.append((np.asarray(one.codes), np.asarray(other.codes)))
        if type(general.structure) is not Unstructured:
            pairs.append((np.asarray(residual.coords)[:, :q], np.asarray(general.coords)[:, :q]))
        same = all(np.array_equal(*pair) for pair in pairs)
        return same and nesting.is_special_case(residual.structure, general.structure)


def null_distribution(smaller: Parts, larger: Parts) -> NullDistribution:
    """Return the null distribution of the likelihood ratio of two models of the same data."""
    df = larger.n_params - smaller.n_params
    if df <= 0 or not smaller.nested_in(larger):
        return NullDistribution(NOT_NESTED, (), ())
    names = {parameter.name for parameter in smaller.natural}
    if nesting.has_zero_columns(larger.design.distribution) and not smaller.zero_part:
        return NullDistribution(NOT_KNOWN, (), ())
    more = [parameter for parameter in larger.natural if parameter.name not in names]
    if smaller.residual_is_special_case_of(larger):  # inside the space of the larger structure
        more = [parameter for parameter in more if parameter.group != RESIDUAL_SD.group]
    more = [parameter for parameter in more if parameter.group not in smaller.zero_part]
    # What is held strictly inside its range is no boundary.
    inside = {p.name for p in more if p.name in smaller.held and not p.at_end(smaller.held[p.name])}
    free = [parameter for parameter in more if parameter.name not in inside]
    variances = [parameter for parameter in free if parameter.is_sd or nesting.can_be_zero(parameter)]
    others = [parameter for parameter in free if parameter not in variances]
    if not variances:
        return NullDistribution(f"chi2({df})", (df,), (1.0,))
    if len(variances) == 1 and all(parameter.is_correlation_of_columns for parameter in others):
        return NullDistribution(f"0.5 chi2({df - 1}) + 0.5 chi2({df})", (df - 1, df), (0.5, 0.5))
    return NullDistribution(f"chi2({df}), conservative", (df,), (1.0,))


def _relates_alike(one: KnownMatrix | LevelStructure | None, other: KnownMatrix | LevelStructure | None) -> bool:
    """Whether the levels of a group covary alike in two models."""
    if isinstance(one, KnownMatrix) and isinstance(other, KnownMatrix):
        first, second = one.relation.sparse(), other.relation.sparse()
        return first.shape == second.shape and abs(first - second).max() == 0.0
    return type(one) is type(other)


def within(x: Float[NumpyArray, "n p"], space: Float[NumpyArray, "n _"]) -> bool:
    """Whether the columns ``x`` are combinations of those of another model."""
    if x.shape[1] == 0:
        return True
    off = x - space @ np.linalg.lstsq(space, x, rcond=None)[0] if space.shape[1] else x
    return bool(np.all(np.linalg.norm(off, axis=0) <= MAX_OFF_SPACE * np.linalg.norm(x, axis=0)))
