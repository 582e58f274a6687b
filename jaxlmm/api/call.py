"""What ``fit`` was asked for, as one frozen object that can be asked again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from jaxlmm._util import as_table, in_double_precision
from jaxlmm.api.carried import Carried
from jaxlmm.api.names import check_names
from jaxlmm.api.solving import solve
from jaxlmm.api.values import as_mapping, check_apart
from jaxlmm.covariance import RESIDUAL_SD
from jaxlmm.errors import FormulaError, OptionError, choose
from jaxlmm.formula import ModelOptions, build_frame, parse, updated, with_response
from jaxlmm.formula.syntax import resolved
from jaxlmm.optimize import AbstractMinimizer, Optax
from jaxlmm.results import Fit
from jaxlmm.solvers import SOLVERS, Choice, select

MODEL_OPTIONS = tuple(field.name for field in dataclasses.fields(ModelOptions))
FITTING_OPTIONS = ("method", "start", "fixed", "solver", "optimizer")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Call:
    """A formula with data and options, checked when it is made; the protocol of :mod:`jaxlmm.results.refit`.

    ``data`` are kept as they came, without a copy: a data frame that is changed in place later is seen as it is then.
    ``replaced`` says that the response is no longer that of the data.
    """

    formula: str
    data: Any
    options: ModelOptions
    method: str = "REML"
    start: Mapping[str, float] | None = None
    fixed: Mapping[str, float] | None = None
    solver: str = "auto"
    optimizer: Any = "newton"
    replaced: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "optimizer": Carried(self.optimizer)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, optimizer=state["optimizer"].value)

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", criterion(self.method))
        choose("solver", self.solver, ("auto", *SOLVERS))
        for name in ("start", "fixed"):  # so that a dict that is changed later changes nothing here
            object.__setattr__(self, name, as_mapping(name, getattr(self, name)))
        check_apart(self.start, self.fixed)
        _ = self.first_order

    @classmethod
    def of(cls, formula: str, data: Any, options: Mapping[str, Any]) -> Self:
        """Make a call from keyword options by name."""
        model = ModelOptions(**{name: value for name, value in options.items() if name in MODEL_OPTIONS})
        return cls(formula, data, model, **{k: value for k, value in options.items() if k not in MODEL_OPTIONS})

    @property
    def first_order(self) -> AbstractMinimizer | None:
        """The minimizer to find the optimum with, or None for Newton's method."""
        if isinstance(self.optimizer, str):
            if self.optimizer == "newton":
                return None
        elif hasattr(self.optimizer, "init") and hasattr(self.optimizer, "update"):
            return Optax(self.optimizer)
        raise OptionError(f"optimizer: expected 'newton' or an optax gradient transformation, got {self.optimizer!r}.")

    @property
    def known_residual(self) -> bool:
        """Whether the residual's standard deviation is fixed."""
        return RESIDUAL_SD.name in (self.fixed or {})

    @in_double_precision
    @np.errstate(all="ignore")  # what is not finite ends in the status, not in a warning
    def run(self) -> Fit:
        """Fit the model."""
        started = time.perf_counter()
        table = as_table(self.data)
        columns = list(table.columns)
        parsed = parse(self.formula, columns)
        if not parsed.response:
            raise FormulaError(f"formula {self.formula!r}: expected a response left of '~', as in 'y ~ x + (1 | g)'.")
        parsed = resolved(parsed, columns, self.options)
        frame = build_frame(parsed, table, self.options, known_residual=self.known_residual)
        # Of '.' the formula knows what it stands for, which other data need not have.
        call = dataclasses.replace(self, formula=parsed.text)
        return solve(call, frame, select(frame.design, self.solver), self.first_order, started)

    def refit(self, fit: Fit, y: Any) -> Fit:
        """Fit the model of ``fit`` to another response on its design."""
        started = time.perf_counter()
        call = dataclasses.replace(self, replaced=True)
        return solve(
            call, with_response(fit.frame, y), Choice(fit.solver, fit.solver_reason), self.first_order, started
        )

    def update(self, fit: Fit, formula: str | None, data: Any, options: Mapping[str, Any]) -> Fit:
        """Fit a changed call; the design of ``fit`` serves again where only the way of fitting changes."""
        started = time.perf_counter()
        check_names("update", options, _OPTIONS)
        kept = {name: getattr(self.options, name) for name in MODEL_OPTIONS}
        kept |= {name: getattr(self, name) for name in FITTING_OPTIONS}
        text = self.formula if formula is None else updated(self.formula, formula)
        call = Call.of(text, self.data if data is None else data, {**kept, **options})
        if formula is None and data is None and not set(options) & set(MODEL_OPTIONS):
            call = dataclasses.replace(call, replaced=self.replaced)
            return solve(call, fit.frame, select(fit.design, call.solver), call.first_order, started)
        if self.replaced and data is None:
            raise OptionError(
                "update: this fit's response came from refit(y) and is not in the data, so the model cannot be built "
                "anew. Put the response into a data frame and pass data=, or update the original fit and refit that."
            )
        return call.run()


_OPTIONS = (*MODEL_OPTIONS, *FITTING_OPTIONS)


def criterion(method: Any) -> str:
    """Return ``"REML"`` or ``"ML"`` for ``method`` in any case."""
    if isinstance(method, str) and method.upper() in ("REML", "ML"):
        return method.upper()
    raise OptionError(f"method: expected 'REML' or 'ML', got {method!r}.")
