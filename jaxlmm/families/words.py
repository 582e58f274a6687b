"""The words for families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxlmm.errors import OptionError, nearest
from jaxlmm.families.base import AbstractFamily
from jaxlmm.families.counts import NegativeBinomial, Poisson
from jaxlmm.families.positive import Gamma, InverseGaussian
from jaxlmm.families.proportions import Beta, Binomial
from jaxlmm.families.real import Gaussian, StudentT
from jaxlmm.families.tweedie import Tweedie

FAMILIES: dict[str, Callable[[], AbstractFamily]] = {
    "gaussian": Gaussian,
    "binomial": Binomial,
    "bernoulli": Binomial,
    "poisson": Poisson,
    "nbinom2": NegativeBinomial,
    "nbinom1": lambda: NegativeBinomial(quadratic=False),
    "gamma": Gamma,
    "inverse_gaussian": InverseGaussian,
    "beta": Beta,
    "tweedie": Tweedie,
    "student_t": StudentT,
}
"""The families by name, with the link that each has by default."""


def family_of(family: Any) -> AbstractFamily:
    """Return the family that a word names, or the object itself.

    Raises
    ------
    OptionError
        If there is no such word, or the object is no family.

    Examples
    --------
    >>> family_of("nbinom1")
    NegativeBinomial(link='log', quadratic=False)
    >>> try:
    ...     family_of("tweedy")
    ... except OptionError as error:
    ...     print(error)
    family: expected a word or an object of lmm.families, got 'tweedy'; did you mean tweedie? There are: gaussian, \
binomial, bernoulli, poisson, nbinom2, nbinom1, gamma, inverse_gaussian, beta, tweedie, student_t.
    """
    if isinstance(family, AbstractFamily):
        return family
    if isinstance(family, str) and family in FAMILIES:
        return FAMILIES[family]()
    hint = nearest(family, FAMILIES) if isinstance(family, str) else "an object is made by its class, as Poisson()"
    raise OptionError(f"family: expected a word or an object of lmm.families, got {family!r}; {hint}.")
