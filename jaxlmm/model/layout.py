"""The layout of theta by terms, and the map from theta to covariance factors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Float, Int

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.families import FamilyLayout, FamilyParameters
from jaxlmm.model.chain import MarkovChain
from jaxlmm.model.design import Design
from jaxlmm.model.dispersion import ScaledDispersion, Scaling
from jaxlmm.model.held import Held
from jaxlmm.model.matrices import covariance_of, over, reported_factor

STARTING_SIGMA = 0.7
"""Start of a sigma that is a parameter, relative to the residual standard deviation of least squares."""

SIGMA_NODES = np.array([0.05, 0.1, 0.18, 0.3, 0.5, 0.7, 0.85, 1.0, 1.3, 1.8, 2.7, 5.0, 10.0])
"""Values of sigma at which a better start is looked for, in the same unit."""


class Factors(NamedTuple):
    """Covariances at one theta, relative to sigma.

    ``terms``: per term over columns the factor (q, q) of its covariance; per term over q positions the covariance
    itself, (L, q, q) where each level has positions of its own, (1, q, q) where all share them. ``residual``: the
    covariance of the residuals of a level, as that of a term over positions, None without a structure. The covariance
    of a chain that the solver takes is a :class:`~jaxlmm.model.ChainFactor`. ``sigma``, in units of the response's
    scale, is None where it is profiled out; ``dispersion``: None without a model of it, else sigma is the geometric
    mean of the rows' residual standard deviations; ``family``, of a generalized model, whose sigma is 1.
    """

    terms: tuple[Any, ...]
    residual: Any
    sigma: Float[jax.Array, "*b"] | None = None
    dispersion: ScaledDispersion | None = None
    family: FamilyParameters | None = None

    def joint(self, members: Sequence[int] | None = None) -> Float[jax.Array, "q r"]:
        """Return the factor of some terms over columns, of all unless they are said, block diagonal in the terms."""
        terms = self.terms if members is None else [self.terms[t] for t in members]
        return block_diag(*terms) if terms else jnp.zeros((0, 0))

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
    response's scale, not to sigma, and its last entry is the logarithm of sigma, unless ``sigma`` is fixed too. The
    parameters of a term, and last of the residual structure, that are ``held`` remain in theta, which :meth:`errors`
    keep on a surface of ``n_held`` fewer dimensions: data, so that another number of them compiles nothing.
    ``chains`` are, of each term and last of the residual structure, those whose links the solver takes, or None.
    In a generalized model sigma is fixed at 1, and the entries of its ``family`` stand at the end of theta.
    """

    structures: tuple[AbstractCovariance, ...]
    coords: tuple[Float[Array, "... _ _"], ...]
    roots: tuple[Float[Array, "... _ _"], ...]
    residual: AbstractCovariance | None
    residual_coords: Float[Array, "*b L q d"] | None
    sigma: Float[Array, "*b"] | None = None
    dispersion: Scaling | None = None
    held: tuple[Held, ...] = ()
    absolute: bool = static(default=False)
    n_held: Int[Array, "*b"] | int = np.int32(0)
    chains: tuple[MarkovChain | None, ...] = ()
    family: FamilyLayout | None = None

    @classmethod
    def of(cls, design: Design, chains: tuple[MarkovChain | None, ...] = ()) -> Layout:
        """Return the layout of a design; ``chains`` are those of a solver."""
        distribution = design.distribution
        return cls(
            tuple(term.structure for term in design.terms),
            tuple(term.coords for term in design.terms),
            design.roots(),
            design.residual.structure if design.residual else None,
            design.residual.coords if design.residual else None,
            dispersion=None if design.dispersion is None else Scaling.of(design.dispersion),
            chains=chains,
            sigma=None if distribution is None else np.float64(1.0),
            absolute=distribution is not None,
            family=None if distribution is None else FamilyLayout.of(distribution.family, design.basis.shape[1]),
        )

    def in_unit(self, unit: Float[Array, ""] | float) -> Self:
        """Return the layout for a response of scale ``unit``, with fixed parameters relative to it."""
        if not self.absolute:
            return self
        held = tuple(one.replace(unit=unit) for one in self.held)
        return self.replace(held=held, sigma=None if self.sigma is None else self.sigma / unit)

    @property
    def is_held(self) -> bool:
        """Whether theta is kept on a surface."""
        return any(one.equations for one in self.held)

    def errors(self, theta: Float[jax.Array, " k"], bases: Sequence[Float[Array, "_ _"]]) -> Float[jax.Array, " m"]:
        """Return what is zero where the held parameters have their values, relative to these."""
        slices, parts = self.slices(), []
        for t, (structure, coords) in enumerate(zip(self.structures, self.coords, strict=True)):
            if self.held[t].equations:
                own = theta[slices[t]]
                parts += self.held[t].errors(structure, own, reported_factor(structure, own, coords, bases[t]))
        if self.residual is not None and self.residual_coords is not None and self.held[-1].equations:
            own, sigma = self.residual_theta(theta), self.reported_sigma(theta)
            factor = reported_factor(self.residual, own, self.residual_coords)
            parts += self.held[-1].errors(self.residual, own, factor, sigma)
        return jnp.concatenate(parts)

    def reported_sigma(self, theta: Float[jax.Array, " k"]) -> Float[Array, ""] | float:
        """Return the reported sigma in the unit of the factors: 1 where they are relative to it."""
        if not self.absolute or self.sigma is not None:
            return 1.0 if self.sigma is None else self.sigma
        dispersion = None if self.dispersion is None else self.dispersion.at(theta[self.beyond], scaled=True)
        return jnp.exp(theta[-1]) * Factors((), None, None, dispersion).sigma_ratio

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
        return sum(self.counts) + self.n_dispersion + self.sigma_is_free + self.n_family

    @property
    def n_family(self) -> int:
        """The number of entries of a family: those of its dispersion, and coefficients."""
        return 0 if self.family is None else self.family.size

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
        """The length of psi: all variance parameters, sigma included unless it is fixed."""
        return self.n_theta + (self.sigma is None and not self.absolute)

    @property
    def n_estimated(self) -> int:
        """The number of variance parameters that are estimated, sigma included."""
        return self.n_psi - int(self.n_held) - (0 if self.family is None else self.family.n_columns)

    def slices(self) -> tuple[slice, ...]:
        """Return the slice of theta of each term, and last of the residual structure."""
        ends = np.cumsum((0, *self.counts))
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    def factors(self, theta: Float[Array, " k"], bases: Sequence[Float[Array, "_ _"]] | None = None) -> Factors:
        """Return the covariances at ``theta``; bases (q, q) multiply the factors of columns from the left.

        Without ``bases`` theta is that of results, in which the coefficients of dispersion are those of its columns as
        they are in the data; with them, those of scaled columns.
        """
        slices = self.slices()
        terms, chains = [], self.chains or (None,) * (len(slices) + 1)
        for t, (structure, coords) in enumerate(zip(self.structures, self.coords, strict=True)):
            own, basis = theta[slices[t]], None if bases is None else bases[t]
            terms.append(covariance_of(structure, own, coords, basis, chains[t]))
        residual = None
        if self.residual is not None and self.residual_coords is not None:
            own = self.residual_theta(theta)
            residual = covariance_of(self.residual, own, self.residual_coords, chain=chains[-1])
        dispersion = None
        if self.dispersion is not None:
            dispersion = self.dispersion.at(theta[self.beyond], scaled=bases is not None)
        if not self.absolute:
            return Factors(tuple(terms), residual, None, dispersion)
        sigma = jnp.exp(theta[-1]) if self.sigma is None else jnp.asarray(self.sigma, theta.dtype)
        if self.sigma is not None and dispersion is not None:
            sigma = sigma * jnp.exp(dispersion.log_ratio)
        family = None if self.family is None else self.family.at(theta[self.n_theta - self.n_family :])
        return Factors(tuple(over(part, sigma) for part in terms), residual, sigma, dispersion, family)

    def report(self, theta: Float[Array, " k"], factors: Factors, scale: Float[Array, ""]) -> Float[jax.Array, " r"]:
        """Return the natural parameters of every term, then of the residual, its standard deviation first, and last the
        coefficients of dispersion; in a generalized model the family's dispersion stands in the place of the residual.

        ``scale`` is that of the response where the layout is absolute, otherwise sigma in response units.
        """
        parts = []
        sigma = jnp.asarray(scale) if factors.sigma is None else factors.sigma * scale
        pairs = zip(self.structures, factors.terms, self.coords, self.slices(), strict=False)
        for structure, factor, coords, where in pairs:
            if coords.ndim == 3:
                one = structure.reported_factor(theta[where], coords[0])
            else:
                one = factor if factors.sigma is None else factor * factors.sigma
            parts.append(structure.report(theta[where], one, jnp.asarray(scale)))
        if factors.family is not None:
            return jnp.concatenate([*parts, factors.family.dispersion])
        sigma = sigma * factors.sigma_ratio
        if self.residual is None or self.residual_coords is None:
            parts.append(sigma[None])
        else:
            own = self.residual_theta(theta)
            parts.append(self.residual.report(own, reported_factor(self.residual, own, self.residual_coords), sigma))
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
        if self.family is not None:
            parts.append(self.family.start())
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
        if self.family is not None:
            axes += [(self.n_theta - self.n_family + k, values) for k, values in self.family.search_axes()]
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

    def blocks(self) -> Int[NumpyArray, " k"]:
        """Return the index of the term of each entry of theta."""
        counts = (*self.counts, self.n_dispersion, int(self.sigma_is_free), self.n_family)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)
