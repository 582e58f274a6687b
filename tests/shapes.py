"""The type checker of every call in tests: beartype, which jaxtyping's import hook puts on each function."""

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function):
    """Return the function with its arguments and result checked against its annotations.

    ``Self`` means nothing to beartype outside a class that it has decorated itself, and is not checked.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: object if "Self" in str(hint) else hint for name, hint in hints.items()}
    return _checked(function)
