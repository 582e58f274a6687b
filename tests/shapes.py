"""The type checker of every call in tests: beartype, which jaxtyping's import hook puts on each function."""

from beartype import BeartypeConf, beartype

DOORS = {
    "jaxlmm.api.call.Call.__init__",
    "jaxlmm.api.fitting.design",
    "jaxlmm.api.fitting.fit",
    "jaxlmm.api.fitting.fit_many",
    "jaxlmm.api.likelihood.deviance.<locals>.f",
    "jaxlmm.api.likelihood.loglik.<locals>.f",
    "jaxlmm.api.options.FitOptions.__init__",
    "jaxlmm.formula.syntax.options.ModelOptions.__init__",
    "jaxlmm.scanning.options.ScanOptions.__init__",
    "jaxlmm.scanning.scan.scan",
}
"""Functions that check their own input, which tests give them wrong on purpose."""

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function):
    """Return the function with its arguments and result checked against its annotations.

    ``Self`` means nothing to beartype outside a class that it has decorated itself, and is not checked.
    """
    if f"{function.__module__}.{function.__qualname__}" in DOORS:
        return function
    hints = function.__annotations__
    function.__annotations__ = {name: object if "Self" in str(hint) else hint for name, hint in hints.items()}
    return _checked(function)
