"""The layout of theta by terms, and the map from theta to covariance factors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance import AbstractCovariance, Field, Parameter, PartlyFixed
from jaxlmm.errors import OptionError
from jaxlmm.model.design import Design, Term
from jaxlmm.model.dispersion import ScaledDispersion, Scaling
from jaxlmm.model.natural import Natural

LARGEST_GUESSED_SD = 40.0
"""Largest relative standard deviation of a start guessed from the data: where rows leave next to no residual, the guess
is a ratio of rounding errors."""

STARTING_SIGMA = 0.7
"""Start of a sigma that is a parameter, relative to the residual standard deviation of least squares."""

SIGMA_NODES = np.array([0.05, 0.1, 0.18, 0.3, 0.5, 0.7, 0.85, 1.0, 1.3, 1.8, 2.7, 5.0, 10.0])
"""Values of sigma at which a better start is looked for, in the same unit."""


class Factors(NamedTuple):
    """Covariance factors at one theta, relative to sigma.

    ``terms``: per term (q, q), or (L, q, q), one for each level, where the structure runs along q positions;
    ``residual``: None without a structure; ``sigma``, in units of the response's scale, is None where it is profiled
    out; ``dispersion``: None without a model of it, else sigma is the geometric mean of the rows' residual standard
    deviations.
    """

    terms: tuple[Float[jax.Array, "... _ _"], ...]
    residual: Float[jax.Array, "*b L q q"] | None
    sigma: Float[jax.Array, "*b"] | None = None
    dispersion: ScaledDispersion | None = None

    @property
    def sigma_ratio(self) -> Float[jax.Array, ""] | float:
        """The ratio of the reported sigma, where the columns of dispersion are zero, to that of these factors."""
        return 1.0 if self.dispersion is None else jnp.exp(-self.dispersion.log_ratio)


class Layout(Struct):
    """The map from theta to Factors: structures, coordinates and roots of a design's terms, no rows.

    ``theta`` is the concatenation of the terms' parameters in order, then those of the residual structure without its
    first, the scale, which is fixed at 1 because sigma is the scale of the residual, then the coefficients of a model
    of dispersion.

    Where a standard deviation is fixed in units of the response, the layout is ``absolute``: theta is relative to the
    response's scale, not to sigma, and its last entry is the logarithm of sigma, unless ``sigma`` is fixed too.
    Structures with fixed parameters are :class:`~jaxlmm.covariance.PartlyFixed`: theta has the free ones.
    """

    structures: tuple[AbstractCovariance, ...]
    coords: tuple[Float[Array, "... _ _"], ...]
    roots: tuple[Float[Array, "_ _"], ...]
    residual: AbstractCovariance | None
    residual_coords: Float[Array, "L q d"] | None
    sigma: Float[Array, "*b"] | None
    dispersion: Scaling | None
    absolute: bool = static()

    @classmethod
    def of(cls, design: Design, fixed: Natural | None = None) -> Layout:
        """Return the layout of a design, some natural parameters ``fixed``.

        Raises
        ------
        OptionError
            If a structure cannot have these parameters fixed, or not at these values.
        """
        structures, roots = [term.structure for term in design.terms], design.roots()
        residual, sigma = design.residual.structure if design.residual else None, None
        dispersion = None if design.dispersion is None else Scaling.of(design.dispersion)
        if fixed is not None:
            if fixed.absolute and any(isinstance(structure, Field) for structure in structures):
                raise OptionError(
                    "fixed: a standard deviation cannot be fixed beside parameters without a unit, as those of Custom "
                    "across levels are; write a class with param_names, report and from_natural."
                )
            structures = [_partly_fixed(*parts) for parts in zip(design.terms, roots, *fixed, strict=False)]
            own = fixed.values[-1]
            if design.dispersion is not None:
                count = design.dispersion.center.size
                dispersion, own = Scaling.of(design.dispersion, own[-count:]), own[:-count]
            if design.residual is not None:
                residual = _partly_fixed(design.residual, np.eye(1), fixed.parameters[-1], np.append(np.nan, own[1:]))
            sigma = own[0] if np.isfinite(own[0]) else None
        return cls(
            tuple(structures),
            tuple(term.coords for term in design.terms),
            roots,
            residual,
            design.residual.coords if design.residual else None,
            sigma,
            dispersion,
            fixed is not None and fixed.absolute,
        )

    def in_unit(self, unit: Float[Array, ""] | float) -> Self:
        """Return the layout for a response of scale ``unit``, with fixed parameters relative to it."""
        if not self.absolute:
            return self
        structures = tuple(s.in_unit(unit) if isinstance(s, PartlyFixed) else s for s in self.structures)
        return self.replace(structures=structures, sigma=None if self.sigma is None else self.sigma / unit)

    @property
    def sigma_is_free(self) -> bool:
        """Whether the last entry of theta is the logarithm of sigma."""
        return self.absolute and self.sigma is None

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of parameters of each term, and last of the residual structure where there is one."""
        counts = [s.n_params(c.shape[-2]) for s, c in zip(self.structures, self.coords, strict=True)]
        if self.residual is not None and self.residual_coords is not None:
            counts.append(self.residual.n_params(self.residual_coords.shape[-2]) - 1)
        return tuple(counts)

    @property
    def n_theta(self) -> int:
        """The length of theta, k."""
        return sum(self.counts) + self.n_dispersion + self.sigma_is_free

    @property
    def n_dispersion(self) -> int:
        """The number of coefficients of the model of dispersion that are free."""
        return 0 if self.dispersion is None else len(self.dispersion.free)

    @property
    def beyond(self) -> slice:
        """The slice of theta of the model of dispersion, beyond the structures' parameters."""
        return slice(sum(self.counts), sum(self.counts) + self.n_dispersion)

    @property
    def n_psi(self) -> int:
        """The number of all variance parameters that are estimated, sigma included: the length of psi."""
        return self.n_theta + (self.sigma is None and not self.absolute)

    def slices(self) -> tuple[slice, ...]:
        """Return the slice of theta of each term, and last of the residual structure."""
        ends = np.cumsum((0, *self.counts))
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    def factors(self, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]] | None = None) -> Factors:
        """Return the covariance factors at ``theta``; the basis (q, q) of a term multiplies its factor.

        Without ``bases`` theta is that of results, in which the coefficients of dispersion are those of its columns as
        they are in the data; with them, those of scaled columns.
        """
        slices = self.slices()
        terms = []
        for t, (structure, coords) in enumerate(zip(self.structures, self.coords, strict=True)):
            factor = _factor(structure, theta[slices[t]], coords)
            terms.append(factor if bases is None or factor.ndim == 3 else jnp.asarray(bases[t]) @ factor)
        residual = None
        if self.residual is not None and self.residual_coords is not None:
            residual = _factor(self.residual, self.residual_theta(theta), self.residual_coords)
        dispersion = None
        if self.dispersion is not None:
            dispersion = self.dispersion.at(theta[self.beyond], scaled=bases is not None)
        if not self.absolute:
            return Factors(tuple(terms), residual, None, dispersion)
        sigma = jnp.exp(theta[-1]) if self.sigma is None else jnp.asarray(self.sigma, theta.dtype)
        if self.sigma is not None and dispersion is not None:
            sigma = sigma * jnp.exp(dispersion.log_ratio)
        return Factors(tuple(factor / sigma for factor in terms), residual, sigma, dispersion)

    def report(self, theta: Float[Array, " k"], factors: Factors, scale: Float[Array, ""]) -> Float[jax.Array, " r"]:
        """Return the natural parameters of every term, then of the residual, its standard deviation first, and last the
        coefficients of dispersion.

        ``scale`` is that of the response where the layout is absolute, otherwise sigma in response units.
        """
        parts = []
        sigma = jnp.asarray(scale) if factors.sigma is None else factors.sigma * scale
        for structure, factor, where in zip(self.structures, factors.terms, self.slices(), strict=False):
            one = factor[0] if factor.ndim == 3 else factor
            one = one if factors.sigma is None else one * factors.sigma
            parts.append(structure.report(theta[where], one, jnp.asarray(scale)))
        sigma = sigma * factors.sigma_ratio
        if self.residual is None or factors.residual is None:
            parts.append(sigma[None])
        else:
            parts.append(self.residual.report(self.residual_theta(theta), factors.residual[0], sigma))
        if self.dispersion is not None and factors.dispersion is not None:
            parts.append(self.dispersion.report(factors.dispersion.coefficients))
        return jnp.concatenate(parts)

    def residual_theta(self, theta: Float[Array, " k"]) -> Float[jax.Array, " _"]:
        """Return the residual structure's parameters, its scale of 1 first."""
        return jnp.concatenate([jnp.ones(1, theta.dtype), theta[self.slices()[-1]]])

    def start(self) -> Float[NumpyArray, " k"]:
        """Return a starting point."""
        parts = [s.start(np.asarray(c)) for s, c in zip(self.structures, self.coords, strict=True)]
        if self.residual is not None:
            parts.append(self.residual.start(np.asarray(self.residual_coords))[1:])
        parts.append(np.zeros(self.n_dispersion))
        if self.sigma_is_free:
            parts.append(np.log([STARTING_SIGMA]))
        return np.concatenate([np.zeros(0), *parts])

    def search_axes(self) -> tuple[Int[NumpyArray, " axes"], Float[NumpyArray, "axes values"]]:
        """Return the indices in theta, and the values, at which a better start is looked for, one axis at a time."""
        slices, axes = self.slices(), []
        for where, structure, coords in zip(slices, self.structures, self.coords, strict=False):
            axes += [(where.start + k, values) for k, values in structure.search_axes(np.asarray(coords))]
        if self.residual is not None:
            own = self.residual.search_axes(np.asarray(self.residual_coords))
            axes += [(slices[-1].start + k - 1, values) for k, values in own if k > 0]
        if self.sigma_is_free:
            axes.append((self.n_theta - 1, np.log(SIGMA_NODES)))
        longest = max((len(values) for _, values in axes), default=1)
        table = np.zeros((len(axes), longest))
        for row, (_, values) in enumerate(axes):
            table[row] = np.pad(values, (0, longest - len(values)), mode="edge")
        return np.array([k for k, _ in axes], np.int32), table

    def bases(self) -> tuple[Float[NumpyArray, "_ _"], ...]:
        """Return the basis (q, q) of each term."""
        return tuple(
            np.eye(1) if coords.ndim == 3 else structure.basis(np.asarray(root))
            for structure, coords, root in zip(self.structures, self.coords, self.roots, strict=True)
        )

    def guess(
        self,
        covariance: Float[jax.Array, "columns columns"],
        start: Float[jax.Array, " k"],
        inverse_bases: Sequence[Float[Array, "_ _"]],
    ) -> Float[jax.Array, " k"]:
        """Return a start near a rough relative ``covariance`` of all columns of Z; ``start`` where a term has none."""
        first = 0
        for structure, coords, where, inverse in zip(
            self.structures, self.coords, self.slices(), inverse_bases, strict=False
        ):
            columns = slice(first, first + coords.shape[-2])
            inverse = jnp.asarray(inverse)
            rough = inverse @ covariance[columns, columns] @ inverse.T
            rough = rough * jnp.minimum(1.0, LARGEST_GUESSED_SD**2 / jnp.maximum(jnp.max(jnp.diagonal(rough)), 1.0))
            theta = structure.guess(rough)
            start = start if theta is None else start.at[where].set(theta)
            first = columns.stop
        return start

    def own_number(self, k: int) -> int:
        """Return the number of entry ``k`` of theta among all parameters of its structure, fixed ones included."""
        for structure, where in zip(self.structures, self.slices(), strict=False):
            if where.start <= k < where.stop:
                own = k - where.start
                return structure.free[own] if isinstance(structure, PartlyFixed) else own
        raise IndexError(k)

    def blocks(self) -> Int[NumpyArray, " k"]:
        """Return the index of the term of each entry of theta."""
        counts = (*self.counts, self.n_dispersion, int(self.sigma_is_free))
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _factor(
    structure: AbstractCovariance, theta: Float[jax.Array, " k"], coords: Float[Array, "*L q d"]
) -> Float[jax.Array, "*L q q"]:
    coords = jnp.asarray(coords)
    if coords.ndim == 3:
        return jax.vmap(structure.cholesky, in_axes=(None, 0))(theta, coords)
    return structure.cholesky(theta, coords)


def _partly_fixed(
    term: Term, root: Float[NumpyArray, "q q"], parameters: Sequence[Parameter], values: Float[NumpyArray, " r"]
) -> AbstractCovariance:
    """Return the structure of a term, its natural parameters fixed at those ``values`` that are not NaN."""
    if np.isnan(values).all():
        return term.structure
    structure = PartlyFixed.of(term.structure, values, np.asarray(term.coords), root)
    if structure is None:
        names = [parameter.name for parameter in parameters]
        fixed = {name: float(value) for name, value in zip(names, values, strict=True) if np.isfinite(value)}
        raise OptionError(
            f"fixed: {type(term.structure).__name__} cannot be held at {fixed}. Some of its parameters can be fixed "
            "where a term has one column, is uncorrelated ('||', 'diag'), unstructured with two columns, or 'ou'; of "
            f"other terms fix all, at values that a covariance has: {', '.join(names)}."
        )
    return structure
