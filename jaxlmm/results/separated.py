"""What is reported of a response that is separated: the limit in which some linear predictors are infinite."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float

from jaxlmm._util import NumpyArray, pad
from jaxlmm.engine import Found
from jaxlmm.errors import DataError
from jaxlmm.families import ZERO_PART, ZeroInflated, observations, separated, with_reported_zero_part
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import (
    PROVEN,
    SEPARATED,
    STATUS,
    WITHOUT_ZERO_PART,
    ZERO_PART_AT_END,
    Rows,
    Verdict,
)
from jaxlmm.model import Design, independent_basis

SMALLEST_EIGENVALUE = 1e-8
"""Of the products of an orthonormal basis of X over the rows of a response: below it columns may be dependent there."""

SMALLEST_SINGULAR_VALUE = 1e-10
"""Of rows of an orthonormal basis, relative to their largest: a direction below it moves none of them."""

MOVES = 1e-6
"""A coefficient whose share of a direction is less than this does not move along it."""


class Limit(NamedTuple):
    """The limit of the likelihood along a direction of separation.

    ``direction`` (p,) are the coefficients' movements, the largest 1 or −1; ``rows`` are those whose linear predictors
    go to infinity, each to its side, and have then the probability 1; ``design`` is the model of all others, of the
    ``kept`` columns; coefficients that ``move`` have no finite estimate, the others have the same as in the limit.
    """

    direction: Float[NumpyArray, " p"]
    rows: Bool[NumpyArray, " n"]
    sides: Float[NumpyArray, " n"]
    design: Design
    kept: Bool[NumpyArray, " p"]
    move: Bool[NumpyArray, " p"]

    @classmethod
    def of(cls, frame: ModelFrame) -> Self | None:
        """Return the limit of the response of a frame, None where it is not separated.

        Raises
        ------
        DataError
            If the density of some rows does not depend on their linear predictors, as that of zeros in a hurdle model,
            and the others do not determine all coefficients.
        """
        design, y = frame.design, frame.y
        if design.distribution is None or y is None:
            return None
        n, family = y.size, design.distribution.family
        values = observations(y, frame.row_data)
        zeros = _of_zero_part(frame, values[:, None], np.ones((n, 1), bool)).get(0)
        if zeros is not None:
            raise DataError(
                f"response {frame.labels.response}: expected zeros and others that determine the coefficients of the "
                f"zero part, got none that give a finite estimate of {zeros}, as where a level has no zeros; leave a "
                "term of zero_inflated or these rows out."
            )
        sides = family.sides(values)
        basis = np.asarray(design.basis)[:n]
        if np.isnan(sides).any():
            undetermined = _undetermined(basis, sides, np.ones(n, bool))
            if undetermined is None:
                return None
            words = _in_words(np.linalg.solve(np.asarray(design.triangle), undetermined), frame.labels.fixed_names)
            raise DataError(
                f"response {frame.labels.response}: expected observations beside zeros that determine the coefficients "
                f"of the hurdle model, got none that give a finite estimate of {words}; leave a term or these rows out."
            )
        found = separated(basis, sides[:, None], np.ones((n, 1), bool)).get(0)
        if found is None:
            return None
        directions = np.linalg.solve(np.asarray(design.triangle), found.direction.T).T
        directions = directions / np.abs(directions).max(axis=1, keepdims=True)
        left = basis[~found.rows]
        kept, _, triangle = independent_basis(frame.x[~found.rows])
        whole = np.linalg.solve(triangle.T, frame.x[:, kept].T).T if kept.any() else np.zeros((n, 0))
        nullspace = np.linalg.solve(np.asarray(design.triangle), _nullspace(left))
        size = np.abs(nullspace).max(axis=0, keepdims=True, initial=1e-300)
        move = np.any(np.abs(nullspace / size) > MOVES, axis=1)
        first = np.zeros(directions.shape[1])
        for one in directions:  # what a later one moves is moved by it alone
            first = np.where(first == 0.0, np.where(np.abs(one) > MOVES, one, 0.0), first)
        weight = np.where(pad(found.rows, design.n_padded), 0.0, np.asarray(design.distribution.weight))
        limit = design.replace(
            basis=pad(whole, design.n_padded),
            triangle=triangle,
            n_fixed=np.int64(kept.sum()),
            distribution=design.distribution.replace(weight=weight),
        )
        return cls(first, found.rows, sides, limit, kept, move)

    def reported(
        self, found: Found, rows: Rows, verdict: Verdict, names: tuple[str, ...]
    ) -> tuple[Found, Rows, Verdict]:
        """Return what is reported in the limit, of all coefficients, by ``names``.

        Those that move are infinite, or NaN where their direction is not determined.
        """
        wide = found.of_all_columns(self.kept)
        examination, uncertainty = wide.examination, wide.uncertainty
        sign = np.where(self.direction == 0.0, np.nan, self.direction)
        beta = np.where(self.move, np.inf * np.sign(sign), examination.beta[0])[None]
        either = self.move[:, None] | self.move[None, :]
        values = examination.values
        if self.rows.all():  # nothing is left by which anything could be estimated
            values = values._replace(report=np.full_like(values.report, np.nan))
        wide = wide._replace(
            examination=examination._replace(beta=beta, values=values),
            uncertainty=uncertainty._replace(
                vcov=np.where(either, np.nan, uncertainty.vcov),
                vcov_derivative=np.where(either[..., None], np.nan, uncertainty.vcov_derivative),
            ),
        )
        n, far = self.rows.size, np.where(self.rows, self.sides * np.inf, 0.0)
        marginal, conditional = (np.array(part, float) for part in (rows.marginal, rows.conditional))
        for part in (marginal, conditional):
            part[:n] = np.where(self.rows, far, part[:n])
        ridge = {name: float(w) for name, w in zip(names, self.direction, strict=True) if w != 0.0}
        told = verdict._replace(ridge=ridge)
        if STATUS.index(verdict.status) in PROVEN or self.rows.all():
            told = told._replace(status="not_identified", help=SEPARATED)
        return wide, rows._replace(marginal=marginal, conditional=conditional), told


def with_zero_part(verdict: Verdict, frame: ModelFrame, found: Found) -> Verdict:
    """Return a verdict that explains a boundary to which a zero part with columns has gone."""
    distribution = frame.design.distribution
    if distribution is None or not isinstance(distribution.family, ZeroInflated) or verdict.status != "boundary":
        return verdict
    of_zeros = np.array([p.group == ZERO_PART and not p.at_end(0.0) for p in frame.labels.natural])
    if not (of_zeros & verdict.at_boundary).any():
        return verdict
    report = with_reported_zero_part(distribution.family, np.asarray(found.examination.values.report[0]))
    vanishes = not np.isfinite(report[of_zeros]).all()
    return verdict._replace(help=WITHOUT_ZERO_PART if vanishes else ZERO_PART_AT_END)


def _nullspace(rows: Float[NumpyArray, "k p"]) -> Float[NumpyArray, "p r"]:
    """Return an orthonormal basis of the directions in which no row moves."""
    _, size, vectors = np.linalg.svd(np.concatenate([rows, np.zeros((1, rows.shape[1]))]))
    rank = int(np.sum(size > SMALLEST_SINGULAR_VALUE * size.max(initial=0.0)))
    return np.asarray(vectors[rank:].T)


def examined(frame: ModelFrame, y: Float[NumpyArray, "n m"]) -> tuple[Bool[NumpyArray, " m"], dict[int, str]]:
    """Return which responses, NaN where missing, have a value that the family cannot have, and the directions of those
    that are separated, by number.
    """
    distribution, observed = frame.design.distribution, np.isfinite(y)
    assert distribution is not None
    values = observations(np.where(observed, y, 0.0), frame.row_data)
    impossible = np.any(observed & ~distribution.family.allows(values), axis=0)
    of_zeros = _of_zero_part(frame, values, observed & ~impossible)
    sides, basis = distribution.family.sides(values), np.asarray(frame.design.basis)[: len(y)]
    to_columns, names = np.linalg.inv(np.asarray(frame.design.triangle)), frame.labels.fixed_names
    if np.isnan(sides).any():
        every = {i: _undetermined(basis, sides[:, i], observed[:, i]) for i in np.flatnonzero(~impossible).tolist()}
        directions = {number: one for number, one in every.items() if one is not None}
    else:
        found = separated(basis, np.where(observed, sides, 0.0), observed & ~impossible)
        directions = {number: own.direction[0] for number, own in found.items()}
    found_words = {number: _in_words(to_columns @ one, names) for number, one in directions.items()}
    return impossible, {number: f"{words} of the zero part" for number, words in of_zeros.items()} | found_words


def _of_zero_part(
    frame: ModelFrame, values: Float[NumpyArray, "n m ..."], observed: Bool[NumpyArray, "n m"]
) -> dict[int, str]:
    """Return, by number, along which coefficients of the zero part the likelihoods of responses rise for ever."""
    assert frame.design.distribution is not None
    family, columns = frame.design.distribution.family, frame.row_data
    if not isinstance(family, ZeroInflated) or not family.columns or columns is None:
        return {}
    _, basis, triangle = independent_basis(np.asarray(columns))
    found = separated(basis, np.where(observed, family.sides_of_zero_part(values), 0.0), observed)
    return {i: _in_words(np.linalg.solve(triangle, own.direction[0]), family.columns) for i, own in found.items()}


def _undetermined(
    basis: Float[NumpyArray, "n p"], sides: Float[NumpyArray, " n"], observed: Bool[NumpyArray, " n"]
) -> Float[NumpyArray, " p"] | None:
    """Return a direction along which the likelihood does not fall, where the density of some rows, whose side is NaN,
    does not depend on the linear predictor; None without one.
    """
    informs = observed & ~np.isnan(sides)
    flat = _nullspace(basis[informs])
    if flat.shape[1]:
        return flat[:, 0]
    found = separated(basis[informs], sides[informs, None], np.ones((int(informs.sum()), 1), bool)).get(0)
    return None if found is None else found.direction[0]


def of_full_rank(basis: Float[NumpyArray, "n p"], observed: Bool[NumpyArray, "n m"]) -> Bool[NumpyArray, " m"]:
    """Return for which responses the columns are independent on the rows where they are ``observed``, and fewer."""
    found = np.array(observed.all(axis=0))
    others = np.flatnonzero(~found)
    products = np.einsum("ni,nm,nj->mij", basis, observed[:, others].astype(float), basis, optimize=True)
    smallest = np.linalg.eigvalsh(products)[:, 0] if basis.shape[1] else np.ones(others.size)
    found[others] = (smallest > SMALLEST_EIGENVALUE) & (observed[:, others].sum(axis=0) > basis.shape[1])
    return found


def _in_words(direction: Float[NumpyArray, " p"], names: tuple[str, ...]) -> str:
    """Return a direction as a sum of coefficients.

    >>> _in_words(np.array([-1.0, 1.0, 0.0]), ("Intercept", "x", "z"))
    '-Intercept + x'
    """
    scaled, text = direction / np.abs(direction).max(), ""
    for name, weight in zip(names, scaled, strict=True):
        if abs(weight) > MOVES:
            size = "" if abs(abs(weight) - 1.0) < MOVES else f"{abs(weight):.3g} "
            sign = "-" if weight < 0 else "+"
            text += f" {sign} {size}{name}" if text else f"{'-' if weight < 0 else ''}{size}{name}"
    return text
