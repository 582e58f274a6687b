"""The contract of a likelihood: what the search, the inference and the results ask of it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm._util import Array, Struct, static
from jaxlmm.model import Design, Factors, Layout
from jaxlmm.solvers import AbstractSolver, Effects


class Response(Struct):
    """One response, prepared: what is left of it after its least-squares fit, scaled to standard deviation 1.

    ``fixed`` holds what responses of one design share, and ``augmented`` what is this response's own, as the likelihood
    prepares them: where the rows' weights are known the cross-products of X, and those that the response adds;
    ``least_squares`` are coefficients on the design's basis; ``scale`` is the residual standard deviation of that fit,
    by which the response was divided; ``count`` the number of independent observations of the criterion, n, or n − p
    for REML; ``constant`` the additive constant of the deviance from weights, change of basis and response scale;
    ``added`` a sum of squares that is added to yᵀPy where the deviance has no lower bound because no residual is left
    (:mod:`jaxlmm.engine.vanishing`), else 0. Many responses have a first axis over them.
    """

    fixed: Any
    augmented: Any
    least_squares: Float[Array, "*b p"]
    scale: Float[Array, "*b"]
    count: Float[Array, "*b"]
    constant: Float[Array, "*b"]
    added: Float[Array, "*b"]


class Point(NamedTuple):
    """The likelihood's ingredients at one theta, in units of the response's scale.

    ``logdet`` log|H|; ``information`` log|XᵀH⁻¹X| and ``vcov`` (XᵀH⁻¹X)⁻¹, both on the basis of X; ``shift`` GLS minus
    least-squares coefficients; ``r2`` the residual quadratic form yᵀPy; ``factor`` what :meth:`Likelihood.factorized`
    returned.
    """

    logdet: Float[jax.Array, ""]
    information: Float[jax.Array, ""]
    vcov: Float[jax.Array, "p p"]
    shift: Float[jax.Array, " p"]
    r2: Float[jax.Array, ""]
    factor: Any


class Likelihood(Struct, abc.ABC):
    """A design with a solver and a criterion; pure functions of theta and a prepared response.

    ``reml`` is 1 where the criterion is REML's, 0 for ML. Theta is what the ``layout`` says: the structures'
    parameters, and at its end those beyond them, as the coefficients of a model of dispersion, and the logarithm of
    sigma where that is not profiled out. ``related`` is set where a known matrix or a structure relates the levels of a
    group, or residuals are correlated or differ in variance: then no limit is looked for where the residual vanishes
    (:mod:`jaxlmm.engine.vanishing`). Known matrices are in the solver, and no longer in the design.
    """

    solver: AbstractSolver
    layout: Layout
    design: Design
    reml: Float[Array, ""]
    related: bool = static(default=False)

    # ---- preparing responses -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def fixed_products(self) -> Any:
        """Return what all responses share, which does not depend on theta."""

    @abc.abstractmethod
    def residuals(
        self, y: Float[jax.Array, "N m"]
    ) -> tuple[Float[jax.Array, "p m"], Float[jax.Array, " m"], Float[jax.Array, "N m"]]:
        """Return least-squares coefficients on the basis, scales, and scaled residuals in rows multiplied by √w.

        ``y`` are responses in their own units, padded with zeros.
        """

    @abc.abstractmethod
    def observe_all(self, fixed: Any, y: Float[jax.Array, "N m"]) -> Response:
        """Prepare responses ``y``, in their own units and padded with zeros.

        ``fixed`` is what :meth:`fixed_products` returned, or None to leave it out. Every leaf but its own has a first
        axis over the responses.
        """

    @abc.abstractmethod
    def augmented_around(
        self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"], scale: Float[jax.Array, " m"]
    ) -> Any:
        """Return ``Response.augmented`` of ``y`` less the fit by ``coefficients`` on the basis, over ``scale``."""

    @abc.abstractmethod
    def around(self, y: Float[jax.Array, "N m"], coefficients: Float[jax.Array, "m p"]) -> Float[jax.Array, "N m"]:
        """Return ``y`` less offset and the fit by ``coefficients`` on the basis, in rows multiplied by √w."""

    def observe(self, y: Float[jax.Array, " N"]) -> Response:
        """Prepare one response ``y``."""
        fixed = self.fixed_products()
        return jax.tree.map(lambda leaf: leaf[0], self.observe_all(None, y[:, None])).replace(fixed=fixed)

    def without_rows(self) -> Self:
        """Return the likelihood of responses that are prepared, without what only preparing and :meth:`effects` need.

        A compiled function of it does not depend on the number of rows. The default, itself, is right for a likelihood
        that reads rows at each theta.
        """
        return self

    @property
    def bytes_of_rows(self) -> int:
        """The bytes that an evaluation at one theta takes by reading the rows; 0 where it does not."""
        return 0

    @property
    def together(self) -> int | None:
        """How many responses of a batch are evaluated together, the others after them; None for all."""
        return None

    @property
    def guesses_all(self) -> bool:
        """Whether a search begins at the guesses below, and not at the best of values along the axes of theta."""
        return False

    @property
    def guesses_some(self) -> bool:
        """Whether a search takes some parameters from the guesses below; others from the best of values along axes."""
        return self.guesses_all or self.solver.guesses_residual

    def for_response(self, response: Response) -> Self:
        """Return the likelihood with parameters fixed in response units written relative to the response's scale."""
        return self.replace(layout=self.layout.in_unit(response.scale)) if self.layout.absolute else self

    def started(self, start: Float[Array, "*b k"], responses: Response) -> Float[Array, "*b k"]:
        """Return the starts of responses, with what the likelihood itself begins at; in NumPy or JAX."""
        return start

    def padded(self, y: Float[Array, " n"]) -> Float[jax.Array, " N"]:
        """Pad a response ``y`` to the design's rows."""
        y = jnp.asarray(y)
        return jnp.zeros(self.design.n_padded, y.dtype).at[: y.shape[0]].set(y)

    @abc.abstractmethod
    def guess(self, response: Response) -> Float[jax.Array, "q q"] | None:
        """Return the solver's rough covariance of all columns of Z, relative to sigma², or None where it has none."""

    @abc.abstractmethod
    def guess_residual(self, response: Response) -> Float[jax.Array, "q q"] | None:
        """Return the solver's rough covariance of the residual structure's positions, in units of the response's scale,
        or None where it has none.
        """

    def guess_dispersion(
        self, theta: Float[jax.Array, " k"], bases: Sequence[Float[Array, "_ _"]], response: Response
    ) -> Float[jax.Array, " k"]:
        """Return theta with a rough dispersion of the family, given the rest; theta itself without a family."""
        return theta

    # ---- values at theta -----------------------------------------------------------------------------------------

    @abc.abstractmethod
    def factorized(self, factors: Factors) -> Any:
        """Do the work that depends on theta alone, and not on the response."""

    @abc.abstractmethod
    def at_factor(self, factor: Any, response: Response) -> Point:
        """Evaluate the ingredients where :meth:`factorized` returned ``factor``."""

    @abc.abstractmethod
    def criterion(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        """Return the deviance at a ``sigma`` in units of the response's scale or, for None, profiled over sigma."""

    @abc.abstractmethod
    def sigma(self, point: Point, sigma: Float[Array, ""] | None, response: Response) -> Float[jax.Array, ""]:
        """Return the sigma that :class:`~jaxlmm.model.Factors` are relative to, in response units.

        It is ``sigma``, in units of the response's scale, or for None, where it is profiled out, √(r²/count).
        """

    @abc.abstractmethod
    def loglik(
        self, factors: Factors, beta: Float[jax.Array, " p"], sigma: Float[jax.Array, ""], y: Float[jax.Array, " N"]
    ) -> Float[jax.Array, ""]:
        """Return the unprofiled log-likelihood of ``y``; ``beta`` and ``sigma`` are as a fit reports them."""

    def at(self, factors: Factors, response: Response) -> Point:
        """Evaluate the ingredients at the covariance ``factors``."""
        return self.at_factor(self.factorized(factors), response)

    def deviance(self, factors: Factors, response: Response) -> Float[jax.Array, ""]:
        """Return −2 log-likelihood (or REML criterion), profiled over beta, and over sigma if the factors have none."""
        return self.criterion(self.at(factors, response), factors.sigma, response)

    @abc.abstractmethod
    def products(
        self, factors: Factors, a: Float[jax.Array, "N i"]
    ) -> tuple[Float[jax.Array, "i i"], Float[jax.Array, ""]]:
        """Return ``Aᵀ H⁻¹ A`` of columns in rows multiplied by √w, and ``log|H|``."""

    # ---- rows ----------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def effects(self, factors: Factors, point: Point, residual: Float[jax.Array, " N"]) -> Effects:
        """Return the modes of the random effects given the marginal ``residual`` in rows multiplied by √w."""

    @abc.abstractmethod
    def residual_sds(self, factors: Factors) -> Float[jax.Array, " N"]:
        """Return the residual standard deviation of each row at weight 1, relative to sigma; any on padded rows."""

    @abc.abstractmethod
    def mean_residual_variance(self, factors: Factors) -> Float[jax.Array, ""]:
        """Return the mean over the rows of the residual variance at weight 1, relative to sigma²."""
