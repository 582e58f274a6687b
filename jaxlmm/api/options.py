"""The options of a fit: one frozen record of all of them, checked when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxlmm._util import Picklable
from jaxlmm.api.values import as_mapping, check_apart
from jaxlmm.covariance import RESIDUAL_SD
from jaxlmm.errors import OptionError
from jaxlmm.formula import ModelOptions
from jaxlmm.optimize import AbstractMinimizer, Optax
from jaxlmm.solvers import AbstractSolver, as_solver


@dataclasses.dataclass(frozen=True, eq=False)
class FitOptions(ModelOptions):
    """Options that :func:`jaxlmm.fit`, :func:`jaxlmm.fit_many` and :func:`jaxlmm.scan` share, with their defaults.

    Those of the base define the model, those here how it is fitted. The verbs repeat names, types and defaults in their
    signatures, where readers and type checkers look for them, and hand on this record.

    Examples
    --------
    >>> FitOptions(method="ml", fixed={"Residual: sd": 1.0}).method
    'ML'
    """

    method: str | None = None
    start: Mapping[str, float] | None = None
    fixed: Mapping[str, float] | None = None
    solver: str | type[AbstractSolver] = "auto"
    optimizer: Any = "newton"

    # Optax transformations hold local functions, which pickle refuses: they are pickled by cloudpickle if installed,
    # else replaced by a ``Lost``, with which a refit raises an OptionError.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "optimizer": Picklable(self.optimizer)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, optimizer=state["optimizer"].value)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method is not None:
            object.__setattr__(self, "method", criterion(self.method))
        as_solver(self.solver)
        if self.row_family is not None:
            _check_of_family(self.method, self.solver, self.quadrature)
        for name in ("start", "fixed"):  # so that a dict that is changed later changes nothing here
            object.__setattr__(self, name, as_mapping(name, getattr(self, name)))
        check_apart(self.start, self.fixed)
        _ = self.first_order

    @property
    def criterion(self) -> str:
        """``"REML"`` or ``"ML"``: by default REML of a linear mixed model, ML of a generalized one."""
        return self.method or ("REML" if self.row_family is None else "ML")

    @property
    def first_order(self) -> AbstractMinimizer | None:
        """The minimizer with which the optimum is found, or None for Newton's method."""
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


OPTION_NAMES = tuple(field.name for field in dataclasses.fields(FitOptions))
MODEL_OPTION_NAMES = frozenset(field.name for field in dataclasses.fields(ModelOptions))
"""Options with which a design is built; a change of the others builds none."""


def _check_of_family(method: str | None, solver: Any, quadrature: int) -> None:
    """Raise where a generalized model has no such criterion or solver."""
    if method == "REML" and quadrature > 1:
        raise OptionError(
            "method: the restricted likelihood of a model with a family is Laplace's approximation, expected "
            f"quadrature=1 with 'REML', got {quadrature}."
        )
    if not (isinstance(solver, str) and solver == "auto"):
        raise OptionError(
            "solver: a model with a family has algebra of its own for its random effects; expected 'auto', got "
            f"{solver!r}."
        )


def criterion(method: Any) -> str:
    """Return ``"REML"`` or ``"ML"`` for ``method`` in any case."""
    if isinstance(method, str) and method.upper() in ("REML", "ML"):
        return method.upper()
    raise OptionError(f"method: expected 'REML' or 'ML', got {method!r}.")
