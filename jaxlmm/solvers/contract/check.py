"""The check of a solver's contract on one design, against plain dense algebra, and the errors for its author."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError
from jaxlmm.model import Design, Factors, Layout
from jaxlmm.solvers.base import AbstractSolver, Route
from jaxlmm.solvers.contract.plain import Plain
from jaxlmm.solvers.contract.reweighting import DIFFERENCE_STEP, check_reweighted
from jaxlmm.solvers.contract.routes import check_route
from jaxlmm.solvers.contract.trial import PARTS, BrokenSolverError, Columns, Trial, called, mapped, on_host, take, tried
from jaxlmm.solvers.contract.verdict import check_slopes, check_values, differs
from jaxlmm.solvers.select import unsuitable

MAX_ROWS = 400
"""The most rows of a design on which a solver is tried: plain algebra inverts matrices of all rows."""

FLAGS = ("quasi_newton", "coarse_start", "sequential", "guesses")
"""The properties of a solver that the engine reads as plain bools, while JAX traces."""


def check_contract(solver: type[AbstractSolver], design: Design, what: str) -> None:
    """Raise unless a solver keeps its contract (:class:`AbstractSolver`) on a ``design``; ``what`` begins the message.

    Raises
    ------
    OptionError
        With the method that is wrong, and in which respect.
    """
    if int(design.n) > MAX_ROWS:
        raise OptionError(f"{what}: expected a design of at most {MAX_ROWS} rows, got {int(design.n)}.")
    try:
        _check_declared(solver, design)
        wide = design.with_padded_columns(extra=1)
        built = _built(solver, wide)
        bare = design.unpadded()
        unpadded = called("unpadded", lambda: _built(solver, bare).unpadded())
        _check_pytree("unpadded", solver, unpadded)
        thetas = _thetas(design)
        for at, theta in zip(
            ("the start", "a random theta", "large variances", "variances of zero"), thetas, strict=True
        ):
            without_padding = _trial(unpadded, bare, theta)
            check_values(without_padding, *_expected(bare, theta), at)
            padded = _trial(built, wide, theta)
            try:
                check_values(padded, *_expected(design, theta), at)
            except BrokenSolverError as error:
                raise BrokenSolverError(
                    f"build, or the methods on padded rows: expected the results of {int(design.n)} rows where they "
                    f"are padded to {design.n_padded}; without padding they are right ({error})"
                ) from error
        _check_derivatives(unpadded, bare, thetas[:3])
        _check_guess(unpadded, bare)
        check_route(solver, design, thetas[1])
        check_reweighted(solver, design, thetas[:2])
    except BrokenSolverError as broken:
        raise OptionError(f"{what}: {solver.__name__}.{broken}") from broken.__cause__


def _check_declared(solver: type[AbstractSolver], design: Design) -> None:
    """Raise unless the class methods return the right types for the design, and say that the solver can do it."""
    why = called("unsuitable", lambda: solver.unsuitable(design))
    if not isinstance(why, str):
        raise BrokenSolverError(f"unsuitable returns {why!r}: expected a text, '' where it can do the model.")
    if why := why or unsuitable(solver, design):
        raise BrokenSolverError(
            f"unsuitable: it says that it cannot do this model, {why!r}. Give a design that it can do."
        )
    reason = solver.reason(design)
    if not isinstance(reason, str) or not reason:
        raise BrokenSolverError(f"reason returns {reason!r}: expected a text.")
    route = called("route", lambda: solver.route(design, 1))
    if not isinstance(route, Route):
        raise BrokenSolverError(f"route returns {route!r}: expected one of lmm.solvers.Route.")


def _built(solver: type[AbstractSolver], design: Design) -> AbstractSolver:
    """Return the solver of a design; raise unless it is a pytree of numbers, and each of :data:`FLAGS` is a bool."""
    built = called("build", lambda: solver.build(design))
    _check_pytree("build", solver, built)
    for flag in FLAGS:
        value = called(flag, lambda flag=flag: getattr(built, flag))  # type: ignore[misc]
        if not isinstance(value, bool | np.bool_):
            raise BrokenSolverError(f"{flag} is {value!r}: expected True or False, from shapes and static fields.")
    return built


def _check_pytree(method: str, solver: type[AbstractSolver], built: object) -> None:
    """Raise unless what ``method`` returned is of the class, with numbers in its fields and hashable static fields."""
    if not isinstance(built, solver):
        raise BrokenSolverError(f"{method} returns {type(built).__name__}: expected an object of the class.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(built):
        if np.asarray(leaf).dtype.kind not in "biuf":
            name = jax.tree_util.keystr(path).lstrip(".")
            raise BrokenSolverError(
                f"{method}: expected numbers in the field {name}, got {type(leaf).__name__}; a part of the program is "
                "declared by lmm.solvers.static()."
            )
    try:
        hash(jax.tree.structure(built))
    except TypeError as error:
        raise BrokenSolverError(
            f"{method}: expected static fields that can be hashed ({error}); make it a tuple."
        ) from error


def _thetas(design: Design) -> Float[NumpyArray, "4 k"]:
    """Return the thetas at which a solver is tried, one a row: start, random, large variances, variances of zero.

    The last is that of the random terms alone: residuals have a regular covariance.
    """
    layout = Layout.of(design)
    start, rng = layout.start(), np.random.default_rng(4)
    random = start + 0.5 * rng.normal(size=start.size)
    return np.stack([start, random, 4.0 * random, np.where(layout.blocks() < len(design.terms), 0.0, start)])


def _factors(design: Design, theta: Float[NumpyArray, " k"]) -> Factors:
    return on_host(Layout.of(design).factors(jax.numpy.asarray(theta)))


def _columns(design: Design) -> Columns:
    """Return the random columns on which the solver is tried, the same at each call."""
    return Columns.of(int(design.n), design.n_padded)


def _trial(built: AbstractSolver, design: Design, theta: Float[NumpyArray, " k"]) -> Trial:
    """Return the solver's results at ``theta``."""
    without_rows = called("without_rows", built.without_rows)
    _check_pytree("without_rows", type(built), without_rows)
    layout, columns = Layout.of(design, built.chains), _columns(design)
    return on_host(tried(built, without_rows, layout, design.without_relations(), theta, columns))


def _expected(design: Design, theta: Float[NumpyArray, " k"]) -> tuple[Plain, Columns]:
    """Return H as plain dense algebra has it at ``theta``, and the random columns, both without padded rows."""
    n = int(design.n)
    return Plain.of(design, _factors(design, theta)), _columns(design).rows(n)


def _check_derivatives(built: AbstractSolver, design: Design, thetas: Float[NumpyArray, "t k"]) -> None:
    """Raise unless results are the same under ``vmap``, and derivatives agree with central differences."""
    t, k = thetas.shape
    if k == 0:
        return
    layout, without_relations, columns = Layout.of(design, built.chains), design.without_relations(), _columns(design)
    along = DIFFERENCE_STEP * np.random.default_rng(7).normal(size=(k,))
    points = np.concatenate([thetas, thetas + along, thetas - along])
    trials, slopes = on_host(mapped(built, layout, without_relations, points, columns))
    for index, theta in enumerate(thetas):
        alone, together = _trial(built, design, theta), take(trials, index)
        for name, one, other in zip(Trial._fields, alone, together, strict=True):
            if any(differs(*pair) for pair in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)):
                method = {"gram": "inner", "forms": "quadratic_forms", "modes": "effects", "sds": "effects"}.get(
                    name, name
                )
                raise BrokenSolverError(f"{method}: expected the same under jax.vmap over theta, got other numbers.")
        here, above, below = (take(slopes, index + at) for at in (0, t, 2 * t))
        check_slopes(here, above, below, along, theta, PARTS)
        plain, plain_columns = _expected(design, theta)
        if differs(slopes.by_response[index], 2.0 * np.linalg.solve(plain.covariance, plain_columns.e)):
            raise BrokenSolverError(
                "augmented, or quadratic_forms: expected derivatives of eᵀH⁻¹e in e that are 2 H⁻¹e, got other numbers."
            )


def _check_guess(built: AbstractSolver, design: Design) -> None:
    """Raise unless ``guess`` can be called and, if the solver ``guesses``, returns a covariance of all columns of Z.

    So for ``guess_residual``, if it ``guesses_residual``, with all positions of the residuals.
    """
    e = _columns(design).e
    augmented = built.augmented(design.basis, jax.numpy.asarray(e))
    one = jax.tree.map(lambda leaf: leaf[0], augmented)
    guess = called("guess", lambda: built.guess(one, jax.numpy.asarray(float(int(design.n)))))
    of_residual = called("guess_residual", lambda: built.guess_residual(one))
    sizes = sum(term.size for term in design.terms), 0 if design.residual is None else design.residual.size
    asked = (built.guesses, "guess", guess), (built.guesses_residual, "guess_residual", of_residual)
    for size, (offered, name, found) in zip(sizes, asked, strict=True):
        if offered and (found is None or np.shape(found) != (size, size) or not np.isfinite(found).all()):
            raise BrokenSolverError(f"{name}: expected a finite covariance of shape {(size, size)}, got {found}.")
