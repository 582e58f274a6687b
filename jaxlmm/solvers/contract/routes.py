"""The check of a solver's route for responses with missing values, against plain dense algebra of their rows."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, program
from jaxlmm.linalg import normal_equations
from jaxlmm.model import Design, Layout
from jaxlmm.solvers.base import AbstractSolver, ByResponse, Route
from jaxlmm.solvers.contract.plain import Plain
from jaxlmm.solvers.contract.trial import BrokenSolverError, called, on_host
from jaxlmm.solvers.contract.verdict import differs


def check_route(solver: type[AbstractSolver], design: Design, theta: Float[NumpyArray, " k"]) -> None:
    """Raise unless responses with missing values have the numbers that dense algebra finds on their rows.

    A solver without a route passes.
    """
    route = solver.route(design, 1)  # each response has rows of its own
    if route is Route.DESIGN:
        return
    bare, n = design.unpadded(), int(design.n)
    rng = np.random.default_rng(8)
    y = rng.normal(size=(n, 2))
    missing = [rng.choice(n, max(n // 8, 1), replace=False) for _ in range(2)]
    rows = [np.setdiff1d(np.arange(n), left_out) for left_out in missing]
    plain = Plain.of(design, on_host(Layout.of(design).factors(jnp.asarray(theta))))
    whole = solver.build(bare).unpadded()
    if route is Route.RESPONSE:
        present = np.stack([np.isin(np.arange(n), own).astype(float) for own in rows], axis=1)
        found = on_host(_of_response(whole, Layout.of(design), bare.without_relations(), theta, y * present, present))
        _compare("by_response", plain, bare, rows, y, found)
        return
    parts = []
    for column, own in enumerate(rows):
        some, values = design.at_rows(own)[0], y[own][:, [column]]
        prepared = called("by_pattern", functools.partial(whole.by_pattern, some, values))
        parts.append(on_host(_of_pattern(prepared, Layout.of(design), theta)))
    _compare("by_pattern", plain, bare, rows, y, jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts))


Prepared = tuple[Float[Array, "*m"], Float[Array, "*m"], Float[Array, "*m"], Float[Array, "*m"]]
"""``log|H|``, ``log|XᵀH⁻¹X|`` on an orthonormal basis of X, ``eᵀPe`` and the scale, of one response or several.

e is the residual of the least-squares fit divided by the scale, its standard deviation."""


@program(once=True)
def _of_response(
    whole: AbstractSolver,
    layout: Layout,
    design: Design,
    theta: Float[Array, " k"],
    y: Float[Array, "n m"],
    present: Float[Array, "n m"],
) -> Prepared:
    """Return the numbers of responses that are prepared by :meth:`AbstractSolver.by_response`."""
    prepared, _, _ = called("by_response", lambda: whole.by_response(design, jnp.asarray(y), jnp.asarray(present)))
    return _numbers(prepared, layout, theta)


@program(once=True)
def _of_pattern(prepared: ByResponse, layout: Layout, theta: Float[Array, " k"]) -> Prepared:
    """Return the numbers of responses that were prepared by :meth:`AbstractSolver.by_pattern`."""
    return _numbers(prepared, layout, theta)


def _numbers(prepared: ByResponse, layout: Layout, theta: Float[Array, " k"]) -> Prepared:
    """Return the numbers of every response at ``theta``."""
    factors = layout.factors(jnp.asarray(theta))

    def one(own: ByResponse) -> Prepared:
        factor = own.solver.factor(factors)
        information, cross, square = own.solver.quadratic_forms(factor, own.fixed, own.augmented)
        _, logdet, _, explained = normal_equations(information, cross)
        return own.solver.logdet(factor), logdet, square - explained, own.scale

    return jax.vmap(one)(jax.tree.map(jnp.asarray, prepared))


def _compare(
    method: str,
    plain: Plain,
    design: Design,
    rows: list[Int[NumpyArray, " _"]],
    y: Float[NumpyArray, "n m"],
    found: Prepared,
) -> None:
    """Raise unless the numbers of each response are those by dense algebra on its rows."""
    root, offset = np.asarray(design.root_weight), np.asarray(design.offset)
    for number, own in enumerate(rows):
        x, h = np.linalg.qr(np.asarray(design.basis)[own])[0], plain.at_rows(own)
        e = root[own] * (y[own, number] - offset[own])
        e = e - x @ (x.T @ e)
        scale = np.sqrt(e @ e / max(own.size - x.shape[1], 1))
        e = e / scale
        information, cross = x.T @ np.linalg.solve(h, x), x.T @ np.linalg.solve(h, e)
        square = e @ np.linalg.solve(h, e) - cross @ np.linalg.solve(information, cross)
        expected = np.linalg.slogdet(h)[1], np.linalg.slogdet(information)[1], square, scale
        for words, mine, right in zip(("log|H|", "log|XᵀH⁻¹X|", "eᵀPe", "scale"), found, expected, strict=True):
            if differs(mine[number], right):
                raise BrokenSolverError(
                    f"{method}: expected {words} = {right:.8g} on a response's rows, got {float(mine[number]):.8g}."
                )
