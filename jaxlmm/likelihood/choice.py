"""The likelihood of a design."""

from __future__ import annotations

import numpy as np

from jaxlmm.likelihood.contract import Likelihood
from jaxlmm.likelihood.dispersed import Dispersed
from jaxlmm.likelihood.gaussian import KnownWeights
from jaxlmm.likelihood.generalized import Generalized
from jaxlmm.likelihood.laplace import algebra_of
from jaxlmm.model import Design, Natural, held_layout
from jaxlmm.solvers import AbstractSolver, Choice, select


def choose(design: Design, solver: str | type[AbstractSolver] = "auto") -> Choice:
    """Return the solver of a design; of a generalized model with the name of what does the algebra of its effects.

    Raises
    ------
    OptionError
        As :func:`jaxlmm.solvers.select`.
    """
    choice = select(design, solver)
    if design.distribution is None:
        return choice
    name, reason = algebra_of(design)
    return choice._replace(reason=reason, called=name)


def likelihood_of(design: Design, solver: AbstractSolver, method: str, fixed: Natural | None = None) -> Likelihood:
    """Join a design, a solver built for it, a criterion, and the parameters that are ``fixed``.

    >>> import jaxlmm as lmm
    >>> from jaxlmm.solvers import Moments
    >>> design = lmm.design("~ Days + (1 | Subject)", lmm.datasets.sleepstudy(), dispersion="~ Days")
    >>> type(likelihood_of(design, Moments.build(design), "REML")).__name__
    'Dispersed'
    """
    layout = held_layout(design, fixed, solver.chains)
    if design.distribution is not None:
        return Generalized.of(design, solver, layout, restricted=method == "REML")
    matrices = any(grouping.relation is not None for grouping in design.groupings)
    # Levels with coordinates are positions of one block.
    across = any(term.over_positions and int(design.groupings[term.grouping].n_levels) == 1 for term in design.terms)
    related = matrices or across or not design.residual_is_white
    kind = KnownWeights if design.dispersion is None else Dispersed
    return kind(solver, layout, design.without_relations(), np.float64(method == "REML"), related)
