"""Choosing a solver: a pure function from a design to the first solver that can do it, and the reason."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, NamedTuple

from jaxtyping import Float

from jaxlmm._util import Array, is_traced, program
from jaxlmm.errors import OptionError
from jaxlmm.model import Design, Dispersion
from jaxlmm.solvers.base import AbstractSolver
from jaxlmm.solvers.blocked import Blocked
from jaxlmm.solvers.chain import Chain
from jaxlmm.solvers.dense import Dense, DenseByRows, largest_cluster
from jaxlmm.solvers.moments import Moments
from jaxlmm.solvers.repeated import Repeated
from jaxlmm.solvers.spectral import Spectral

_IN_ORDER: tuple[type[AbstractSolver], ...] = (Moments, Blocked, Spectral, Repeated, Chain, Dense)

SOLVERS: dict[str, type[AbstractSolver]] = {solver.name: solver for solver in _IN_ORDER}
"""The solvers by name, in the order in which they are asked: the cheapest first, and last the one for any model."""


MAX_ROWS_OF_SMALL_CLUSTER = 64
"""Up to this size of all clusters, traced weights go by rows, which compiles in a third of the time."""


class Choice(NamedTuple):
    """A solver and why it was chosen; ``called`` is what does its work, where that is something else."""

    solver: type[AbstractSolver]
    reason: str
    called: str = ""

    @property
    def name(self) -> str:
        """The solver's name."""
        return self.called or self.solver.name


def select(design: Design, solver: str | type[AbstractSolver] = "auto") -> Choice:
    """Return the solver for a design: the one that is asked for, or the first of ``SOLVERS`` that can do the model.

    The first four need independent residuals, with or without a model of dispersion; with one, a known matrix is
    "anything else". A chain of short series alone, too.

    =======================================================  ========
    model                                                    solver
    =======================================================  ========
    no random term                                           moments
    terms over columns, on one grouping factor               moments
    terms over columns, on several grouping factors          blocked
    one term of one column, across levels of a known matrix  spectral
    structures along positions, whose patterns repeat        repeated
    one Markov chain along positions, columns on one group   chain
    anything else, in clusters of at most 3,000 rows         dense
    =======================================================  ========

    Raises
    ------
    OptionError
        If ``solver`` is no solver, cannot do the model, or takes no model of this size.
    """
    asked = as_solver(solver)
    if asked is None:
        asked = next(one for one in SOLVERS.values() if not unsuitable(one, design) and one.pays(design))
    elif why := unsuitable(asked, design):
        *others, last = (repr(name) for name, one in SOLVERS.items() if not unsuitable(one, design))
        shown = repr(asked.name) if asked in SOLVERS.values() else asked.__name__
        raise OptionError(
            f"solver={shown} cannot do this model: {why}. Use solver={', '.join([repr('auto'), *others])} or {last}."
        )
    return Choice(asked, asked.reason(design))


def built(design: Design, solver: str | type[AbstractSolver] = "auto") -> AbstractSolver:
    """Return the solver of a design, built: of numbers, and where values are traced, of those too.

    What a solver decomposes beforehand, it decomposes in numbers: weighted columns of Z and known matrices. All else
    may be traced: X, the offset, coordinates, and the fields of structures. Where weights are traced, and columns of Z
    and known matrices are not, the solver of the model with a model of dispersion is reweighted. Otherwise, and where
    clusters are small, the dense one forms its matrices by rows.

    Raises
    ------
    OptionError
        As :func:`select`; or if another solver is asked for where columns of Z or known matrices are traced.
    """
    relations = [grouping.relation for grouping in design.groupings]
    if not is_traced((relations, [term.z for term in design.terms])):
        return select(design, solver).solver.build(design)
    asked, rescaled = as_solver(solver), None if is_traced(relations) else design.rescaled
    if rescaled is not None and (asked is not None or largest_cluster(design) > MAX_ROWS_OF_SMALL_CLUSTER):
        terms, root_weight = rescaled
        plain = design.replace(terms=terms, dispersion=Dispersion.by_row(int(design.n), design.n_padded))
        if asked is not None and (why := unsuitable(asked, plain)):
            raise OptionError(
                f"solver: {identity(solver)!r} cannot do this model with traced weights, where every row has a scale "
                f"of its own: {why}. Use 'auto', or weights in numbers."
            )
        return _reweighted(select(plain, solver).solver.build(plain), root_weight)
    if asked not in (None, Dense):
        raise OptionError(
            f"solver: expected 'auto' or 'dense' where columns of Z or known matrices are traced, got "
            f"{identity(solver)!r}, which decomposes them beforehand, in numbers."
        )
    return DenseByRows.build(design)


@program()
def _reweighted(solver: AbstractSolver, root_weight: Float[Array, " N"]) -> AbstractSolver:
    return solver.reweighted(root_weight)


def unsuitable(solver: type[AbstractSolver], design: Design) -> str:
    """Return why a solver cannot do a model, or ``""`` if it can.

    A class that does not write the method ``reweighted`` can do no model of dispersion.
    """
    if design.dispersion is not None and solver.reweighted is AbstractSolver.reweighted:
        return "a model of dispersion, for which it has no method reweighted"
    return solver.unsuitable(design)


def with_matrices(solver: type[AbstractSolver], design: Design) -> type[AbstractSolver]:
    """Return a solver, or where it takes the links of Markov chains the first one that takes covariance matrices.

    Raises
    ------
    OptionError
        If the model is larger than what that one takes.
    """
    if not solver.takes_links:
        return solver
    other = next(one for one in SOLVERS.values() if not one.takes_links and not unsuitable(one, design))
    other.reason(design)
    return other


def as_solver(solver: Any) -> type[AbstractSolver] | None:
    """Return the class that an option ``solver`` asks for, None for ``"auto"``.

    Raises
    ------
    OptionError
        If it is neither a name nor a class with all methods of a solver and a name of its own.

    >>> as_solver("dense").__name__
    'Dense'
    """
    if isinstance(solver, str) and solver in ("auto", *SOLVERS):
        return SOLVERS.get(solver)
    if isinstance(solver, AbstractSolver):
        raise OptionError(
            f"solver: expected the class itself, solver={type(solver).__name__}, got an object of it; fits build one."
        )
    if not (isinstance(solver, type) and issubclass(solver, AbstractSolver)):
        names = ", ".join(repr(name) for name in ("auto", *SOLVERS))
        raise OptionError(
            f"solver: expected one of {names}, or a subclass of lmm.solvers.AbstractSolver, got {solver!r}."
        )
    if inspect.isabstract(solver):
        missing = ", ".join(sorted(solver.__abstractmethods__))
        raise OptionError(f"solver: expected all methods of a solver, got {solver.__name__} without {missing}.")
    name: Any = getattr(solver, "name", None)
    if not isinstance(name, str) or not name or "name" in (field.name for field in dataclasses.fields(solver)):
        raise OptionError(
            f"solver: expected a name, which fit.solver is to say, in the class {solver.__name__}; write "
            "name = 'mine', without an annotation."
        )
    if name == "auto" or SOLVERS.get(name, solver) is not solver:
        raise OptionError(
            f"solver: expected a name that is not taken, got {name!r} of {solver.__name__}; write another one into the "
            "class."
        )
    return solver


def identity(solver: Any) -> str:
    """Return a text that identifies an option ``solver``: its name, or of a user's class the module and qualified name.

    >>> identity("auto"), identity(Dense)
    ('auto', 'dense')
    """
    asked = as_solver(solver)
    if asked is None or asked in SOLVERS.values():
        return "auto" if asked is None else asked.name
    return f"{asked.__module__}.{asked.__qualname__}"
