"""The contract of a covariance structure: two methods to write, all the rest derived."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Real

from jaxlmm._util import Array, NumpyArray, Struct, static
from jaxlmm.covariance.along import AlongMethod
from jaxlmm.covariance.frozen import refuse_to_set
from jaxlmm.covariance.links import Markovian
from jaxlmm.covariance.parameters import Parameter, correlations_of, sds_of
from jaxlmm.covariance.reports import report_sd_corr
from jaxlmm.linalg import semidefinite_root, singular_vectors

SD_NODES = np.array([0.05, 0.1, 0.18, 0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.5, 8.0, 15.0, 40.0])
"""Relative standard deviations tried as a start; never 0, where the gradient vanishes for any data: the deviance is an
even function of a standard deviation."""

NEARLY_ZERO = 0.05
"""Relative standard deviations below this are tried at exactly 0 (and kept there only if the deviance agrees)."""

SMALLEST_GUESSED_SD = 0.1
"""Smallest relative standard deviation of a start guessed from the data: at zero the gradient vanishes."""

Candidate: TypeAlias = tuple[Float[Array, " k"], Float[Array, "q q"], Real[Array, " k"], Bool[Array, ""]]
"""One boundary candidate: theta, basis, active set, and whether it is valid."""

SearchAxes: TypeAlias = tuple[tuple[int, Float[NumpyArray, " _"]], ...]
"""Pairs of an index in theta and the values that are tried there."""


class BoundaryCandidates(NamedTuple):
    """Simpler points near a point of the parameter space, the simplest first, and the point itself last.

    ``theta`` is written in ``basis``; ``active_set`` is 0 where a parameter is free and other than 0 where it is kept
    at a boundary. Parameters that share a positive number form a block whose part of the Hessian, halved, is the
    derivative of the deviance in the (co)variances that are kept at zero: at an optimum it is positive semidefinite.
    ``valid`` candidates are near the point; the last one always is.
    """

    theta: Float[jax.Array, "*b c k"]
    basis: Float[jax.Array, "*b c q q"]
    active_set: Int[jax.Array, "*b c k"]
    valid: Bool[jax.Array, "*b c"]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> BoundaryCandidates:
        """Stack candidates."""
        theta, basis, active_set, valid = zip(*candidates, strict=True)
        return cls(
            jnp.stack([jnp.asarray(part) for part in theta]),
            jnp.stack([jnp.asarray(part) for part in basis]),
            jnp.stack([jnp.asarray(part, jnp.int32) for part in active_set]),
            jnp.stack([jnp.asarray(part, bool) for part in valid]),
        )


class AbstractCovariance(Markovian, Struct, abc.ABC):
    """A covariance structure for a block of q columns, or of q positions.

    A new structure needs :meth:`n_params` and either :meth:`cholesky` or :meth:`covariance`, whichever is easier to
    write: the other one is derived. Where an object is put decides what it acts on; the class does not know.
    ``covariance=`` puts it within the columns of a random term; a tag of the formula, as in ``ou(time | g)``, puts a
    built-in one along positions, or (``residual=``) among the residuals, where ``Structure().along("time | g")`` puts
    any; ``kinship=`` puts one with ``coords`` across the levels of a group. Hyper-parameters are plain annotated
    fields, numbers and arrays; what sets a shape, a branch or a function is declared as
    ``order: int = lmm.covariance.static()``, and must be hashable. Objects are frozen. Before the first fit a structure
    is tried out (:func:`jaxlmm.testing.check_covariance`, for authors too).

    Parameters
    ----------
    coords
        For ``kinship={group: structure}``: where each level of the group is, a data frame with the levels' labels as
        index and a column for each coordinate (or a series); every structure takes it, by name.

    Examples
    --------
    Compound symmetry in ten lines, used within the columns of a random term:

    >>> import jax.numpy as jnp
    >>> import jaxlmm as lmm
    >>> from jaxlmm.linalg import semidefinite_cholesky
    >>> class Exchangeable(lmm.covariance.AbstractCovariance):
    ...     def n_params(self, q):
    ...         return 2
    ...     def cholesky(self, theta, coords):
    ...         q = coords.shape[0]
    ...         shared, own = theta[0], theta[1]
    ...         return semidefinite_cholesky(shared**2 * jnp.ones((q, q)) + own**2 * jnp.eye(q))
    >>> fit = lmm.fit(
    ...     "angle ~ recipe + temp + (0 + recipe | replicate)",
    ...     lmm.datasets.cake(),
    ...     covariance={"replicate": Exchangeable()},
    ... )
    >>> fit.variance()["estimate"].round(3).tolist()[:3]
    [6.465, 6.465, 6.465]
    """

    coords: Any = static(default=None, kw_only=True)
    along: ClassVar[AlongMethod] = AlongMethod()
    """``residual=Structure.along("time | group")``: the structure among the residuals of a group, along positions."""

    def without_coords(self) -> Self:
        """Return the structure as a model takes it: coordinates stand in the model's terms."""
        bare = object.__new__(type(self))  # a copy would have arrays in numbers, which traced ones are not
        for name, value in {**self.__dict__, "coords": None}.items():
            object.__setattr__(bare, name, value)
        return bare

    @abc.abstractmethod
    def n_params(self, q: int) -> int:
        """Return how many parameters a block of ``q`` columns (or positions) needs."""

    def cholesky(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        """Return a lower factor of the covariance relative to the residual variance.

        Parameters
        ----------
        theta
            ``(n_params(q),)``, unconstrained.
        coords
            ``(q, d)``: the positions of the block, in increasing order when ``d`` is 1; for columns of a model
            matrix their numbers 0, 1, …, q − 1.

        Returns
        -------
        factor
            ``(q, q)`` with covariance ``factor @ factor.T``; an exactly singular one is a legal value. Build it from
            closed forms or with :func:`jaxlmm.linalg.semidefinite_cholesky`; ``jnp.linalg.cholesky`` fails on
            singular matrices, and batched LAPACK calls can deadlock on CPUs with few cores. Used as a residual
            structure, ``theta[0]`` is held at 1 and must be the standard deviation of the first position.
        """
        # A root by pivoted elimination, no triangle: accurate near singularity, and solvers need only L Lᵀ = Σ.
        return semidefinite_root(self.covariance(theta, coords))

    def covariance(self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"]) -> Float[jax.Array, "q q"]:
        """Return the covariance (q, q) relative to the residual variance, positive semidefinite at any ``theta``.

        A class that writes it may leave out :meth:`cholesky`: along positions and across levels no factor is needed,
        so that a kernel costs its own evaluation; within columns the factor is found by pivoted elimination.
        """
        factor = self.cholesky(theta, coords)
        return factor @ factor.T

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__setattr__ = refuse_to_set  # type: ignore[method-assign]
        written = {name for name in ("cholesky", "covariance") if name in vars(cls)}
        if written == {"covariance"}:  # one that is inherited would be that of another structure
            cls.cholesky = AbstractCovariance.cholesky  # type: ignore[method-assign]
        elif written == {"cholesky"}:
            cls.covariance = AbstractCovariance.covariance  # type: ignore[method-assign]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        base = AbstractCovariance
        if cls.cholesky is base.cholesky and cls.covariance is base.covariance:
            raise TypeError(f"{cls.__name__}: expected one of the methods cholesky and covariance, got neither.")
        return super().__new__(cls)

    @property
    def authored(self) -> bool:
        """Whether a user wrote it, so that its contract is checked before it is fitted."""
        return type(self).__module__.partition(".")[0] != __name__.partition(".")[0]

    def covariance_as_written(
        self, theta: Float[Array, " k"], coords: Float[Array, "q d"]
    ) -> Float[jax.Array, "q q"] | None:
        """Return :meth:`covariance` (q, q) if that is what the author wrote; None where it follows from the factor."""
        derived = type(self).covariance is AbstractCovariance.covariance
        return None if derived else self.covariance(jnp.asarray(theta), jnp.asarray(coords))

    def reported_factor(self, theta: Float[Array, " k"], coords: Float[Array, "q d"]) -> Float[jax.Array, "_ _"]:
        """Return the factor (q, q) that :meth:`report` gets for a block of positions or levels, long chains in part."""
        return self.leading_factor(theta, coords)

    def placed(self, coords: Float[NumpyArray, "q d"]) -> Self:
        """Return the structure for ``coords`` (q, d) that all levels share: itself, unless they set a shape."""
        return self

    def check(self, coords: Float[NumpyArray, "q d"]) -> None:
        """Raise if the structure cannot be used at ``coords`` (q, d)."""
        return

    def start(self, coords: Float[NumpyArray, "*L q d"]) -> Float[NumpyArray, " k"]:
        """Return a starting point ``(k,)``; ``coords`` is ``(q, d)`` or, for positions, ``(groups, q, d)``."""
        return np.full(self.n_params(coords.shape[-2]), 0.5)

    def guess(self, covariance: Float[jax.Array, "q q"]) -> Float[jax.Array, " k"] | None:
        """Return a starting point (k,) near a rough relative ``covariance`` (q, q) in the basis, or None.

        Parameters of which it says nothing, those that are not :meth:`guessed`, are NaN.
        """
        return None

    def guessed(self, q: int) -> Bool[NumpyArray, " k"]:
        """Return for which parameters of ``q`` columns or positions :meth:`guess` has a value: here all or none."""
        return np.full(self.n_params(q), type(self).guess is not AbstractCovariance.guess)

    def start_near(self, covariance: Float[jax.Array, "q q"], start: Float[jax.Array, " k"]) -> Float[jax.Array, " k"]:
        """Return the :meth:`guess` at a ``covariance`` (q, q), and ``start`` (k,) where there is none."""
        found = self.guess(covariance)
        return start if found is None else jnp.where(jnp.isnan(found), start, found)

    def search_axes(self, coords: Float[NumpyArray, "*L q d"]) -> SearchAxes:
        """Return pairs (index in theta, values) at which a better start is searched, coordinate by coordinate."""
        return ()

    def in_basis(
        self, theta: Float[jax.Array, " k"], coords: Float[jax.Array, "q d"], basis: Float[Array, "q q"]
    ) -> Float[jax.Array, "q q"]:
        """Return the factor (q, q) at ``theta`` (k,) written in a ``basis`` (q, q)."""
        return jnp.asarray(basis) @ self.cholesky(theta, coords)

    def basis(self, root: Float[NumpyArray, "q q"]) -> Float[NumpyArray, "q q"]:
        """Return the ``(q, q)`` matrix by which the factor is multiplied from the left while it is optimized.

        ``root`` (q, q) is upper triangular, ``rootᵀ root`` the mean of ``z zᵀ`` over the rows. The identity is right
        for any structure; one that is closed under a change of the columns' basis or units can return a better
        conditioned one.
        """
        return np.eye(root.shape[0])

    def rotated(
        self, theta: Float[jax.Array, " k"], basis: Float[jax.Array, "q q"]
    ) -> tuple[Float[jax.Array, " k"], Float[jax.Array, "q q"]]:
        """Return the same point ``theta`` (k,) in the ``basis`` (q, q) in which it is best minimized from there."""
        return theta, basis

    def boundary_candidates(
        self,
        theta: Float[jax.Array, " k"],
        basis: Float[jax.Array, "q q"],
        root: Float[jax.Array, "q q"],
        coords: Float[jax.Array, "_ d"],
    ) -> BoundaryCandidates:
        """Return simpler points near ``theta``, the simplest first, and the point itself last.

        Each sets parameters that are nearly zero to exactly zero; the caller judges it by the deviance. Here, in order:
        one parameter at zero where that makes the covariance zero, so that all others drop out; all parameters whose
        zero makes it singular, together; each of these alone; theta itself. ``coords`` (q, d) are those of the columns,
        or of a few positions.
        """
        number = np.arange(theta.size)
        small = jnp.abs(theta) < NEARLY_ZERO  # a search may have come so near to zero that the matrix is singular there
        nonzero = jnp.where(small, NEARLY_ZERO, theta)
        _, before = singular_vectors(self.cholesky(nonzero, coords))
        vanishing, singular, becoming = [], [], []
        for k in number:
            zeroed = theta.at[k].set(0.0)
            _, after = singular_vectors(self.cholesky(nonzero.at[k].set(0.0), coords))
            becomes = small[k] & (after[-1] < 1e-12 * after[0]) & (before[-1] >= 1e-12 * before[0])
            becoming.append(becomes)
            own = np.where(number == k, k + 1, 0)
            active_set = jnp.where(zeroed == 0.0, jnp.where(own > 0, own, -1), 0)
            vanishing.append((zeroed, basis, np.where(number == k, k + 1, -1), small[k] & (after[0] == 0.0)))
            singular.append((zeroed, basis, active_set, becomes))
        several = jnp.array(becoming, bool)
        together = (
            jnp.where(several, 0.0, theta), basis, jnp.where(several, number + 1, 0), jnp.sum(several) > 1
        )  # fmt: skip
        itself = (theta, basis, np.zeros(theta.size), np.True_)
        return BoundaryCandidates.of([*vanishing, together, *singular, itself])

    def from_basis(self, theta: Float[Array, " k"], basis: Float[Array, "q q"]) -> Float[Array, " k"]:
        """Return theta in the identity basis, with the sign convention of the structure; in NumPy or JAX."""
        return theta

    def parameters(self, columns: Sequence[str]) -> tuple[Parameter, ...]:
        """Return what :meth:`report` returns: name, kind, bounds, unit and scale of the interval of each number.

        Here the standard deviations of the ``columns`` (or positions), then their correlations. A class with a
        :meth:`report` of its own says here what it reports, as ``(Parameter("sd", "sd"), Parameter("range", "rate"))``
        with ``lmm.covariance.Parameter``; one that defines ``param_names(columns)`` in its place, which returns texts,
        has plain numbers: no bounds, no unit.
        """
        return sds_of(columns) + correlations_of(columns)

    def report(
        self, theta: Float[Array, " k"], factor: Float[Array, "q q"], sigma: Float[Array, ""]
    ) -> Float[jax.Array, " r"]:
        """Return the natural parameters in response units, in the order of :meth:`parameters`.

        Parameters
        ----------
        theta, factor, sigma
            ``(k,)``; ``(q, q)``, the factor of the block (its basis included); the residual standard deviation.
        """
        return report_sd_corr(jnp.asarray(factor), jnp.asarray(sigma))
