"""Tests for authors of covariance structures, of families, and of solvers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, in_double_precision
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.covariance.contract import check_contract
from jaxlmm.errors import OptionError
from jaxlmm.families import AbstractFamily, family_of
from jaxlmm.families import check_contract as check_family_contract
from jaxlmm.model import Design
from jaxlmm.solvers import AbstractSolver, as_solver
from jaxlmm.solvers import contract as solver_contract


@in_double_precision
@np.errstate(all="ignore")
def check_covariance(cov: AbstractCovariance, q: int = 4, *, coords: Float[Array, "q d"] | None = None) -> None:
    """Raise unless a covariance structure is what it says it is; the same is tried before its first fit.

    Parameters
    ----------
    cov
        A structure: an object of a class of one's own, or :class:`jaxlmm.covariance.Custom`.
    q
        The number of columns, or of positions.
    coords
        Where these are, ``(q, d)``; 0, 1, …, q − 1 if there are none, as for columns.

    Raises
    ------
    OptionError
        With the property that fails, and where: a whole number of parameters and a start of as many; a result of shape
        (q, q) in double precision, always the same, from values that JAX can trace; finite at the start; a lower
        triangular factor, or a symmetric, positive semidefinite covariance; finite derivatives that are those of the
        values; a name for each natural parameter.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import jaxlmm as lmm
    >>> lmm.testing.check_covariance(lmm.covariance.OU())
    >>> shared = lmm.covariance.Custom(lambda theta, coords: theta[0] * jnp.ones((len(coords),) * 2), 1)
    >>> try:
    ...     lmm.testing.check_covariance(shared, q=2)
    ... except lmm.OptionError as error:
    ...     print(str(error)[:87])
    check_covariance: Custom returns no covariance: expected a positive semidefinite matrix
    """
    if not isinstance(cov, AbstractCovariance):
        raise OptionError(f"check_covariance: expected an object of lmm.covariance, got {cov!r}.")
    positions = np.arange(float(q))[:, None] if coords is None else np.asarray(coords, float)
    if positions.ndim != 2 or not len(positions):
        raise OptionError(f"check_covariance: expected coords of shape (q, d), got {positions.shape}.")
    cov.check(positions)
    check_contract(cov.without_coords(), positions, "check_covariance")


@in_double_precision
@np.errstate(all="ignore")
def check_solver(solver: str | type[AbstractSolver], design: Design) -> None:
    """Raise unless a solver agrees on a design with plain dense algebra.

    Parameters
    ----------
    solver
        A class of one's own, a subclass of :class:`jaxlmm.solvers.AbstractSolver`; or one of ours.
    design
        From :func:`jaxlmm.design`, of at most 400 rows. Give several: with weights, levels of different sizes, and each
        kind of term that the solver takes.

    Raises
    ------
    OptionError
        With the method that is wrong, and how: what is declared; a pytree of numbers; ``log|H|``, ``AᵀH⁻¹B`` and the
        quadratic forms of augmented columns at four theta, one with variances of zero; modes and their conditional
        standard deviations; the same with padded rows and under ``vmap``; first and second derivatives in theta,
        forward and in reverse, that are finite and those of the values; derivatives in a response; a route for
        responses with missing values; where it has the method, the same of it ``reweighted``, with derivatives in the
        weights.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> design = lmm.design("~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> lmm.testing.check_solver(lmm.solvers.Moments, design)
    >>> class Doubled(lmm.solvers.Moments):
    ...     name = "doubled"
    ...     def logdet(self, factor):
    ...         return 2.0 * factor.logdet
    >>> try:
    ...     lmm.testing.check_solver(Doubled, design)
    ... except lmm.OptionError as error:
    ...     print(str(error).split(" = ")[0])
    check_solver: Doubled.logdet: expected log|H|
    """
    asked = as_solver(solver)
    if asked is None or not isinstance(design, Design):
        raise OptionError(f"check_solver: expected a solver and a design, got {solver!r} and {type(design).__name__}.")
    solver_contract.check_contract(asked, design, "check_solver")


@in_double_precision
@np.errstate(all="ignore")
def check_family(family: str | AbstractFamily, y: Float[Array, "*y"]) -> None:
    """Raise unless a family is what it says it is.

    Parameters
    ----------
    family
        An object of a class of one's own, or one of ours.
    y
        Some observations that it can have, ``(n,)``, or ``(n, 2)`` successes and trials where it has trials.

    Raises
    ------
    OptionError
        With the property that fails: a value for each observation, which no other one changes, from values that JAX can
        trace; finite derivatives that are those of the values; a kernel and a normalizer whose sum is the log-density;
        finite starts.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import jaxlmm as lmm
    >>> lmm.testing.check_family("nbinom2", [0.0, 3.0, 7.0])
    >>> class Summed(lmm.families.AbstractFamily):
    ...     def log_density(self, y, eta, dispersion):
    ...         return jnp.sum(y * eta - jnp.exp(eta))
    >>> try:
    ...     lmm.testing.check_family(Summed(), [1.0, 2.0])
    ... except lmm.OptionError as error:
    ...     print(str(error)[:61])
    check_family: Summed.log_density: expected one value for each
    """
    check_family_contract(family_of(family), np.asarray(y, float), "check_family")
