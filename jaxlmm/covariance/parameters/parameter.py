"""A natural parameter: what it is called, which values it can have, its unit, and the scale of its interval."""

from __future__ import annotations

import dataclasses
import numbers
from types import EllipsisType
from typing import Any, get_args

import numpy as np
import scipy
from jaxtyping import Bool, Float

from jaxlmm._util import Array, NumpyArray
from jaxlmm.covariance.parameters.kinds import KINDS, Kind, Unit
from jaxlmm.covariance.parameters.scales import SCALES, BoundedScale, ScaleName
from jaxlmm.errors import OptionError, choose


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Parameter:
    """A natural parameter of a covariance structure, as it is declared.

    The kind gives the defaults; a ``"number"`` has no bounds and no unit. Nothing is inferred from the label.

    Parameters
    ----------
    label
        Its name within its group, as tables print it. By default the kind's word, as ``sd``, or ``sd(x)`` with columns.
    kind
        ``"sd"``, a standard deviation in units of the response; ``"correlation"``; ``"proportion"``, strictly between 0
        and 1; ``"rate"``, positive, as a range or a decay; ``"loading"``, in units of the response; ``"power"``;
        ``"number"``, any other.
    columns
        The column, or for a correlation the pair of columns, that it belongs to, if any.
    lower, upper, attained
        The values that it can have: the bounds, infinite ones included, and whether it can be equal to each. ``start=``
        and ``fixed=`` are checked against them, and intervals end there.
    unit
        ``"response"`` if it changes with the unit of the response, None if it does not.
    scale
        The scale of its interval: ``"identity"``, ``"log"`` (of the distance from ``lower``), ``"fisher-z"`` or
        ``"logit"`` (of the place between ``lower`` and ``upper``).
    label_squared
        The name of a standard deviation's square, the variance; without one ``var`` or ``var(x)``.
    group
        The grouping factor; the model fills it in.

    Raises
    ------
    OptionError
        If a kind, unit or scale is not one of those, or the bounds contradict each other, the kind or the scale.

    Examples
    --------
    >>> from jaxlmm.covariance import Parameter
    >>> reach = Parameter("range", kind="rate", upper=10.0)
    >>> reach.accepts(2.0), reach.accepts(12.0), reach.expected
    (True, False, 'a number strictly between 0 and 10')
    >>> [round(float(limit), 3) for limit in reach.interval(2.0, 0.5)]
    [1.225, 3.265]
    >>> Parameter(kind="sd", columns=("Days",), group="Subject").name
    'Subject: sd(Days)'
    """

    label: str
    kind: Kind
    columns: tuple[str, ...]
    lower: float
    upper: float
    attained: tuple[bool, bool]
    unit: Unit | None
    scale: ScaleName
    label_squared: str
    group: str

    def __init__(
        self,
        label: str | None = None,
        kind: Kind = "number",
        *,
        columns: str | tuple[str, ...] = (),
        lower: float | None = None,
        upper: float | None = None,
        attained: tuple[bool, bool] | None = None,
        unit: Unit | EllipsisType | None = ...,
        scale: ScaleName | None = None,
        label_squared: str | None = None,
        group: str = "",
    ) -> None:
        where = f"Parameter({label!r})"
        if not (label is None or (isinstance(label, str) and label)):
            raise OptionError(f"{where}: expected a text as label, got {label!r}.")
        own = KINDS[choose(f"{where}: kind", kind, KINDS)]  # type: ignore[index]
        for name, bound in (("lower", lower), ("upper", upper)):
            if not (bound is None or (isinstance(bound, numbers.Real) and not isinstance(bound, bool))):
                raise OptionError(f"{where}: expected a number as {name} bound, got {bound!r}.")
        columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if not all(isinstance(column, str) for column in columns):
            raise OptionError(f"{where}: expected names of columns, got {columns!r}.")
        usual, usual_squared = _named(own.word, columns), _named(own.word_squared or own.word, columns)
        label = usual if label is None else label
        if own.word_squared is None:
            squared = label
        elif label_squared is not None:
            squared = label_squared
        else:
            squared = usual_squared if label == usual else f"{own.word_squared}({label})"
        values = {
            "label": label,
            "kind": kind,
            "columns": columns,
            "lower": own.lower if lower is None else float(lower),
            "upper": own.upper if upper is None else float(upper),
            "attained": own.attained if attained is None else tuple(map(bool, attained)),
            "unit": own.unit if unit is ... else unit,
            "scale": own.scale if scale is None else choose(f"{where}: scale", scale, SCALES),
            "label_squared": squared,
            "group": group,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check(where)

    def __repr__(self) -> str:
        """The declaration, without what the kind gives by default."""
        usual = Parameter(self.label, self.kind, columns=self.columns)
        pairs = {name: (getattr(self, name), getattr(usual, name)) for name in self.__dataclass_fields__}
        more = "".join(f", {name}={own!r}" for name, (own, other) in pairs.items() if own != other)
        about = f", columns={self.columns!r}" if self.columns else ""
        return f"Parameter({self.label!r}, {self.kind!r}{about}{more})"

    @property
    def name(self) -> str:
        """The name by which users know it."""
        return f"{self.group}: {self.label}" if self.group else self.label

    @property
    def has_unit(self) -> bool:
        """Whether it changes with the unit of the response."""
        return self.unit is not None

    @property
    def declares_unit(self) -> bool:
        """Whether its unit is declared, be it none: that of a plain number is not, unless it says so."""
        return self.has_unit or self.kind != "number"

    @property
    def is_sd(self) -> bool:
        """Whether it is a standard deviation, which has a square on the variance scale."""
        return KINDS[self.kind].word_squared is not None

    @property
    def is_residual_sd(self) -> bool:
        """Whether it is the residual's standard deviation; no group may have the residual's name."""
        return self.is_sd and self.group == RESIDUAL_SD.group

    @property
    def is_correlation_of_columns(self) -> bool:
        """Whether it is the correlation between two columns."""
        return self.kind == "correlation" and len(self.columns) == 2

    @property
    def squared(self) -> Parameter:
        """The parameter on the variance scale: the square of a standard deviation, anything else as it is.

        >>> Parameter(kind="sd", columns=("x",), group="g").squared.name, Parameter("sdlog", group="g").squared.name
        ('g: var(x)', 'g: sdlog')
        """
        if not self.is_sd:
            return self
        return dataclasses.replace(
            self,
            label=self.label_squared,
            kind="number",
            lower=self.lower**2,
            upper=self.upper**2,
            unit="response^2" if self.has_unit else None,
        )

    @property
    def expected(self) -> str:
        """The values that it can have, in words, for errors."""
        lower, upper = f"{self.lower:g}", f"{self.upper:g}"
        at_lower, at_upper = self.attained
        if np.isinf(self.lower) and np.isinf(self.upper):
            bounds = ""
        elif np.isinf(self.upper):
            bounds = f" of {lower} or more" if at_lower else f" above {lower}"
        elif np.isinf(self.lower):
            bounds = f" of {upper} or less" if at_upper else f" below {upper}"
        elif at_lower != at_upper:
            bounds = f" from {lower} to {upper}, without {upper if at_lower else lower}"
        else:
            bounds = f" from {lower} to {upper}" if at_lower else f" strictly between {lower} and {upper}"
        return f"{KINDS[self.kind].noun}{bounds}{', in units of the response' if self.has_unit else ''}"

    def accepts(self, value: Any) -> bool:
        """Return whether a value is a finite number within the bounds."""
        if not isinstance(value, numbers.Real) or isinstance(value, bool | np.bool_) or not np.isfinite(float(value)):
            return False
        number, (at_lower, at_upper) = float(value), self.attained
        above = number >= self.lower if at_lower else number > self.lower
        return above and (number <= self.upper if at_upper else number < self.upper)

    def at_end(self, value: Float[Array, "*b"] | float, rounding: float = 0.0) -> Bool[NumpyArray, "*b"]:
        """Return which values are at one of the bounds.

        ``rounding`` is how far off they may be, relative to the bound, where the bound is attained.

        >>> Parameter(kind="sd").at_end(np.array([0.0, 1e-12])).tolist()
        [True, False]
        """
        value = np.asarray(value)
        at_lower, at_upper = (rounding * attained for attained in self.attained)
        with np.errstate(invalid="ignore"):
            low = np.isfinite(self.lower) & (value <= self.lower + at_lower * abs(self.lower))
            high = np.isfinite(self.upper) & (value >= self.upper - at_upper * abs(self.upper))
        return np.asarray(low | high)

    def interval(
        self, estimate: Float[Array, "*b"] | float, std_error: Float[Array, "*b"] | float, level: float = 0.95
    ) -> tuple[Float[NumpyArray, "*b"], Float[NumpyArray, "*b"]]:
        """Return Wald limits, symmetric on the parameter's scale and within its bounds.

        The standard error on the scale is that of the delta method. NaN where there is no standard error.

        >>> low, high = Parameter(kind="correlation").interval(np.array([0.0, 0.9]), np.array([0.1, 0.1]))
        >>> low.round(3).tolist(), high.round(3).tolist()
        ([-0.194, 0.414], [0.194, 0.987])
        """
        scale = self.bounded_scale
        value, error = np.asarray(estimate, float), np.asarray(std_error, float)
        with np.errstate(all="ignore"):
            half = scipy.special.ndtri(0.5 + 0.5 * level) * error * scale.derivative(value)
            center = scale.forward(value)
            limits = [np.clip(scale.inverse(end), self.lower, self.upper) for end in (center - half, center + half)]
        low, high = (np.where(np.isnan(error), np.nan, limit) for limit in limits)
        return low, high

    @property
    def bounded_scale(self) -> BoundedScale:
        """The scale of its interval, between its bounds."""
        return BoundedScale.of(self.scale, self.lower, self.upper)

    def of(self, group: str) -> Parameter:
        """Return the same parameter of a ``group``."""
        return dataclasses.replace(self, group=group)

    def of_residual(self) -> Parameter:
        """Return the same parameter of the residual, whose standard deviation is not zero."""
        residual = self.of(RESIDUAL_SD.group)
        return dataclasses.replace(residual, attained=RESIDUAL_SD.attained) if self.is_sd else residual

    def suffixed(self, suffix: str) -> Parameter:
        """Return the same parameter with a longer name, and that of its square."""
        return dataclasses.replace(self, label=self.label + suffix, label_squared=self.label_squared + suffix)

    def of_column(self, column: str) -> Parameter:
        """Return the parameter of a structure across levels where its effects are the levels' slopes of ``column``."""
        named = self.suffixed(f"({column})")
        return dataclasses.replace(named, columns=(column,)) if self.is_sd else named

    def about(self, columns: tuple[str, ...]) -> Parameter:
        """Return the same parameter of other ``columns``; a default label changes with them."""
        names = {"label": None, "label_squared": None} if self.label == _named(self._word, self.columns) else {}
        return dataclasses.replace(self, columns=columns, **names)  # type: ignore[arg-type]

    @property
    def _word(self) -> str:
        return KINDS[self.kind].word

    def _check(self, where: str) -> None:
        """Raise unless the declaration makes sense."""
        if self.unit is not None and self.unit not in get_args(Unit):
            raise OptionError(f"{where}: expected unit='response' or unit=None, got {self.unit!r}.")
        if len(self.attained) != 2:
            raise OptionError(f"{where}: expected attained=(at lower, at upper), two of True, got {self.attained!r}.")
        if not self.lower < self.upper or (self.is_sd and self.lower < 0.0):
            least = " of 0 or more" if self.is_sd else ""
            raise OptionError(
                f"{where}: expected a lower bound{least} below the upper one, got {self.lower:g} and {self.upper:g}."
            )
        lower_needed, upper_needed = SCALES[self.scale].bounds
        if (lower_needed and np.isinf(self.lower)) or (upper_needed and np.isinf(self.upper)):
            raise OptionError(
                f"{where}: expected {'both bounds' if upper_needed else 'a lower bound'} for the scale {self.scale!r}, "
                f"got {self.lower:g} and {self.upper:g}; declare lower= and upper=, or scale='identity'."
            )


def _named(word: str, columns: tuple[str, ...]) -> str:
    return f"{word}({', '.join(columns)})" if columns else word


RESIDUAL_SD = Parameter(kind="sd", attained=(False, False), group="Residual")
"""The standard deviation of the residual."""
