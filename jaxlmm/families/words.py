"""The words for families."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxlmm.errors import OptionError, nearest
from jaxlmm.families.base import AbstractFamily
from jaxlmm.families.counts import NegativeBinomial, Poisson
from jaxlmm.families.positive import Gamma, InverseGaussian
from jaxlmm.families.proportions import Beta, Binomial
from jaxlmm.families.real import Gaussian, StudentT
from jaxlmm.families.tweedie import Tweedie
from jaxlmm.families.zeros import ZeroInflated

FAMILIES: dict[str, Callable[[], AbstractFamily]] = {
    "gaussian": Gaussian,
    "binomial": Binomial,
    "bernoulli": Binomial,
    "poisson": Poisson,
    "nbinom2": NegativeBinomial,
    "nbinom1": lambda: NegativeBinomial(quadratic=False),
    "truncated_poisson": lambda: Poisson(truncated=True),
    "truncated_nbinom2": lambda: NegativeBinomial(truncated=True),
    "truncated_nbinom1": lambda: NegativeBinomial(quadratic=False, truncated=True),
    "gamma": Gamma,
    "inverse_gaussian": InverseGaussian,
    "beta": Beta,
    "tweedie": Tweedie,
    "student_t": StudentT,
}
"""The families by name, with the link that each has by default."""


CLASSES: dict[str, type[AbstractFamily]] = {
    one.__name__: one
    for one in (
        Gaussian, Binomial, Poisson, NegativeBinomial, Gamma, InverseGaussian, Beta, Tweedie, StudentT, ZeroInflated,
    )
}  # fmt: skip
"""The classes of families by name."""


def named(family: AbstractFamily) -> str:
    """Return a family in words: the word that names it, with another link if it has one; else its class.

    >>> named(NegativeBinomial(quadratic=False)), named(Binomial(link="probit"))
    ('nbinom1', 'binomial (probit link)')
    """
    if isinstance(family, ZeroInflated):
        return f"{named(family.family)}, {'hurdle' if family.is_hurdle else 'zero-inflated'}"
    own = _fields(family)
    for word, usual in FAMILIES.items():
        default = usual()
        if type(default) is type(family) and {**own, "link": None} == {**_fields(default), "link": None}:
            return word if own == _fields(default) else f"{word} ({own['link']} link)"
    return type(family).__name__


def to_plain(family: AbstractFamily) -> dict[str, Any]:
    """Return a family as JSON types: its class and fields; of a class of one's own the name alone."""
    name = type(family).__name__
    if CLASSES.get(name) is not type(family):
        return {"class": name, "fields": None}
    if isinstance(family, ZeroInflated):  # without the triangle, on which nothing depends after a fit
        return {"class": name, "fields": {"family": to_plain(family.family), "columns": list(family.columns)}}
    return {"class": name, "fields": _fields(family)}


def from_plain(record: Mapping[str, Any]) -> AbstractFamily | None:
    """Return the family that :func:`to_plain` wrote, None of a class of one's own."""
    fields = record["fields"]
    if fields is None or "family" not in fields:
        return None if fields is None else CLASSES[record["class"]](**fields)
    family = from_plain(fields["family"])
    return None if family is None else ZeroInflated(family, tuple(fields["columns"]))


def _fields(family: AbstractFamily) -> dict[str, Any]:
    return {field.name: getattr(family, field.name) for field in dataclasses.fields(family)}


def family_of(family: Any) -> AbstractFamily:
    """Return the family that a word names, or the object itself.

    Raises
    ------
    OptionError
        If there is no such word, or the object is no family.

    Examples
    --------
    >>> family_of("nbinom1")
    NegativeBinomial(link='log', truncated=False, quadratic=False)
    >>> try:
    ...     family_of("tweedy")
    ... except OptionError as error:
    ...     print(error)
    family: expected a word or an object of lmm.families, got 'tweedy'; did you mean tweedie? There are: gaussian, \
binomial, bernoulli, poisson, nbinom2, nbinom1, truncated_poisson, truncated_nbinom2, truncated_nbinom1, gamma, \
inverse_gaussian, beta, tweedie, student_t.
    """
    if isinstance(family, AbstractFamily):
        return family
    if isinstance(family, str) and family in FAMILIES:
        return FAMILIES[family]()
    hint = nearest(family, FAMILIES) if isinstance(family, str) else "an object is made by its class, as Poisson()"
    raise OptionError(f"family: expected a word or an object of lmm.families, got {family!r}; {hint}.")
