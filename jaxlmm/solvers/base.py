"""The contract of a solver: exact products with the inverse of H(theta), and its log-determinant."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple, Self

import jax
from jaxtyping import Float

from jaxlmm._util import Array, Struct
from jaxlmm.model import Design, Factors

QuadraticForms = tuple[Float[jax.Array, "i i"], Float[jax.Array, " i"], Float[jax.Array, ""]]
"""``Aᵀ H⁻¹ A``, ``Aᵀ H⁻¹ e`` and ``eᵀ H⁻¹ e`` for one response e."""


class Effects(NamedTuple):
    """Conditional modes and their conditional standard deviations, per term, levels × columns (or positions).

    ``modes`` are in response units; ``sds`` are relative to sigma.
    """

    modes: tuple[Float[jax.Array, "_L _q"], ...]
    sds: tuple[Float[jax.Array, "_L _q"], ...]


class AbstractSolver(Struct, abc.ABC):
    """An exact method for ``Aᵀ H⁻¹ B`` and ``log|H|``, with ``H(theta) = R + Z Λ Λᵀ Zᵀ`` in weighted rows.

    Work that does not depend on theta is done once (``build``, ``cross_products``, ``augmented``), the remainder per
    theta (``factor``). The likelihood needs nothing else. Rows are padded to N; padded rows are zero in every argument.
    A solver is a pytree, so that one compiled function serves every data set of the same shapes.
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
        """Whether an evaluation costs so much that a start is looked for at few nodes."""
        return False

    @property
    def sequential(self) -> bool:
        """Whether evaluations and directions follow one another, because all at once they would take much memory."""
        return False

    @property
    def guesses(self) -> bool:
        """Whether :meth:`guess` returns a covariance."""
        return False

    @property
    def can_be_reweighted(self) -> bool:
        """Whether :meth:`reweighted` returns a solver."""
        return False

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        """Return the solver of the same design with every row multiplied by ``root_weight``, which is positive.

        Traced, where ``build`` works on the host: under ``vmap``, and with derivatives (MixedModels.jl's
        ``reweight!``). Padded rows stay zero whatever their weight.

        Raises
        ------
        NotImplementedError
            Unless :attr:`can_be_reweighted`.
        """
        raise NotImplementedError(f"the solver {self.name!r} cannot be reweighted")

    @abc.abstractmethod
    def cross_products(self, a: Float[Array, "N i"], b: Float[Array, "N j"]) -> Any:
        """Return the cross-products of ``a`` and ``b``: the part of ``Aᵀ H⁻¹ B`` that does not depend on theta."""

    @abc.abstractmethod
    def factor(self, factors: Factors) -> Any:
        """Do the work that depends on theta alone. A term's factor may have more columns than rows."""

    @abc.abstractmethod
    def logdet(self, factor: Any) -> Float[jax.Array, ""]:
        """Return ``log|H|``."""

    @abc.abstractmethod
    def inner(self, factor: Any, products: Any) -> Float[jax.Array, "i j"]:
        """Return ``Aᵀ H⁻¹ B`` from the cross-products of A and B."""

    @abc.abstractmethod
    def augmented(self, a: Float[Array, "N i"], e: Float[Array, "N m"]) -> Any:
        """Return the augmented columns of m responses ``e``: their cross-products with ``a`` and with themselves.

        Every leaf has a first axis over the responses; what they share, the cross-products of ``a``, is left out.
        """

    @abc.abstractmethod
    def quadratic_forms(self, factor: Any, products: Any, augmented: Any) -> QuadraticForms:
        """Return ``Aᵀ H⁻¹ A``, ``Aᵀ H⁻¹ e`` and ``eᵀ H⁻¹ e`` from the augmented columns of one response e."""

    def guess(self, augmented: Any, count: Float[jax.Array, ""]) -> Float[jax.Array, "q q"] | None:
        """Return a rough covariance of all columns of Z, relative to sigma², from one response's augmented columns.

        ``count`` is the number of independent observations. None where there is no quick one.
        """
        return None

    @abc.abstractmethod
    def effects(self, design: Design, factors: Factors, factor: Any, residual: Float[jax.Array, " N"]) -> Effects:
        """Return the modes of the random effects given the marginal ``residual`` y − Xβ in weighted rows.

        ``factor`` is what :meth:`factor` returned for the ``factors``.
        """
