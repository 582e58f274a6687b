"""The call of ``fit`` as one frozen object, with which a fit can be repeated or changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray, as_table, double_precision
from jaxlmm.api.names import check_names
from jaxlmm.api.options import MODEL_OPTION_NAMES, OPTION_NAMES, FitOptions
from jaxlmm.api.responses import refitted
from jaxlmm.api.values import natural
from jaxlmm.covariance import Parameter
from jaxlmm.engine import Solution, solve_single
from jaxlmm.errors import FormulaError, OptionError
from jaxlmm.formula import ModelFrame, build_frame, check_levels, check_varies, parse, updated, with_response
from jaxlmm.formula.syntax import resolved
from jaxlmm.inference import blocks_with_multiplier
from jaxlmm.likelihood import choose
from jaxlmm.results import Estimates, Fit, Limit, ManyEstimates, Origin, with_zero_part
from jaxlmm.solvers import Choice


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Call:
    """A formula with data and options; the protocol of :mod:`jaxlmm.results.refit`.

    ``data`` are kept as they came, without a copy: a data frame that is changed in place later is seen as it is then.
    ``replaced`` says that the response is no longer that of the data.
    """

    formula: str
    data: Any
    options: FitOptions
    replaced: bool = False

    def run(self, frame: ModelFrame | None = None, choice: Choice | None = None) -> Fit:
        """Fit the model: minimize the deviance, certify the optimum, and label the estimates.

        ``frame`` is the design where it is built before, ``choice`` the solver where it is kept.
        """
        started, call, options = time.perf_counter(), self, self.options
        with double_precision(), np.errstate(all="ignore"):  # what is not finite ends in the status, not in a warning
            if frame is None:
                call, frame = self._built()
            assert frame.y is not None
            design, labels, choice = frame.design, frame.labels, choice or choose(frame.design, options.solver)
            start, fixed = (natural(name, getattr(options, name), labels, design) for name in ("start", "fixed"))
            check_levels(frame, fixed)
            check_varies(frame, options.fixed or {})
            limit = Limit.of(frame)
            minimized = solve_single(
                design if limit is None else limit.design, frame.y, solver=choice.solver, method=options.criterion,
                first_order=options.first_order, start=start, fixed=fixed,
            )  # fmt: skip
            solution, found, rows = minimized.certified(labels.natural, fixed)
            verdict = found.verdicts.one(0, labels.parameters, _multiplier_names(frame, solution))
            verdict = with_zero_part(verdict, frame, found)
            if limit is not None:
                found, rows, verdict = limit.reported(found, rows, verdict, labels.fixed_names)
            estimates = Estimates.of(frame, solution, found, rows, verdict, choice, options.criterion, fixed)
        return Fit(estimates.timed(time.perf_counter() - started), Origin(frame, solution, rows, call))

    def _built(self) -> tuple[Self, ModelFrame]:
        """Parse the formula and build the design; the call has what '.' stands for, which other data need not have."""
        table = as_table(self.data)
        columns = list(table.columns)
        parsed = parse(self.formula, columns)
        if not parsed.response:
            raise FormulaError(f"formula {self.formula!r}: expected a response left of '~', as in 'y ~ x + (1 | g)'.")
        parsed = resolved(parsed, columns, self.options)
        frame = build_frame(parsed, table, self.options, known_residual=self.options.known_residual)
        return dataclasses.replace(self, formula=parsed.text), frame

    def with_options(self, **changes: Any) -> Self:
        """Return the call with some options changed."""
        return dataclasses.replace(self, options=dataclasses.replace(self.options, **changes))

    def refit(self, fit: Fit, y: Any) -> Fit:
        """Fit the model of ``fit`` to another response on its design."""
        call = dataclasses.replace(self, replaced=True)
        return call.run(with_response(fit.frame, y), _choice_of(fit))

    def refit_many(self, fit: Fit, y: Float[NumpyArray, "n m"], executor: Any = None) -> ManyEstimates:
        """Fit the model of ``fit`` to many responses on its rows."""
        return refitted(self.options, fit.frame, _choice_of(fit), y, executor)

    def update(self, fit: Fit, formula: str | None, data: Any, options: Mapping[str, Any]) -> Fit:
        """Fit a changed call; the design of ``fit`` serves again where only the way of fitting changes."""
        check_names("update", options, OPTION_NAMES)
        call = Call(
            self.formula if formula is None else updated(self.formula, formula),
            self.data if data is None else data,
            self.options,
        ).with_options(**options)
        if formula is None and data is None and not options.keys() & MODEL_OPTION_NAMES:
            return dataclasses.replace(call, replaced=self.replaced).run(fit.frame)
        if self.replaced and data is None:
            raise OptionError(
                "update: this fit's response came from refit(y) and is not in the data, so the model cannot be built "
                "anew. Put the response into a data frame and pass data=, or update the original fit and refit that."
            )
        return call.run()


def _choice_of(fit: Fit) -> Choice:
    return Choice(type(fit.solution.likelihood.solver), fit.solver_reason, fit.solver)


def _multiplier_names(frame: ModelFrame, solution: Solution) -> dict[int, str]:
    """Name each block of the active set, by its number: by a standard deviation, by its term, or by a parameter of a
    family.

    By the standard deviation if the block is one parameter, and it and all before it in its structure are of kind
    ``sd``, so that theta and the natural parameters correspond one to one; else by the term: in a block of several
    parameters the multiplier is that of the term's smallest eigenvalue.
    """
    names, layout = {}, solution.likelihood.layout
    of_family: dict[int, Parameter] = {}
    if layout.family is not None:
        of_family = dict(enumerate(layout.family.parameters, layout.n_theta - layout.n_family))
    for number, block in blocks_with_multiplier(solution.active_set).items():
        if int(block[0]) in of_family:
            names[number] = of_family[int(block[0])].name
        for labels, in_theta in zip(frame.labels.terms, layout.slices(), strict=False):
            if in_theta.start <= block[0] < in_theta.stop:
                preceding = labels.natural[: int(block[0]) - in_theta.start + 1]
                one_each = block.size == 1 and all(parameter.is_sd for parameter in preceding)
                names[number] = preceding[-1].name if one_each else f"{labels.text}: smallest eigenvalue"
    return names
