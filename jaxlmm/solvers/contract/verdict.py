"""The verdict on a solver: which method differs from dense algebra, or has derivatives that are not its values'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.solvers.contract.plain import Plain
from jaxlmm.solvers.contract.trial import BrokenSolverError, Columns, Slopes, Trial

MAX_ERROR = 1e-8
"""Largest difference from dense algebra, relative to the largest entry: where variances are large, dense algebra itself
is no more accurate."""

MAX_DERIVATIVE_ERROR = 1e-5
"""Largest difference of derivatives from central differences, relative to the size of value and derivatives: central
differences have errors of the order of the squared step, and of rounding divided by the step."""


def differs(mine: Any, expected: Any, tolerance: float = MAX_ERROR) -> bool:
    """Whether ``mine`` is not finite, of another shape than ``expected``, or differs by more than the tolerance.

    The ``tolerance`` is relative to the largest expected entry, or to 1 if that is larger.

    >>> differs([1.0, 2.0], [1.0, 2.0 + 1e-12]), differs([1.0, np.nan], [1.0, 2.0])
    (False, True)
    """
    mine, expected = np.asarray(mine), np.asarray(expected)
    if mine.shape != expected.shape or not np.isfinite(mine).all():
        return True
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    return bool(np.abs(mine - expected).max(initial=0.0) > tolerance * size)


def check_values(trial: Trial, plain: Plain, columns: Columns, at: str) -> None:
    """Raise, naming the method, if results of a ``trial`` differ from those of dense algebra on ``columns``.

    ``at`` describes theta in the message.
    """
    a, b, e = (np.asarray(part) for part in columns)
    gram, cross = plain.inner(a, a), plain.inner(a, e)
    squares = np.sum(e * np.linalg.solve(plain.covariance, e), axis=0)
    wrong_logdet = differs(trial.logdet, plain.logdet())
    wrong_inner, wrong_gram = differs(trial.inner, plain.inner(a, b)), differs(trial.gram, gram)
    of_a, with_e, of_e = trial.forms
    if wrong_logdet and wrong_inner and wrong_gram:
        raise BrokenSolverError(
            f"factor (or build, or without_rows): both log|H| and AᵀH⁻¹B differ from dense algebra at {at}; log|H| is "
            f"{float(trial.logdet):.8g}, expected {plain.logdet():.8g}."
        )
    if wrong_logdet:
        raise BrokenSolverError(
            f"logdet: expected log|H| = {plain.logdet():.8g} at {at}, got {float(trial.logdet):.8g}; AᵀH⁻¹B is right."
        )
    if wrong_inner or wrong_gram:
        which = "AᵀH⁻¹A of the cross-products of A with itself" if wrong_gram else "AᵀH⁻¹B"
        raise BrokenSolverError(
            f"inner, or cross_products: expected {which} as by dense algebra at {at}, got entries that are "
            f"{_largest(trial.gram, gram) if wrong_gram else _largest(trial.inner, plain.inner(a, b)):.3g} apart; "
            "log|H| is right."
        )
    if differs(of_a, np.broadcast_to(gram, of_a.shape)):
        raise BrokenSolverError(f"quadratic_forms: expected AᵀH⁻¹A as inner has it at {at}, got other numbers.")
    for words, mine, expected in (("AᵀH⁻¹e", with_e, cross.T), ("eᵀH⁻¹e", of_e, squares)):
        if differs(mine, expected):
            raise BrokenSolverError(
                f"augmented, or quadratic_forms: expected {words} consistent with the cross-products at {at}, got "
                f"entries that are {_largest(mine, expected):.3g} apart; inner is right."
            )
    for number, effects in enumerate(plain.effects(e[:, 0])):
        for words, found, expected in (("modes", trial.modes, effects.modes), ("sds", trial.sds, effects.sds)):
            mine = np.asarray(found[number])
            if mine.ndim != 2 or mine.shape[1] != expected.shape[1] or len(mine) <= effects.levels.max(initial=-1):
                raise BrokenSolverError(
                    f"effects: expected {words} of shape (levels, {expected.shape[1]}) for term {number}, got "
                    f"{mine.shape}."
                )
            # a standard deviation is the root of a difference, and has half of its digits near zero
            near = expected**2 if words == "sds" else expected
            if differs(mine[effects.levels] ** 2 if words == "sds" else mine[effects.levels], near):
                raise BrokenSolverError(
                    f"effects: expected the {words} of term {number} at {at} as by dense algebra, got entries that are "
                    f"{_largest(mine[effects.levels], expected):.3g} apart."
                )


def check_slopes(
    slopes: Slopes,
    above: Slopes,
    below: Slopes,
    along: Float[NumpyArray, " k"],
    theta: Float[NumpyArray, " k"],
    parts: Sequence[str],
) -> None:
    """Raise, naming the method, if derivatives are not finite or differ from central differences.

    ``slopes`` are those at ``theta``, ``above`` and ``below`` those at ``theta ± along``; ``parts`` are the methods
    whose numbers are differentiated, in the order of :class:`Slopes`.
    """
    wrong: dict[str, str] = {}
    length = np.linalg.norm(along)
    for number, part in enumerate(parts):
        reverse, forward, second = slopes.reverse[number], slopes.forward[number], slopes.second[number]
        size = float(np.abs(slopes.value[number]) + np.abs(reverse).max(initial=0.0))
        change = (above.value[number] - below.value[number]) / (2.0 * length)
        second_change = (above.reverse[number] - below.reverse[number]) / (2.0 * length)
        second_size = size + float(np.abs(second).max(initial=0.0))
        if not all(np.isfinite(each).all() for each in (reverse, forward, second)):
            wrong[part] = "derivatives that are finite"
        elif np.abs(reverse - forward).max(initial=0.0) > MAX_DERIVATIVE_ERROR * size:
            wrong[part] = "the same derivatives forward and in reverse"
        elif abs(reverse @ along / length - change) > MAX_DERIVATIVE_ERROR * size:
            wrong[part] = "derivatives that are those of its values"
        elif np.abs(second @ along / length - second_change).max(initial=0.0) > MAX_DERIVATIVE_ERROR * second_size:
            wrong[part] = "second derivatives that are those of its first"
    if wrong:
        method = "factor" if len(wrong) == len(set(parts)) else next(iter(wrong))
        raise BrokenSolverError(
            f"{method}: expected {next(iter(wrong.values()))} at theta = {theta.round(4).tolist()}; leave out "
            "stop_gradient, rounding and single precision, and see rules of differentiation."
        )


def _largest(mine: Any, expected: Any) -> float:
    """Return the largest difference of entries."""
    return float(np.abs(np.asarray(mine) - np.asarray(expected)).max(initial=0.0))
