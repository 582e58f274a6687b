"""The model as data: validated, response-free, a pytree of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxlmm._util import Array, NumpyArray, Struct, aside, pad, static
from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.errors import OptionError
from jaxlmm.families import RowDistribution
from jaxlmm.model.basis import independent_basis, mean_products
from jaxlmm.model.dispersion import Dispersion
from jaxlmm.model.relation import Relation
from jaxlmm.model.values import Incidence, replaced

COLUMN_ROUNDING = 1e-12
"""Columns on some rows are recomputed from the QR decomposition of all rows; what is left of one after projection on
those before it, if at most this share of its length over all rows, may be rounding alone."""


class Grouping(Struct):
    """A grouping factor: ``codes`` are the levels of the rows.

    ``relation`` is a known covariance across levels, or None for independent levels.
    """

    codes: Int[Array, " N"]
    n_levels: Int[Array, ""]
    relation: Relation | None


COLUMN_BUCKETS = (0, 2, 4, 8, 12, 16, 24, 32, 48, 64)
"""Numbers to which fixed effects are padded for one response, so that another covariate compiles nothing."""


class Term(Struct):
    """One random term, or the residual structure: a covariance structure and the columns or positions it acts on.

    A term over *columns* has ``z`` (N, q), whose rows are weighted by the root of the observation's weight, and
    ``coords`` (q, 1), the indices 0 … q − 1 of the columns. A term over *positions* has ``positions``, the index of
    each row's position in its level, ``coords`` (L, q, d) in d dimensions, (1, q, d) where the levels share them, and
    ``z`` (N, 1), the roots of the weights, times the term's column where a structure acts across levels; 1 of the
    residual structure.
    """

    structure: AbstractCovariance
    coords: Float[Array, "*L q d"]
    z: Float[Array, "N _"]
    positions: Int[Array, " N"] | None
    grouping: int = static()

    @property
    def size(self) -> int:
        """The number of columns, or of positions per level, q."""
        return int(self.coords.shape[-2])

    @property
    def over_positions(self) -> bool:
        """Whether the term acts over positions rather than columns."""
        return self.positions is not None

    @property
    def own_positions(self) -> bool:
        """Whether each level has coordinates of its own."""
        return self.over_positions and self.coords.shape[0] > 1

    def blocks(self, codes: Int[Array, "*b"]) -> Int[Array, "*b"]:
        """Return which of the blocks of positions is that of each level, in NumPy or JAX."""
        return codes if self.own_positions else 0 * codes

    def by_cell(self, codes: Int[NumpyArray, " n"], values: Float[NumpyArray, " n"]) -> Float[NumpyArray, "L q"]:
        """Return the sums of ``values`` of the rows, whose levels are ``codes``, in each block and position."""
        shape = self.coords.shape[:2]
        cell = self.blocks(codes).astype(np.int64) * self.size + np.asarray(self.positions)[: codes.size]
        return np.bincount(cell, values, minlength=shape[0] * shape[1]).reshape(shape)

    def root(self, scale: Float[NumpyArray, "N 1"] | float = 1.0) -> Float[NumpyArray, "q q"]:
        """Return the upper triangle R of ``RᵀR = mean(z zᵀ)`` over the rows that the term touches.

        It is (q, q), or (1, 1) of a term over positions. ``scale`` multiplies the rows first.
        """
        z = np.asarray(self.z) * scale
        rows = max(int(np.count_nonzero(np.any(z != 0, axis=1))), 1)
        return np.asarray(np.linalg.qr(z, mode="r")) / np.sqrt(rows)


class Design(Struct):
    """A model without its response, as arrays. Rows are padded with zeros from ``n`` to a bucket size N.

    ``n_fixed`` is the number of fixed effects, p; ``basis`` (N, p) is an orthonormal basis of the weighted fixed-effect
    columns, ``triangle`` (p, p) with ``sqrt(w) * X = basis @ triangle``; ``root_weight`` (N,) is sqrt(w), ``offset``
    (N,) is subtracted from a response first; ``terms`` share ``groupings``; ``residual`` is a structure within groups,
    or None for independent errors; ``dispersion`` a model of their standard deviations, or None where all have the
    same.
    ``distribution`` is that of the rows given the random effects, None of a linear mixed model; it has the prior
    weights, and ``root_weight`` is then 1 in all rows.
    ``incidence`` is what is known of rows and levels where the arrays are traced; it is no part of compiled functions.
    On the host alone, ``built_with`` builds the same model with other options, ``whole_roots`` are the roots of the
    design that these rows were taken from, and ``rescaled`` are the terms in numbers, by whose rows' factors, traced,
    their z differ.
    """

    basis: Float[Array, "N p"]
    triangle: Float[Array, "p p"]
    root_weight: Float[Array, " N"]
    offset: Float[Array, " N"]
    n: Int[Array, ""]
    n_fixed: Int[Array, ""]
    terms: tuple[Term, ...]
    groupings: tuple[Grouping, ...]
    residual: Term | None
    dispersion: Dispersion | None
    built_with: Callable[[Mapping[str, Any]], Design] | None = aside()
    whole_roots: tuple[Float[NumpyArray, "_ _"], ...] | None = aside(default=None)
    incidence: Incidence | None = static(default=None)
    rescaled: tuple[tuple[Term, ...], Float[Array, " N"]] | None = aside(default=None)
    distribution: RowDistribution | None = None

    def replace(
        self,
        *,
        weights: Any = None,
        offset: Any = None,
        X: Any = None,
        kinship: Mapping[str, Any] | None = None,
        covariance: Mapping[str, AbstractCovariance] | None = None,
        **fields: Any,
    ) -> Self:
        """Return the design with other weights, offset, columns, known matrices or structures, all else the same.

        Rows, levels and terms stay. What is compiled for the one serves the other with weights or matrices that leave
        the sizes of the solver's arrays as they are; another structure compiles anew. Inside ``jit``, ``vmap`` and
        derivatives the values may be traced, and so may be fields of structures.

        Parameters
        ----------
        weights, offset
            One number for each of the n rows of the design; an offset of the formula is added.
        X
            (n, p), in place of the p columns of the fixed effects.
        kinship, covariance
            As in :func:`jaxlmm.design`; what is not named stays as it is. Known matrices, and ``coords`` of structures,
            may be arrays here, in the order of the design's levels; coordinates on one axis keep their order.
        **fields
            ``residual``, as in :func:`jaxlmm.design`; or fields of the design to set, unchecked, but not together with
            the options above.

        Raises
        ------
        DataError, KinshipError, OptionError
            As :func:`jaxlmm.design`; if the shapes would change, or fields stand beside options; and if the design was
            cut to rows, unpadded, or rebuilt by a JAX transformation.

        Examples
        --------
        >>> import jax, jax.numpy as jnp
        >>> import jaxlmm as lmm
        >>> sleep = lmm.datasets.sleepstudy()
        >>> design = lmm.design("~ Days + (1 | Subject)", sleep)
        >>> weighted = design.replace(weights=1.0 + sleep["Days"].to_numpy())
        >>> with jax.enable_x64(True):
        ...     y = jnp.array(sleep["Reaction"].to_numpy())
        ...     print([round(float(lmm.estimate(own, y).deviance), 3) for own in (design, weighted)])
        [1786.465, 1825.251]
        """
        options = {"weights": weights, "offset": offset, "X": X, "kinship": kinship, "covariance": covariance}
        if isinstance(fields.get("residual"), str | Along):
            options["residual"] = fields.pop("residual")
        changes = {name: value for name, value in options.items() if value is not None}
        if not changes:
            return super().replace(**fields)
        if fields:
            raise OptionError(f"replace: expected {', '.join(changes)} alone, got {', '.join(fields)} beside it.")
        changed: Self = replaced(self, changes)
        return changed

    @property
    def residual_is_white(self) -> bool:
        """Whether residuals in weighted rows are independent with one variance, whatever the parameters."""
        return self.residual is None and self.dispersion is None

    @property
    def n_padded(self) -> int:
        """The padded number of rows, N."""
        return int(self.basis.shape[0])

    def roots(self) -> tuple[Float[NumpyArray, "_ _"], ...]:
        """Return the root of each term, (q, q) or over positions (1, 1), with a known matrix's diagonal across levels.

        A design of some rows has the roots of all rows, so that a search for an optimum begins at the same points.
        """
        if self.whole_roots is not None:
            return self.whole_roots
        roots = []
        for term in self.terms:
            grouping = self.groupings[term.grouping]
            if grouping.relation is None:
                roots.append(term.root())
            else:
                roots.append(term.root(np.sqrt(grouping.relation.diagonal())[np.asarray(grouping.codes), None]))
        return tuple(roots)

    def mean_squares(self) -> tuple[Float[NumpyArray, "_ _"], ...]:
        """Return the mean squares M of each term, by which it adds to the variance of a row, on average.

        A term over columns adds ``tr(M Var(b))``, where M (q, q) is the mean of ``z zᵀ``. One over positions adds
        ``Σ_lj M_lj Var(b_lj)``, where M (L, q) is the sum of ``z²`` over the rows of each block and position, divided
        by n. Both are without weights, and times the diagonal of a known matrix across levels. Last, of a residual
        structure, is the share of the rows at each block and position.
        """
        n = int(self.n)
        root_weight = np.asarray(self.root_weight)[:n]
        squares = []
        for term in self.terms:
            grouping = self.groupings[term.grouping]
            codes, z = np.asarray(grouping.codes)[:n], np.asarray(term.z)[:n] / root_weight[:, None]
            if grouping.relation is not None:
                z = z * np.sqrt(grouping.relation.diagonal())[codes, None]
            if term.positions is None:
                squares.append(np.asarray(mean_products(z, np.ones((n, 1)))[0]))
                continue
            squares.append(term.by_cell(codes, z[:, 0] ** 2 / n))
        if self.residual is not None:
            codes = np.asarray(self.groupings[self.residual.grouping].codes)[:n]
            squares.append(self.residual.by_cell(codes, np.full(n, 1.0 / n)))
        return tuple(squares)

    def without_relations(self) -> Self:
        """Return the design as compiled functions get it, without its known matrices.

        Of these the solver has taken what it needs in ``build``.
        """
        groupings = tuple(grouping.replace(relation=None) for grouping in self.groupings)
        return self.replace(groupings=groupings, whole_roots=None, incidence=None, rescaled=None)

    def unpadded(self) -> Self:
        """Return the same design without padding: for many responses, compiling once more is worth it."""
        return self._with_rows(np.arange(int(self.n)), int(self.n)).replace(whole_roots=self.roots())

    def with_padded_columns(self, extra: int = 0, *, to: int | None = None) -> Self:
        """Return the same design with the columns of X padded to a bucket: zeros in the basis, ones in the triangle.

        There are at least ``extra``, or ``to`` columns in all; normal equations give them coefficients of zero.
        """
        triangle, p = np.asarray(self.triangle), self.triangle.shape[0]
        size = next((size for size in COLUMN_BUCKETS if size >= p + extra), p + extra) if to is None else to
        wide = np.eye(size)
        wide[:p, :p] = triangle
        return self.replace(basis=pad(np.asarray(self.basis), size, axis=1), triangle=wide)

    def at_rows(self, rows: Int[NumpyArray, " n"]) -> tuple[Self, Bool[NumpyArray, " p"]]:
        """Return the design of some of its ``rows``, and which fixed-effect columns are kept.

        Columns that depend on those before them on these rows are dropped. Rows are padded to as many as before; levels
        without a row stay.
        """
        design = self._with_rows(rows, self.n_padded).replace(whole_roots=self.roots())
        triangle = np.asarray(self.triangle)
        columns = np.asarray(design.basis)[: rows.size] @ triangle
        kept, basis, triangle = independent_basis(columns, rounding=COLUMN_ROUNDING * np.linalg.norm(triangle, axis=0))
        return design.replace(basis=pad(basis, self.n_padded), triangle=triangle, n_fixed=np.int64(kept.sum())), kept

    def without_rows(self) -> Self:
        """Return the design with empty arrays over rows, as a search takes it, which reads cross-products; n stays."""

        def none(values: Shaped[Array, "N ..."]) -> Shaped[NumpyArray, "0 ..."]:
            return np.zeros((0, *values.shape[1:]), values.dtype)

        return self._of_rows(none).replace(n=self.n)

    def _with_rows(self, rows: Int[NumpyArray, " n"], n_padded: int) -> Self:
        def some(values: Shaped[Array, "N ..."]) -> Shaped[NumpyArray, "_ ..."]:
            return pad(np.asarray(values)[rows], n_padded)

        return self._of_rows(some).replace(n=np.int64(rows.size))

    def _of_rows(self, take: Callable[[Array], NumpyArray]) -> Self:
        """Return the design with what ``take`` returns of each array over rows."""

        def of_term(term: Term) -> Term:
            positions = None if term.positions is None else take(term.positions)
            return term.replace(z=take(term.z), positions=positions)

        return super().replace(
            basis=take(self.basis),
            root_weight=take(self.root_weight),
            offset=take(self.offset),
            terms=tuple(of_term(term) for term in self.terms),
            groupings=tuple(grouping.replace(codes=take(grouping.codes)) for grouping in self.groupings),
            residual=None if self.residual is None else of_term(self.residual),
            dispersion=self.dispersion and self.dispersion.replace(columns=take(self.dispersion.columns)),
            distribution=self.distribution and self.distribution.of_rows(take),
            built_with=None,
            incidence=None,
            rescaled=None,
        )
