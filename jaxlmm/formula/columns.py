"""Columns of a model matrix: formulaic's, with R's spellings of what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxlmm._typing import NumpyArray
from jaxlmm.errors import FormulaError, nearest
from jaxlmm.formula.tokens import Token, join, tokenize


def _dummy(factor: pd.Series, level: object) -> NumpyArray:
    return np.asarray(factor.astype(str) == str(level), float)


def _factor(values: pd.Series) -> pd.Series:
    return values.astype("category")


FUNCTIONS: dict[str, Any] = {
    "dummy": _dummy,
    "factor": _factor,
    "rint": np.rint,
    **{
        name: getattr(np, name) for name in ("abs", "sqrt", "sin", "cos", "tan", "exp", "log", "log2", "log10", "log1p")
    },
    "pi": np.pi,
}
"""What a formula may call, beside formulaic's own transforms."""

KNOWN = {
    *FUNCTIONS, "I", "C", "contr", "poly", "center", "scale", "bs", "cs", "cc", "cr", "lag", "np", "Q",
    "True", "False", "None",
}  # fmt: skip


class Columns(NamedTuple):
    """A model matrix (n, p) and its columns' names."""

    matrix: NumpyArray
    names: tuple[str, ...]


def used_variables(tokens: Iterable[Token], data: pd.DataFrame) -> list[str]:
    """Return the columns of ``data`` that an expression names, and raise for names that are nowhere.

    Raises
    ------
    FormulaError
        With the nearest names, if a name is neither a column nor a known function.
    """
    tokens = list(tokens)
    found = []
    for place, token in enumerate(tokens):
        following = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if token.kind not in ("name", "quoted") or following == "=":
            continue
        name = token.text.strip("`")
        if name in data.columns and following != "(":
            found.append(name)
        elif token.kind == "quoted" or name.split(".")[0] not in KNOWN:
            what = "function" if following == "(" else "variable"
            choices = sorted(KNOWN) if what == "function" else [str(column) for column in data.columns]
            raise FormulaError(f"unknown {what} {name!r}: it is no column of the data; {nearest(name, choices)}.")
    return found


def model_columns(tokens: Sequence[Token], data: pd.DataFrame) -> Columns:
    """Evaluate one side of a formula on ``data`` without missing values.

    Names with dots are columns when the data have them, ``^`` is a power inside a call, and an ordered factor gets
    polynomial contrasts and a logical column two levels, as in R. Names are those that formulaic prints.
    """
    if [token.text for token in tokens] == ["1"]:
        return Columns(np.ones((len(data), 1)), ("Intercept",))
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    data = data[list(dict.fromkeys(used_variables(tokens, data)))].copy()
    coded = {}
    for name in data:
        if isinstance(data[name].dtype, pd.CategoricalDtype):
            data[name] = data[name].cat.remove_unused_categories()
            if data[name].cat.ordered:
                coded[str(name)] = "contr.poly"
        elif data[name].dtype == bool:
            coded[str(name)] = "contr.treatment"
    text = join(_in_python(tokens, data, coded))
    try:
        with np.errstate(all="ignore"):  # what is undefined is found by the caller, and said in words
            matrix = Formula(text).get_model_matrix(data, context=dict(FUNCTIONS), na_action="ignore", output="numpy")
            values = np.asarray(matrix, float)
    except (FormulaicError, SyntaxError, TypeError, ValueError, KeyError, NameError, AttributeError) as error:
        raise FormulaError(f"cannot evaluate {join(tokens)!r}: {error}") from error
    names = tuple(_tidy(str(name), coded) for name in matrix.model_spec.column_names)
    return Columns(values, names)


def as_arithmetic(tokens: Sequence[Token]) -> list[Token]:
    """Return the formula of one column that is the value of an expression, where ``+ - * / ^`` are arithmetic."""
    return [*tokenize("0 + I"), Token("operator", "("), *tokens, Token("operator", ")")]


def plain_dtypes(data: pd.DataFrame) -> pd.DataFrame:
    """Return complete columns as NumPy numbers and booleans, and text as Python strings."""
    changed = {}
    for name in data.columns:
        dtype = data[name].dtype
        if isinstance(dtype, pd.StringDtype):
            changed[name] = data[name].astype(object)
        elif isinstance(dtype, pd.api.extensions.ExtensionDtype) and pd.api.types.is_bool_dtype(dtype):
            changed[name] = data[name].astype(bool)
        elif isinstance(dtype, pd.api.extensions.ExtensionDtype) and pd.api.types.is_numeric_dtype(dtype):
            changed[name] = data[name].astype(float)
    return data.assign(**changed)


def _in_python(tokens: Sequence[Token], data: pd.DataFrame, coded: Mapping[str, str]) -> list[Token]:
    written, depth = [], 0
    for place, token in enumerate(tokens):
        depth += token.text == "("
        depth -= token.text == ")"
        following = tokens[place + 1].text if place + 1 < len(tokens) else ""
        name = token.text.strip("`")
        if token.text == "^" and depth:
            token = Token("operator", "**")
        elif token.kind in ("name", "quoted") and name in data.columns and following not in ("=", "("):
            if name in coded and depth == 0:
                token = Token("name", f"C({_quoted(name)}, {coded[name]})")
            else:
                token = Token("name", _quoted(name))
        written.append(token)
    return written


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def _tidy(name: str, coded: Mapping[str, str]) -> str:
    for factor, coding in coded.items():
        for spelled in (factor, f"`{factor}`"):
            name = name.replace(f"C({spelled}, {coding})", factor)
    return name.replace("`", "")


def independent_columns(x: NumpyArray, tolerance: float = 1e-7) -> NumpyArray:
    """Return which columns (p,) are kept when each must add to those before it, as R's ``qr`` does.

    A column is dropped when less than ``tolerance`` of its length is left after projection on the kept ones.
    """
    basis = np.zeros((x.shape[0], 0))
    kept = np.zeros(x.shape[1], bool)
    for k in range(x.shape[1]):
        rest = x[:, k] - basis @ (basis.T @ x[:, k])
        rest = rest - basis @ (basis.T @ rest)
        length = np.linalg.norm(rest)
        if length > tolerance * np.linalg.norm(x[:, k]):
            kept[k] = True
            basis = np.column_stack([basis, rest / length])
    return kept
