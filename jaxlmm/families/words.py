"""The words for families."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxlmm.covariance import Parameter
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

_INSTEAD = "is not available; write {0}, or a family of your own, a class with log_density"
_ROWS = "'binomial' with a random intercept of each row, (1 | row)"

ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("normal", "norm", "lm"), "write 'gaussian'"),
    **dict.fromkeys(("negative_binomial", "negbinomial", "negbin", "neg_binomial", "nbinom", "nb", "nb2"),
                    "write 'nbinom2', of variance μ + a μ², or 'nbinom1', of μ + a μ"),
    "nb1": "write 'nbinom1'",
    **dict.fromkeys(("beta_family", "betar"), "write 'beta'"),
    **dict.fromkeys(("t", "t_family", "student", "scat"), "write 'student_t'"),
    **dict.fromkeys(("lognormal", "lognorm"), "take the logarithm, log(y) ~ x, in a linear mixed model"),
    **dict.fromkeys(("zip", "zinb", "zero_inflated_poisson", "zero_inflated_negbinomial"),
                    "write 'poisson' or 'nbinom2', with zero_inflated='~ 1'"),
    **dict.fromkeys(("hurdle_poisson", "hurdle_negbinomial"),
                    "write 'truncated_poisson' or 'truncated_nbinom2', with zero_inflated='~ 1'"),
    **dict.fromkeys(("ziGamma", "hurdle_gamma"), "write 'gamma', with zero_inflated='~ 1'"),
    **dict.fromkeys(("quasipoisson", "quasi_poisson"),
                    "it has no likelihood; write 'nbinom1', whose variance is a multiple of the mean too"),
    **dict.fromkeys(("quasibinomial", "quasi_binomial"), f"it has no likelihood; write {_ROWS}"),
    **dict.fromkeys(("betabinomial", "beta_binomial", "betabinom"), f"it {_INSTEAD.format(_ROWS)}"),
    **dict.fromkeys(("genpois", "generalized_poisson", "compois", "com_poisson", "conway_maxwell_poisson"),
                    "it is not available; write 'nbinom2', or, for counts that vary less than Poisson's, a family of "
                    "your own, a class with log_density"),
    **dict.fromkeys(("ordbeta", "ordered_beta"),
                    f"it {_INSTEAD.format(repr('beta'))}; 'beta' with zero_inflated='~ 1' has zeros too, but no ones"),
    **dict.fromkeys(("ordinal", "cumulative", "categorical", "multinomial"),
                    "families of ordered or unordered categories are not available; 'binomial' has two of them"),
}  # fmt: skip
"""Families by their names in other packages (glmmTMB, lme4, brms, mgcv, SciPy), and what to write here."""


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
        If there is no such word, the object is no family, or its ``parameters`` are something else.

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
        _check_parameters(family)
        return family
    if isinstance(family, str) and family in FAMILIES:
        return FAMILIES[family]()
    if isinstance(family, str):
        hint = ELSEWHERE.get(family) or nearest(family, FAMILIES)
    else:
        hint = "an object is made by its class, as Poisson()"
    raise OptionError(f"family: expected a word or an object of lmm.families, got {family!r}; {hint}.")


def _check_parameters(family: AbstractFamily) -> None:
    """Raise unless a family declares its parameters of dispersion as such."""
    found: Any = family.parameters
    wrong = [one for one in found if not isinstance(one, Parameter)] if isinstance(found, tuple) else [found]
    if wrong:
        raise OptionError(
            f"{type(family).__name__}.parameters: expected a tuple of lmm.covariance.Parameter, got {wrong[0]!r}; "
            "declare each as in lmm.covariance.Parameter('shape', 'rate'), and write parameters as a property."
        )
