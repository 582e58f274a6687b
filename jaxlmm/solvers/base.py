"""The contract of a solver: exact products with the inverse of H(theta), and its log-determinant."""

from __future__ import annotations

import abc
import enum
from typing import Any, ClassVar, NamedTuple, Self

import jax
from jaxtyping import Float

from jaxlmm._util import Array, NumpyArray, Struct
from jaxlmm.model import Design, Factors, MarkovChain

QuadraticForms = tuple[Float[jax.Array, "i i"], Float[jax.Array, " i"], Float[jax.Array, ""]]
"""``Aᵀ H⁻¹ A``, ``Aᵀ H⁻¹ e`` and ``eᵀ H⁻¹ e`` for one response e."""


class Effects(NamedTuple):
    """Conditional modes and their conditional standard deviations, per term, levels × columns (or positions).

    ``modes`` are in response units; ``sds`` are relative to sigma. There may be more rows than levels: at most as many
    as there are padded rows of the data.
    """

    modes: tuple[Float[jax.Array, "_L _q"], ...]
    sds: tuple[Float[jax.Array, "_L _q"], ...]


class Route(enum.Enum):
    """How responses with missing values are prepared.

    ``DESIGN``: responses on the same rows get a design and a solver of their own. Otherwise responses on different rows
    share a batch: ``RESPONSE``, prepared in compiled functions by :meth:`AbstractSolver.by_response`; ``PATTERN``, on
    the host by :meth:`AbstractSolver.by_pattern`.
    """

    DESIGN = "design"
    RESPONSE = "response"
    PATTERN = "pattern"


class ByResponse(NamedTuple):
    """Responses prepared on rows of their own; every leaf has a first axis over the m responses.

    ``solver`` is that of a response's rows; ``fixed`` are the cross-products of an orthonormal basis of the fixed
    effects there, ``augmented`` the columns that the response adds, less its fit by least squares, which has the
    coefficients ``least_squares`` on that basis, and over the residual standard deviation ``scale`` of that fit.
    """

    solver: AbstractSolver
    fixed: Any
    augmented: Any
    least_squares: Float[Array, "m p"]
    scale: Float[Array, " m"]


class AbstractSolver(Struct, abc.ABC):
    """An exact method for ``Aᵀ H⁻¹ B`` and ``log|H|``, with ``H(theta) = R + Z Λ Λᵀ Zᵀ`` in weighted rows.

    Work that does not depend on theta is done once (``build``, ``cross_products``, ``augmented``), the remainder per
    theta (``factor``). The likelihood needs nothing else. Rows are padded to N; padded rows are zero in every argument,
    and so are columns of ``design.basis`` beyond the ``design.n_fixed`` first.
    A solver is a pytree, so that one compiled function serves every data set of the same shapes: its fields are
    annotated, arrays or, declared by ``lmm.solvers.static()``, hashable parts of the program.

    ``solver=`` takes a subclass. Abstract methods are all to write; class methods run on the host, as ``unpadded``
    does, and all others are traced by JAX, mapped (``vmap``) over theta and responses, and differentiated twice,
    forward and reverse. There, functions of LAPACK (``jnp.linalg``) are to be avoided, which in batches can
    deadlock on CPUs with few cores: ``jaxlmm.linalg.inverse_logdet`` inverts. :func:`jaxlmm.testing.check_solver`
    tries a solver out.

    The other methods and properties have defaults, and need be written only for what they gain. The engine knows
    nothing else of a solver. How the search goes with it, all of which is off by default:

    - ``quasi_newton``, for one whose Hessians cost many gradients: the search learns the Hessian, beginning with its
      expectation, which is known for covariances of columns alone: in a model with other parameters the flag must be
      off. The exact Hessian is computed once, at the optimum. If there is a guess, the search begins there and tries no
      nodes; it does not follow a valley to the limit of a structure.
    - ``coarse_start``, for one whose evaluations are slow: a start is looked for at fewer nodes, in the middle of the
      range of theta.
    - ``sequential``, for one that fills the memory: responses, nodes and directions of derivatives follow one another
      in place of ``vmap``, and the solver is put on the device once.
    - ``guesses``: the covariance of :meth:`guess` is tried as a start beside the nodes.
    - ``guesses_residual``: where the residual structure takes parameters from the covariance of :meth:`guess_residual`,
      the search begins there, and these are not looked for.

    What it can do besides:

    - :meth:`reweighted`: models of dispersion, which no other solver is given.
    - :meth:`route`: responses with missing values share a batch, prepared by :meth:`by_response` or :meth:`by_pattern`.
    - :meth:`unpadded`: smaller arrays for many responses.
    - :meth:`without_rows`: arrays over rows stay out of the search.
    - ``diagonalizes``, of a class: it works in an eigenbasis of the covariance. A scan of a model with one variance
      ratio has its own code for that, which tests the markers with ``solver="auto"`` or such a class; where another
      solver is asked for, that tests them.
    - :attr:`chains`, where the class ``takes_links``: the links of Markov chains stand in ``factors`` in place of
      matrices. Where matrices are moved, as for Kenward and Roger's covariance, another solver takes its place.
    - :meth:`pays`: a model that it can do is left to the solvers after it.
    - :meth:`operations`: the cost of an evaluation, by which a scan in a folder is divided into parts.

    ``name`` is what ``fit.solver`` says.
    """

    name: ClassVar[str]
    diagonalizes: ClassVar[bool] = False
    takes_links: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def unsuitable(cls, design: Design) -> str:
        """Return why it cannot do the model of a design, in a few words, or ``""`` if it can.

        What is cheap to see comes first. A model that is merely too large is refused by :meth:`reason`.
        """

    @classmethod
    def pays(cls, design: Design) -> bool:
        """Whether it costs less than the solvers after it, for a design that it can do: ``"auto"`` takes it then."""
        return True

    @classmethod
    def reason(cls, design: Design) -> str:
        """Return what it is chosen for, in a few words; the design is one that it can do.

        Raises
        ------
        OptionError
            If the model is larger than what it takes.
        """
        return "asked for"

    @classmethod
    @abc.abstractmethod
    def build(cls, design: Design) -> Self:
        """Do the work that depends on the design alone, on the host."""

    def unpadded(self) -> Self:
        """Return the same solver without padding: for many responses, compiling once more is worth it."""
        return self

    def without_rows(self) -> Self:
        """Return the solver without arrays that only ``cross_products``, ``augmented`` and ``effects`` read.

        The search takes this one: its compiled functions then do not depend on the number of rows. On the host.
        """
        return self

    @classmethod
    def operations(cls, n: int) -> float:
        """Return roughly how many multiplications one evaluation takes on n rows."""
        return 4.0 * n**2

    @classmethod
    def route(cls, design: Design, sharing: int) -> Route:
        """Return how responses with missing values are prepared of which ``sharing`` have the same rows."""
        return Route.DESIGN

    def by_response(
        self, design: Design, y: Float[Array, "N m"], present: Float[Array, "N m"]
    ) -> tuple[ByResponse, Float[jax.Array, "m p p"], Float[jax.Array, " m"]]:
        """Prepare responses ``y``, zero where missing, on the rows that are ``present``, one or zero; traced.

        The route is for designs whose terms are over columns, without a known matrix. The solver that is asked is that
        of all rows of the ``design``, without padding. With Q_r the present rows of ``design.basis``, also returns, for
        each response, the matrix T with ``Q_r T`` orthonormal, which takes coefficients on that basis to those on
        ``design.basis``, and ``log|Q_rᵀQ_r|``.
        """
        raise NotImplementedError(f"{type(self).__name__} prepares nothing by response")

    def by_pattern(self, design: Design, y: Float[NumpyArray, "n m"]) -> ByResponse:
        """Prepare responses ``y`` of one pattern, which are observed on all rows of the ``design``; on the host.

        The ``design`` has only the rows of the pattern (``Design.at_rows``); the results are on its basis. The solver
        that is asked is that of all rows, without padding, from whose arrays come the sizes to which all are padded.
        """
        raise NotImplementedError(f"{type(self).__name__} prepares nothing by pattern")

    @property
    def chains(self) -> tuple[MarkovChain | None, ...]:
        """Of each term, and last of the residual structure, the chain whose links it takes, or None for a matrix.

        No chain at all is written ``()``.
        """
        return ()

    @property
    def quasi_newton(self) -> bool:
        """Whether the search learns the Hessian from gradients, because an exact one costs many of them."""
        return False

    @property
    def coarse_start(self) -> bool:
        """Whether a start is looked for at few nodes, because an evaluation is slow."""
        return False

    @property
    def sequential(self) -> bool:
        """Whether responses, nodes and directions of derivatives are taken one by one, because one fills the memory."""
        return False

    @property
    def guesses(self) -> bool:
        """Whether :meth:`guess` returns a covariance."""
        return False

    @property
    def guesses_residual(self) -> bool:
        """Whether :meth:`guess_residual` returns a covariance."""
        return False

    def reweighted(self, root_weight: Float[Array, " N"]) -> Self:
        """Return the solver of the same design with every row multiplied by ``root_weight``, which is positive.

        It is asked of a solver that was built for a design with a model of dispersion; a class that does not write it
        is given none. Traced, where ``build`` works on the host: under ``vmap``, and with derivatives (MixedModels.jl's
        ``reweight!``). Padded rows stay zero whatever their weight.
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
        """Return ``Aᵀ H⁻¹ A``, ``Aᵀ H⁻¹ e`` and ``eᵀ H⁻¹ e`` from the augmented columns of one response e.

        ``products`` are the cross-products of A with itself.
        """

    def guess(self, augmented: Any, count: Float[jax.Array, ""]) -> Float[jax.Array, "q q"] | None:
        """Return a rough covariance of all columns of Z, relative to sigma², from one response's augmented columns.

        ``count`` is the number of independent observations, n, or n − p for REML. None where there is no quick one.
        """
        return None

    def guess_residual(self, augmented: Any) -> Float[jax.Array, "q q"] | None:
        """Return a rough covariance of the residual structure's positions, from one response's augmented columns.

        It is that of the weighted rows of e, in their unit, and need not be positive semidefinite. None where there is
        no quick one, or no residual structure.
        """
        return None

    @abc.abstractmethod
    def effects(self, design: Design, factors: Factors, factor: Any, residual: Float[jax.Array, " N"]) -> Effects:
        """Return the modes of the random effects given the marginal ``residual`` y − Xβ in weighted rows.

        ``factor`` is what :meth:`factor` returned for the ``factors``. Known matrices are not in the ``design``: a
        solver keeps what it needs of them from ``build``.
        """
