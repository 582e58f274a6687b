"""The kinds of natural parameters: the one table of what is true of each unless a parameter says otherwise."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from jaxlmm.covariance.parameters.scales import ScaleName

Kind = Literal["sd", "correlation", "proportion", "rate", "loading", "power", "number"]
"""The kinds of natural parameters: a standard deviation in units of the response; a correlation; a number strictly
between 0 and 1; a positive number, such as a range or a decay; a coefficient of a latent factor, in units of the
response; an exponent; any other number."""

Unit = Literal["response", "response^2"]
"""The unit of a parameter: that of the response, or its square. None is no unit."""


class Defaults(NamedTuple):
    """What is true of the parameters of one kind unless they say otherwise.

    ``word`` begins a name that has not been given; ``word_squared`` that of the parameter on the variance scale, None
    where it is the same there. ``noun`` is what errors expect. ``attained`` says whether the value may be the
    ``lower``, and the ``upper``, bound.
    """

    word: str
    noun: str
    lower: float
    upper: float
    attained: tuple[bool, bool]
    unit: Unit | None
    scale: ScaleName
    word_squared: str | None = None


KINDS: dict[Kind, Defaults] = {
    "sd": Defaults("sd", "a standard deviation", 0.0, np.inf, (True, False), "response", "log", "var"),
    "correlation": Defaults("corr", "a correlation", -1.0, 1.0, (True, True), None, "fisher-z"),
    "proportion": Defaults("proportion", "a number", 0.0, 1.0, (False, False), None, "logit"),
    "rate": Defaults("rate", "a number", 0.0, np.inf, (False, False), None, "log"),
    "loading": Defaults("loading", "a loading", -np.inf, np.inf, (False, False), "response", "identity"),
    "power": Defaults("power", "a power", -np.inf, np.inf, (False, False), None, "identity"),
    "number": Defaults("number", "a number", -np.inf, np.inf, (False, False), None, "identity"),
}
"""The kinds by name; a new kind is a line here and a word of ``Kind``."""

assert tuple(KINDS) == get_args(Kind)
