"""Formulas as tokens: characters, brackets, expressions."""

from jaxlmm.formula.tokens.characters import column_called, look_alikes, oddities
from jaxlmm.formula.tokens.expressions import in_python
from jaxlmm.formula.tokens.tokens import (
    CONSTANTS,
    Token,
    closing,
    is_bar,
    join,
    parts_of_cbind,
    quoted,
    split,
    tokenize,
    word,
)

__all__ = [
    "CONSTANTS",
    "Token",
    "closing",
    "column_called",
    "in_python",
    "is_bar",
    "join",
    "look_alikes",
    "oddities",
    "parts_of_cbind",
    "quoted",
    "split",
    "tokenize",
    "word",
]
