"""Options that a verb does not have, and what they are called here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from jaxlmm.errors import OptionError, nearest

P = ParamSpec("P")
T = TypeVar("T")

ELSEWHERE = {
    "REML": "write method='REML' or method='ML'",
    "control": "write optimizer= or solver=",
    "subset": "select the rows of the data first",
    "na_action": "rows with a missing value in a used variable are dropped and counted",
    "contrasts": "write C(f, contr.sum) in the formula",
    "random": "write the random terms into the formula, as in '(1 | g)'",
    "correlation": "write residual='ou(t | g)'",
    "re_formula": "write the random terms into the formula, as in '(1 | g)'",
    **dict.fromkeys(("varlist", "relmat", "pedigree", "kmat"), "write kinship={'id': K} for a term (1 | id)"),
    **dict.fromkeys(
        ("maf", "missing", "coding", "chromosome", "extract", "standardize"),
        "ask it of the markers, as in genotypes=lmm.genetics.genotypes('chr1.bed', maf=0.01)",
    ),
    "covariates": "write them into the formula",
    "groups": "write the grouping factor into the formula, as in '(1 | g)'",
}
"""What users of lme4, nlme and statsmodels write, and what to write here."""


def check_names(verb: str, given: Iterable[str], accepted: Iterable[str]) -> None:
    """Raise if an option has a name that the verb does not know.

    >>> check_names("fit", ["REML"], ["method"])
    Traceback (most recent call last):
        ...
    jaxlmm.errors.OptionError: fit has no option 'REML': write method='REML' or method='ML'.
    """
    accepted = tuple(accepted)
    for name in given:
        if name not in accepted:
            raise OptionError(f"{verb} has no option {name!r}: {ELSEWHERE.get(name) or nearest(name, accepted)}.")


def named_options(function: Callable[P, T]) -> Callable[P, T]:
    """Let a verb answer an option that it does not have with what it does have, not with a bare ``TypeError``."""
    accepted = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        check_names(function.__name__, kwargs, accepted)
        return function(*args, **kwargs)

    return wrapped
