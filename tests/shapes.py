"""The type checker of every call in tests: beartype, which jaxtyping's import hook puts on each function."""

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

DOORS = {
    "jaxlmm.covariance.custom.Custom.__init__",
    "jaxlmm.testing.check_covariance",
}
"""Public functions that validate their own input, of which tests hand them wrong one: no parameter is checked."""


def checked(function):
    """Return the function with its arguments and result checked against its annotations.

    ``Self`` means nothing to beartype outside a class that it has decorated itself, and is not checked.
    """
    hints = function.__annotations__
    if f"{function.__module__}.{function.__qualname__}" in DOORS:
        hints = {"return": hints.get("return", object)}
    function.__annotations__ = {name: object if "Self" in str(hint) else hint for name, hint in hints.items()}
    return _checked(function)
