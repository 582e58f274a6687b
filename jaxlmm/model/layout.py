"""Where each term's parameters stand in theta, and how theta becomes covariance factors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance import AbstractCovariance, Field, Parameter, PartlyFixed
from jaxlmm.errors import OptionError
from jaxlmm.model.design import Design, Term
from jaxlmm.model.natural import Natural

LARGEST_GUESS = 40.0
"""A start guessed from the data has no larger relative standard deviation: where rows leave next to no residual, the
guess is a ratio of rounding errors."""


FIRST_SIGMA = 0.7
"""Where sigma is a parameter it starts here, relative to the residual standard deviation of least squares."""

SIGMAS = np.array([0.05, 0.1, 0.18, 0.3, 0.5, 0.7, 0.85, 1.0, 1.3, 1.8, 2.7, 5.0, 10.0])
"""Values of sigma at which a start is looked for."""


class Factors(NamedTuple):
    """Covariance factors at one theta, relative to sigma.

    ``terms``: per term (q, q), or (G, Q, Q) over positions; ``residual``: (G, Q, Q) or None; ``sigma`` () in units of
    the response's scale where it is given, None where it is profiled out.
    """

    terms: tuple[jax.Array, ...]
    residual: jax.Array | None
    sigma: jax.Array | None = None


class Layout(Struct):
    """The part of a design that turns theta into factors: structures and coordinates, no rows.

    ``theta`` is the concatenation of the terms' parameters in order, then those of the residual structure without its
    first, the scale, which is held at 1 because sigma is the scale of the residual. ``roots`` are those of the terms.

    Where a standard deviation is fixed in units of the response, the layout is ``absolute``: theta is relative to the
    response's scale, not to sigma, and its last entry is the logarithm of sigma, unless ``sigma`` () is fixed too.
    Structures of which something is fixed are :class:`~jaxlmm.covariance.PartlyFixed`: theta has what is free.
    """

    structures: tuple[AbstractCovariance, ...]
    coords: tuple[Array, ...]
    roots: tuple[Array, ...]
    residual: AbstractCovariance | None
    residual_coords: Array | None
    sigma: Array | None
    absolute: bool = static()

    @classmethod
    def of(cls, design: Design, fixed: Natural | None = None) -> Layout:
        """Take the layout of a design, with what is ``fixed``.

        Raises
        ------
        OptionError
            If parameters are fixed that a structure cannot hold, or at values that it cannot have.
        """
        structures, roots = [term.structure for term in design.terms], design.roots()
        residual, sigma = design.residual.structure if design.residual else None, None
        if fixed is not None:
            if fixed.absolute and any(isinstance(structure, Field) for structure in structures):
                raise OptionError(
                    "fixed: a standard deviation cannot be fixed beside parameters without a unit, as those of Custom "
                    "across levels are; write a class with param_names, report and from_natural."
                )
            structures = [_pinned(*parts) for parts in zip(design.terms, roots, *fixed, strict=False)]
            own = fixed.values[-1]
            if design.residual is not None:
                residual = _pinned(design.residual, np.eye(1), fixed.parameters[-1], np.append(np.nan, own[1:]))
            sigma = own[0] if np.isfinite(own[0]) else None
        return cls(
            tuple(structures),
            tuple(term.coords for term in design.terms),
            roots,
            residual,
            design.residual.coords if design.residual else None,
            sigma,
            fixed is not None and fixed.absolute,
        )

    def in_unit(self, unit: Array) -> Self:
        """Return the layout for a response of scale ``unit`` (): what is fixed is relative to it."""
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
        return sum(self.counts) + self.sigma_is_free

    @property
    def n_psi(self) -> int:
        """The number of all variance parameters that are estimated: those of theta, and sigma."""
        return self.n_theta + (self.sigma is None and not self.absolute)

    def slices(self) -> tuple[slice, ...]:
        """Return the place of each term in theta (the residual structure last)."""
        ends = np.cumsum((0, *self.counts))
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    def factors(self, theta: jax.Array, bases: Sequence[Array] | None = None) -> Factors:
        """Return the covariance factors at ``theta`` (k,); a basis (q, q) per term multiplies its factor."""
        places = self.slices()
        found = []
        for t, (structure, coords) in enumerate(zip(self.structures, self.coords, strict=True)):
            block = theta[places[t]]
            factor = _factor(structure, block, coords)
            found.append(factor if bases is None or factor.ndim == 3 else jnp.asarray(bases[t]) @ factor)
        residual = None
        if self.residual is not None and self.residual_coords is not None:
            residual = _factor(self.residual, self.residual_theta(theta), self.residual_coords)
        if not self.absolute:
            return Factors(tuple(found), residual)
        sigma = jnp.exp(theta[-1]) if self.sigma is None else jnp.asarray(self.sigma, theta.dtype)
        return Factors(tuple(factor / sigma for factor in found), residual, sigma)

    def report(self, theta: jax.Array, factors: Factors, scale: Array) -> jax.Array:
        """Return the natural parameters (r,) of every term, then of the residual, its standard deviation first.

        ``scale`` () is that of the response where the layout is absolute, otherwise sigma in response units.
        """
        places, parts = self.slices(), []
        sigma = jnp.asarray(scale) if factors.sigma is None else factors.sigma * scale
        for structure, factor, place in zip(self.structures, factors.terms, places, strict=False):
            own = factor[0] if factor.ndim == 3 else factor
            own = own if factors.sigma is None else own * factors.sigma
            parts.append(structure.report(theta[place], own, jnp.asarray(scale)))
        if self.residual is None or factors.residual is None:
            parts.append(sigma[None])
        else:
            parts.append(self.residual.report(self.residual_theta(theta), factors.residual[0], sigma))
        return jnp.concatenate(parts)

    def residual_theta(self, theta: jax.Array) -> jax.Array:
        """Return the residual structure's own parameters, its scale of 1 first."""
        return jnp.concatenate([jnp.ones(1, theta.dtype), theta[self.slices()[-1]]])

    def start(self) -> NumpyArray:
        """Return a starting point (k,)."""
        parts = [s.start(np.asarray(c)) for s, c in zip(self.structures, self.coords, strict=True)]
        if self.residual is not None:
            parts.append(self.residual.start(np.asarray(self.residual_coords))[1:])
        if self.sigma_is_free:
            parts.append(np.log([FIRST_SIGMA]))
        return np.concatenate([np.zeros(0), *parts])

    def search_axes(self) -> tuple[NumpyArray, NumpyArray]:
        """Return parameter numbers (a,) and values (a, v) along which a better start is looked for."""
        places, found = self.slices(), []
        for place, structure, coords in zip(places, self.structures, self.coords, strict=False):
            found += [(place.start + k, values) for k, values in structure.search_axes(np.asarray(coords))]
        if self.residual is not None:
            axes = self.residual.search_axes(np.asarray(self.residual_coords))
            found += [(places[-1].start + k - 1, values) for k, values in axes if k > 0]
        if self.sigma_is_free:
            found.append((self.n_theta - 1, np.log(SIGMAS)))
        longest = max((len(values) for _, values in found), default=1)
        table = np.zeros((len(found), longest))
        for row, (_, values) in enumerate(found):
            table[row] = np.pad(values, (0, longest - len(values)), mode="edge")
        return np.array([k for k, _ in found], np.int32), table

    def bases(self) -> tuple[NumpyArray, ...]:
        """Return the basis of each term: the basis (q, q) of its columns in which it is optimized."""
        return tuple(
            np.eye(1) if coords.ndim == 3 else structure.basis(np.asarray(root))
            for structure, coords, root in zip(self.structures, self.coords, self.roots, strict=True)
        )

    def guess(self, covariance: jax.Array, start: jax.Array, inverse_bases: Sequence[Array]) -> jax.Array:
        """Return a start (k,) near a rough relative covariance of all columns of Z; where there is none, ``start``."""
        first = 0
        for structure, coords, place, inverse in zip(
            self.structures, self.coords, self.slices(), inverse_bases, strict=False
        ):
            own = slice(first, first + coords.shape[-2])
            inverse = jnp.asarray(inverse)
            rough = inverse @ covariance[own, own] @ inverse.T
            rough = rough * jnp.minimum(1.0, LARGEST_GUESS**2 / jnp.maximum(jnp.max(jnp.diagonal(rough)), 1.0))
            found = structure.guess(rough)
            start = start if found is None else start.at[place].set(found)
            first = own.stop
        return start

    def own_number(self, k: int) -> int:
        """Return the number of entry ``k`` of theta among all parameters of its structure, fixed ones included."""
        for structure, place in zip(self.structures, self.slices(), strict=False):
            if place.start <= k < place.stop:
                own = k - place.start
                return structure.free[own] if isinstance(structure, PartlyFixed) else own
        raise IndexError(k)

    def blocks(self) -> NumpyArray:
        """Return the number of the term that each entry of theta belongs to, (k,) int32."""
        counts = (*self.counts, 1) if self.sigma_is_free else self.counts
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _factor(structure: AbstractCovariance, theta: jax.Array, coords: Array) -> jax.Array:
    coords = jnp.asarray(coords)
    if coords.ndim == 3:
        return jax.vmap(structure.cholesky, in_axes=(None, 0))(theta, coords)
    return structure.cholesky(theta, coords)


def _pinned(term: Term, root: NumpyArray, parameters: Sequence[Parameter], values: NumpyArray) -> AbstractCovariance:
    """Return the structure of a term with what has a value held at it."""
    if np.isnan(values).all():
        return term.structure
    found = PartlyFixed.of(term.structure, values, np.asarray(term.coords), root)
    if found is None:
        names = [parameter.name for parameter in parameters]
        wanted = {name: float(value) for name, value in zip(names, values, strict=True) if np.isfinite(value)}
        raise OptionError(
            f"fixed: {type(term.structure).__name__} cannot be held at {wanted}. Some of its parameters can be fixed "
            "where a term has one column, is uncorrelated ('||', 'diag'), unstructured with two columns, or 'ou'; of "
            f"other terms fix all, at values that a covariance has: {', '.join(names)}."
        )
    return found
