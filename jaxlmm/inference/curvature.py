"""What the second derivatives of V do to log|V| and to the covariance of fixed effects, for any structure.

A direction E in the covariance matrix G of a term is reached to first order through its factor L: ``½ E G⁻¹ L`` added
to L adds E to ``LLᵀ``. So a solver that takes factors differentiates along directions that no parameter has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxlmm.covariance import Parameter
from jaxlmm.inference.derivatives import Bases
from jaxlmm.likelihood import Likelihood, Rescaled, Response
from jaxlmm.linalg import inverse_logdet
from jaxlmm.model import Factors

Products: TypeAlias = tuple[tuple[int, ...], ...]
"""Natural parameters as products of reported ones: their numbers, a variance being a standard deviation twice."""


MAX_MOVE_ERROR = 1e-7
"""Error of a change of a covariance matrix, relative to it, beyond which that is singular."""


class Curvature(NamedTuple):
    """Derivatives along the second derivatives V_ij of V, and of natural parameters φ; s entries of psi.

    ``logdet`` (s, s) is dlog|V|[V_ij], ``vcov`` (s, s, p, p) is dΦ[V_ij] on the basis of X; ``natural`` (m, s) and
    ``natural_second`` (m, s, s) are the derivatives of φ.
    """

    logdet: Float[jax.Array, "*b s s"]
    vcov: Float[jax.Array, "*b s s p p"]
    natural: Float[jax.Array, "*b m s"]
    natural_second: Float[jax.Array, "*b m s s"]


class _Direction(NamedTuple):
    """A direction of V over sigma²: of the terms' covariance matrices, of the residual's, and of rows' variances."""

    terms: tuple[Float[jax.Array, "... _ _"], ...]
    residual: Float[jax.Array, ...]


def curvature(
    likelihood: Likelihood, response: Response, bases: Bases, psi: Float[jax.Array, " s"], products: Products
) -> Curvature:
    """Evaluate at ``psi`` of one response; not finite where a covariance matrix that changes is singular.

    With a model of dispersion residuals are independent.
    """
    layout, rescaled = likelihood.layout, None
    if layout.dispersion is not None:
        rescaled = Rescaled(
            likelihood.solver, layout, likelihood.design, likelihood.reml, likelihood.related,
            log_scale=jnp.zeros(likelihood.design.n_padded),
        )  # fmt: skip

    def factors_at(psi: Float[jax.Array, " s"]) -> tuple[Factors, Float[jax.Array, ""]]:
        factors = layout.factors(psi[: layout.n_theta], bases)
        return factors, jnp.exp(psi[-1]) if factors.sigma is None else jnp.asarray(factors.sigma)

    def covariances(psi: Float[jax.Array, " s"]) -> _Direction:
        factors, sigma = factors_at(psi)
        if rescaled is not None:
            residual = jnp.exp(2.0 * rescaled.log_sds(factors))
        elif factors.residual is None:
            residual = jnp.ones(())
        else:
            residual = factors.residual
        terms = tuple(part @ part.T if part.ndim == 2 else part for part in factors.terms)
        return _Direction(*jax.tree.map(lambda part: sigma**2 * part, (terms, residual)))

    factors, sigma = factors_at(psi)
    here = jax.tree.map(lambda part: part / sigma**2, covariances(psi))
    n = response.count + likelihood.reml * jnp.asarray(likelihood.design.n_fixed, psi.dtype)

    def along(direction: _Direction) -> tuple[Float[jax.Array, ""], Float[jax.Array, "p p"]]:
        terms, residual = jax.tree.map(lambda part: part / sigma**2, direction)
        # Where all residuals have one variance, a change of it is one of the whole of V, and of the terms back.
        whole = residual if residual.ndim == 0 else jnp.zeros(())
        moves = [
            _move(root, part - whole * own) for root, part, own in zip(factors.terms, terms, here.terms, strict=True)
        ]

        def at(step: Float[jax.Array, ""]) -> tuple[Float[jax.Array, ""], Float[jax.Array, "p p"]]:
            changed = tuple(root + step * move for root, move in zip(factors.terms, moves, strict=True))
            moved, own = factors._replace(terms=changed), likelihood
            if factors.residual is not None:
                moved = moved._replace(residual=factors.residual + step * residual)
            elif rescaled is not None:
                own = rescaled.replace(log_scale=0.5 * step * residual / here.residual)
            point = own.at(moved, response)
            return point.logdet, sigma**2 * point.vcov

        (_, vcov), (d_logdet, d_vcov) = jax.jvp(at, (jnp.zeros(()),), (jnp.ones(()),))
        return d_logdet + whole * n, d_vcov + whole * vcov

    s = psi.size
    second = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, (-2, -1), (0, 1)), jax.jacfwd(jax.jacfwd(covariances))(psi))
    flat = jax.tree.map(lambda leaf: leaf.reshape(s * s, *leaf.shape[2:]), second)
    logdet, vcov = jax.lax.map(along, flat) if likelihood.solver.sequential else jax.vmap(along)(flat)

    def natural(psi: Float[jax.Array, " s"]) -> Float[jax.Array, " m"]:
        own, sigma = factors_at(psi)
        reported = layout.report(psi[: layout.n_theta], own, jnp.ones(()) if layout.absolute else sigma)
        return jnp.stack([jnp.prod(reported[jnp.array(numbers)]) for numbers in products])

    return Curvature(
        logdet.reshape(s, s), vcov.reshape(s, s, *vcov.shape[1:]), jax.jacfwd(natural)(psi),
        jax.jacfwd(jax.jacfwd(natural))(psi),
    )  # fmt: skip


def _move(root: Float[jax.Array, "... q r"], direction: Float[jax.Array, "... q q"]) -> Float[jax.Array, "... q r"]:
    """Return the change of a factor that changes its covariance by ``direction``, none where that is zero.

    It is NaN where the covariance is singular, if only by rounding. Along positions the covariance stands itself.
    """
    if root.ndim == 3:
        return direction
    covariance = root @ root.T
    inverse, _ = inverse_logdet(covariance)
    error = jnp.max(jnp.abs(direction @ inverse @ covariance - direction))
    reached = error <= MAX_MOVE_ERROR * jnp.max(jnp.abs(direction))
    move = jnp.where(reached, 0.5 * direction @ inverse @ root, jnp.nan)
    return jnp.where(jnp.any(direction != 0.0), move, 0.0)


def natural_products(parameters: Sequence[Parameter]) -> Products:
    """Return natural parameters on the scale of variances and covariances, as products of those that are reported.

    A standard deviation is squared. Correlations of columns become covariances where there is one for each two of these
    columns, so that V is linear in them, and stay as they are in a structure with fewer, as ante-dependence; other
    parameters stay as they are.

    >>> from jaxlmm.covariance import Parameter
    >>> sds = [Parameter(kind="sd", columns=(column,)) for column in "ab"]
    >>> natural_products([*sds, Parameter(kind="correlation", columns=("a", "b")), Parameter("range", kind="rate")])
    ((0, 0), (1, 1), (2, 0, 1), (3,))
    """
    sds = {(one.group, column): number for number, one in enumerate(parameters) if one.is_sd for column in one.columns}
    correlated = {column: {column} for column in sds}  # by column, itself among them
    pairs: dict[int, list[tuple[str, str]]] = {}
    for number, one in enumerate(parameters):
        pair = [(one.group, column) for column in one.columns]
        if one.is_correlation_of_columns and all(column in sds for column in pair):
            pairs[number] = pair
            for column in pair:
                correlated[column].update(pair)
    products: list[tuple[int, ...]] = []
    for number, one in enumerate(parameters):
        pair = pairs.get(number, [])
        own = correlated[pair[0]] if pair else set()
        is_covariance = bool(pair) and all(correlated[column] == own for column in own)
        factors = [sds[column] for column in pair] if is_covariance else []
        products.append((number, number) if one.is_sd else (number, *factors))
    return tuple(products)
