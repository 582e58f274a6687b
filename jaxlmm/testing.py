"""Tests for authors of covariance structures."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import Array, in_double_precision
from jaxlmm.covariance import AbstractCovariance
from jaxlmm.covariance.contract import check_contract
from jaxlmm.errors import OptionError


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
