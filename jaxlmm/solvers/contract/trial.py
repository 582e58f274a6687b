"""A solver tried out in compiled functions: every method, called as the engine does, with its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, program
from jaxlmm.model import Design, Factors, Layout
from jaxlmm.solvers.base import AbstractSolver, Effects

T = TypeVar("T")


class BrokenSolverError(Exception):
    """A property of a solver's contract does not hold; the text begins with the name of a method."""


class Columns(NamedTuple):
    """Random columns on the rows: ``a``, ``b`` beside them, and ``e`` as responses. Padded rows are zero.

    The last column of ``a`` is zero, as what is padded of X.
    """

    a: Float[Array, "N i"]
    b: Float[Array, "N j"]
    e: Float[Array, "N m"]

    @classmethod
    def of(cls, n: int, n_padded: int) -> Columns:
        """Draw columns on n rows."""
        rng = np.random.default_rng(5)
        a, b, e = (np.pad(rng.normal(size=(n, count)), ((0, n_padded - n), (0, 0))) for count in (3, 3, 4))
        a[:, -1] = 0.0
        return cls(a, b, e)

    def rows(self, n: int) -> Columns:
        """Return the first n rows."""
        return Columns(*(part[:n] for part in self))

    def weighted(self, root: Float[Array, " N"]) -> Columns:
        """Return the rows multiplied by ``root``."""
        return Columns(*(root[:, None] * part for part in self))


class RowWeights(NamedTuple):
    """Root weights of rows, ``exp(center + s · along)``, positive on padded rows too."""

    center: Float[Array, " N"]
    along: Float[Array, " N"]

    def roots(self, s: Float[Array, ""]) -> Float[jax.Array, " N"]:
        """Return the root weights."""
        return jnp.exp(jnp.asarray(self.center) + s * jnp.asarray(self.along))


class Trial(NamedTuple):
    """Results of a solver at one theta; ``*t`` are axes over several.

    ``inner`` is ``AᵀH⁻¹B``, ``gram`` ``AᵀH⁻¹A`` of the cross-products of A with itself; ``forms`` are the quadratic
    forms of each response; ``modes`` and ``sds`` are those of the first response, by term.
    """

    logdet: Float[Array, "*t"]
    inner: Float[Array, "*t i j"]
    gram: Float[Array, "*t i i"]
    forms: tuple[Float[Array, "*t m i i"], Float[Array, "*t m i"], Float[Array, "*t m"]]
    modes: tuple[Float[Array, "*t _L _q"], ...]
    sds: tuple[Float[Array, "*t _L _q"], ...]


class Slopes(NamedTuple):
    """Derivatives of q numbers in theta, one for each of :data:`PARTS`, and of the last one in the responses."""

    value: Float[Array, "*t q"]
    reverse: Float[Array, "*t q k"]
    forward: Float[Array, "*t q k"]
    second: Float[Array, "*t q k k"]
    by_response: Float[Array, "*t N m"]


PARTS = ("logdet", "inner", "quadratic_forms", "quadratic_forms")
"""The methods of which numbers are differentiated, in the order of :class:`Slopes`; the last is the sum of eᵀH⁻¹e."""


ON_HOST = ("unsuitable", "route", "build", "unpadded", "without_rows")
"""Methods that JAX does not trace."""


def called(method: str, function: Callable[[], T]) -> T:
    """Return what a function that calls a ``method`` returns; an error says which method it is of."""
    try:
        return function()
    except BrokenSolverError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        where = "" if method in ON_HOST else " where JAX traces it"
        raise BrokenSolverError(f"{method} fails{where}: {type(error).__name__}: {said}") from error


@program(once=True)
def tried(
    solver: AbstractSolver,
    without_rows: AbstractSolver,
    layout: Layout,
    design: Design,
    theta: Float[Array, " k"],
    columns: Columns,
) -> Trial:
    """Evaluate a solver at ``theta``, as the search does where it is given the one ``without_rows``."""
    return _trial(solver, without_rows, design, layout.factors(jnp.asarray(theta)), _traced(columns))


@program(once=True)
def mapped(
    solver: AbstractSolver,
    layout: Layout,
    design: Design,
    points: Float[Array, "t k"],
    columns: Columns,
    weights: RowWeights | None = None,
) -> tuple[Trial, Slopes]:
    """Evaluate a solver at several points under ``vmap``, with derivatives.

    A point is theta; with ``weights`` the solver is reweighted, and the point ends with the s of these.
    """
    columns = _traced(columns)

    def at(point: Float[jax.Array, " k"], columns: Columns) -> tuple[AbstractSolver, Float[jax.Array, " _"], Columns]:
        """Return the solver, theta and the columns at a point."""
        if weights is None:
            return solver, point, columns
        root = weights.roots(point[-1])
        own = called("the method", lambda: solver.reweighted(root))
        if not isinstance(own, type(solver)):
            raise BrokenSolverError(f"the method returns {type(own).__name__}: expected an object of the class.")
        return own, point[:-1], columns.weighted(root)

    def products(point: Float[jax.Array, " k"], columns: Columns) -> tuple[Any, Any, Any]:
        own, theta, columns = at(point, columns)
        return _products(own, own, layout.factors(theta), columns)

    rng = np.random.default_rng(6)
    combination = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)),
        jax.eval_shape(lambda point: products(point, columns), jnp.asarray(points)[0]),
    )

    def parts(point: Float[jax.Array, " k"], e: Float[jax.Array, "N m"]) -> Float[jax.Array, " q"]:
        found = products(point, columns._replace(e=e))
        sums = jax.tree.map(lambda one, factor: jnp.sum(one * factor), found, combination)
        each = [sum(jax.tree.leaves(part), start=jnp.zeros(())) for part in sums]
        return jnp.stack([*each, jnp.sum(found[2][2])])

    def one(point: Float[jax.Array, " k"]) -> tuple[Trial, Slopes]:
        def first(point: Float[jax.Array, " k"]) -> Any:
            value, back = jax.vjp(parts, point, columns.e)
            reverse, by_response = jax.vmap(back)(jnp.eye(len(PARTS)))
            return (value, reverse), (value, reverse, by_response[-1])

        (forward, second), (value, reverse, by_response) = jax.jacfwd(first, has_aux=True)(point)
        slopes = Slopes(value, reverse, forward, second, by_response)
        own, theta, own_columns = at(point, columns)
        return _trial(own, own, design, layout.factors(theta), own_columns), slopes

    return called("factor, or what is made of it,", lambda: jax.vmap(one)(jnp.asarray(points)))


def _traced(columns: Columns) -> Columns:
    return Columns(*(jnp.asarray(part) for part in columns))


def _products(
    preparing: AbstractSolver, solver: AbstractSolver, factors: Factors, columns: Columns
) -> tuple[Any, Any, Any]:
    """Return ``log|H|``, ``AᵀH⁻¹B`` and ``AᵀH⁻¹A``, and the quadratic forms of each response.

    The solver that is ``preparing`` has rows.
    """
    a, b, e = columns
    (i, j, m) = (part.shape[1] for part in columns)
    factor = called("factor", lambda: solver.factor(factors))
    logdet = shaped("logdet", called("logdet", lambda: solver.logdet(factor)), ())
    own = called("cross_products", lambda: preparing.cross_products(a, a))
    both = called("cross_products", lambda: preparing.cross_products(a, b))
    inner = shaped("inner", called("inner", lambda: solver.inner(factor, both)), (i, j))
    gram = shaped("inner", called("inner", lambda: solver.inner(factor, own)), (i, i))
    augmented = called("augmented", lambda: preparing.augmented(a, e))
    wrong = [np.shape(leaf) for leaf in jax.tree.leaves(augmented) if np.shape(leaf)[:1] != (m,)]
    if wrong or not jax.tree.leaves(augmented):
        raise BrokenSolverError(
            f"augmented has a leaf of shape {wrong[0] if wrong else None}: expected a first axis over the {m} "
            "responses in every leaf; what responses share is left out."
        )

    def of_response(one: Any) -> Any:
        forms = called("quadratic_forms", lambda: solver.quadratic_forms(factor, own, one))
        if not isinstance(forms, tuple) or len(forms) != 3:
            raise BrokenSolverError("quadratic_forms: expected a tuple of AᵀH⁻¹A, AᵀH⁻¹e and eᵀH⁻¹e.")
        shapes = ((i, i), (i,), ())
        return tuple(shaped("quadratic_forms", form, shape) for form, shape in zip(forms, shapes, strict=True))

    return logdet, (inner, gram), jax.vmap(of_response)(augmented)


def _trial(
    solver: AbstractSolver, without_rows: AbstractSolver, design: Design, factors: Factors, columns: Columns
) -> Trial:
    logdet, (inner, gram), forms = _products(solver, without_rows, factors, columns)
    factor = solver.factor(factors)
    effects = called("effects", lambda: solver.effects(design, factors, factor, columns.e[:, 0]))
    if not isinstance(effects, Effects):
        raise BrokenSolverError(f"effects returns {type(effects).__name__}: expected lmm.solvers.Effects.")
    if len(effects.modes) != len(design.terms) or len(effects.sds) != len(design.terms):
        raise BrokenSolverError(
            f"effects: expected modes and sds of {len(design.terms)} terms, got {len(effects.modes)} and "
            f"{len(effects.sds)}."
        )
    return Trial(logdet, inner, gram, forms, tuple(effects.modes), tuple(effects.sds))


def shaped(method: str, value: Any, shape: tuple[int, ...]) -> Float[jax.Array, ...]:
    """Return the result of a method, or raise unless it is an array of this shape in double precision."""
    if not isinstance(value, jax.Array | np.ndarray) or value.shape != shape:
        what = f"shape {value.shape}" if hasattr(value, "shape") else type(value).__name__
        raise BrokenSolverError(f"{method}: expected an array of shape {shape}, got {what}.")
    if value.dtype != jnp.float64:
        raise BrokenSolverError(f"{method}: expected float64, in which its arguments come, got {value.dtype}.")
    return jnp.asarray(value)


def on_host(tree: T) -> T:
    """Return a pytree with arrays of the host."""
    return jax.tree.map(np.asarray, tree)


def take(tree: T, index: int) -> T:
    """Return one entry along the first axis of every array."""
    return jax.tree.map(lambda leaf: leaf[index], tree)
