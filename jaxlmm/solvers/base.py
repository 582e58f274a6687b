"""The contract of a solver: exact products with the inverse of H(theta), and its log-determinant."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple, Self

import jax

from jaxlmm._util import Array, Struct
from jaxlmm.model import Design, Factors


class Effects(NamedTuple):
    """Conditional modes and their conditional standard deviations, per term, levels × columns (or positions).

    ``modes`` are in response units; ``sds`` are relative to sigma.
    """

    modes: tuple[jax.Array, ...]
    sds: tuple[jax.Array, ...]


class AbstractSolver(Struct, abc.ABC):
    """Work that does not depend on theta is done once (``build``, ``cross_products``), the rest per theta (``factor``).

    With ``H(theta) = R + Z Λ Λᵀ Zᵀ`` in weighted rows, the likelihood needs ``Aᵀ H⁻¹ B`` and ``log|H|`` and nothing
    else. Rows are padded to N; padded rows are zero in every argument. A solver is a pytree, so that one compiled
    program serves every data set of the same shapes.
    """

    name: ClassVar[str]

    @classmethod
    @abc.abstractmethod
    def build(cls, design: Design) -> Self:
        """Do the work that depends on the design alone, on the host."""

    def exact(self) -> Self:
        """Return the same solver without padding: for many responses, compiling once more is worth it."""
        return self

    @property
    def hessian_is_expensive(self) -> bool:
        """Whether an exact Hessian of the log-determinant costs many times its gradient."""
        return False

    @property
    def coarse_start(self) -> bool:
        """Whether an evaluation costs so much that a start is looked for in few places."""
        return False

    @property
    def sequential(self) -> bool:
        """Whether evaluations and directions follow one another, because all at once they would take much memory."""
        return False

    @property
    def guesses(self) -> bool:
        """Whether :meth:`guess` returns a covariance."""
        return False

    @abc.abstractmethod
    def cross_products(self, a: Array, b: Array) -> Any:
        """Prepare ``Aᵀ H⁻¹ B`` for ``a`` (N, i) and ``b`` (N, j) as far as it does not depend on theta."""

    @abc.abstractmethod
    def factor(self, factors: Factors) -> Any:
        """Do the work that depends on theta alone. A term's factor may have more columns than rows."""

    @abc.abstractmethod
    def logdet(self, factor: Any) -> jax.Array:
        """Return ``log|H|``, ()."""

    @abc.abstractmethod
    def inner(self, factor: Any, products: Any) -> jax.Array:
        """Return ``Aᵀ H⁻¹ B``, (i, j)."""

    @abc.abstractmethod
    def augmented(self, a: Array, e: Array) -> Any:
        """Prepare what each column of ``e`` (N, m), m responses, adds to the pair of ``a`` (N, i) with itself.

        Every leaf of the result has a first axis over the m responses, and holds nothing that they share.
        """

    @abc.abstractmethod
    def quadratic_forms(self, factor: Any, products: Any, augmented: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return ``Aᵀ H⁻¹ A`` (i, i), ``Aᵀ H⁻¹ e`` (i,) and ``eᵀ H⁻¹ e`` () for one response of a augmented."""

    def guess(self, augmented: Any, count: jax.Array) -> jax.Array | None:
        """Return a rough covariance (q, q), relative to sigma², of all columns of Z for one response of a augmented.

        ``count`` () is the number of independent observations. None where there is no quick one.
        """
        return None

    @abc.abstractmethod
    def effects(self, design: Design, factors: Factors, factor: Any, residual: jax.Array) -> Effects:
        """Return the modes of the random effects given the marginal ``residual`` (N,), y − Xβ in weighted rows.

        ``factor`` is what :meth:`factor` returned for the ``factors``.
        """
