"""The type checker of every call in tests: beartype, which jaxtyping's import hook puts on each function.

pytest turns it on for the rooms of arrays (see ``pyproject.toml``), and for all of the package with
``--jaxtyping-packages=jaxlmm,shapes.checked``.
"""

import inspect

from beartype import BeartypeConf, beartype

DOORS = {
    "jaxlmm.api.call.Call.__init__",
    "jaxlmm.api.fitting.design",
    "jaxlmm.api.fitting.fit",
    "jaxlmm.api.fitting.fit_many",
    "jaxlmm.api.likelihood.deviance.<locals>.f",
    "jaxlmm.api.likelihood.loglik.<locals>.f",
    "jaxlmm.api.options.FitOptions.__init__",
    "jaxlmm.api.values.check_apart",
    "jaxlmm.api.values.natural",
    "jaxlmm.covariance.custom.Custom.__init__",
    "jaxlmm.covariance.parameters.parameter.Parameter.__init__",
    "jaxlmm.formula.columns.encoding.Encoding.from_plain",
    "jaxlmm.formula.groups.structures.structures_of",
    "jaxlmm.formula.newdata.subset.chosen_columns",
    "jaxlmm.formula.syntax.options.ModelOptions.__init__",
    "jaxlmm.formula.syntax.parse.parse",
    "jaxlmm.formula.syntax.parse.parse_tag",
    "jaxlmm.formula.syntax.parse.residual_bar",
    "jaxlmm.formula.syntax.update._sides",
    "jaxlmm.formula.syntax.update.updated",
    "jaxlmm.results.rows.predict.predict",
    "jaxlmm.results.summary.summary.summary",
    "jaxlmm.results.tables.shares.delta",
    "jaxlmm.scanning.options.ScanOptions.__init__",
    "jaxlmm.scanning.output.result.Scan.__init__",
    "jaxlmm.scanning.scan.scan",
    "jaxlmm.testing.check_covariance",
    "jaxlmm.testing.check_solver",
}
"""Functions that check their own input, which tests give them wrong on purpose: only their results are checked."""

CALL_USERS = {
    "jaxlmm.covariance.custom.Custom.cholesky",
    "jaxlmm.covariance.custom.Custom.n_params",
    "jaxlmm.covariance.custom.Custom.covariance_as_written",
}
"""Functions that return what a user's function returns, which tests make wrong on purpose: they are not checked."""

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))

_checked_signatures: dict[tuple[str, str], object] = {}


def checked(function):
    """Return the function with its arguments and result checked against its annotations.

    jaxtyping hands over a function with the signature alone, so that a function within another, which is defined at
    each call, needs its checks made once. ``Self`` means nothing to beartype outside a class that it has decorated
    itself, and is not checked.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    key = name, str(inspect.signature(function))
    if key not in _checked_signatures:
        hints = function.__annotations__
        if name in CALL_USERS:
            hints = {}
        elif name in DOORS:
            hints = {"return": hints.get("return", object)}
        function.__annotations__ = {name: object if "Self" in str(hint) else hint for name, hint in hints.items()}
        _checked_signatures[key] = _beartype(function)
    return _checked_signatures[key]
