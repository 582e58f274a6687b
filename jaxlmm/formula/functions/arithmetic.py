"""Arithmetic on logical values: they are 0 and 1 in R, where NumPy's ``+`` is a logical or."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
from pandas.api.types import is_bool_dtype

from jaxlmm.formula.functions.functions import FUNCTIONS

LOGICAL_AS_NUMBERS = "__numbers__"
"""The name of ``logical_as_numbers`` in the expressions of :func:`arithmetic`."""


def logical_as_numbers(value: Any) -> Any:
    """Return logical values as 0 and 1, anything else as it is."""
    return np.add(value, 0.0) if is_bool_dtype(getattr(value, "dtype", type(value))) else value


def arithmetic(expr: str) -> str:
    """Return an expression of Python in which logical values are numbers to arithmetic and functions, as in R.

    >>> arithmetic("I(b + (x > 0))")
    'I(__numbers__(b) + __numbers__(x > 0))'
    """
    return ast.unparse(_LogicalAsNumbers().visit(ast.parse(expr, mode="eval")))


class _LogicalAsNumbers(ast.NodeTransformer):
    """Wraps the operands of arithmetic, and the arguments of NumPy's functions, in ``LOGICAL_AS_NUMBERS``."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        self.generic_visit(node)
        if not isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            node.left, node.right = _number(node.left), _number(node.right)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.UnaryOp:
        self.generic_visit(node)
        if isinstance(node.op, (ast.USub, ast.UAdd)):
            node.operand = _number(node.operand)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        called = FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(node.func, ast.Attribute):
            called = getattr(np, node.func.attr, None)
        if isinstance(called, np.ufunc):
            node.args = [_number(argument) for argument in node.args]
        return node


def _number(node: ast.expr) -> ast.expr:
    """Return an operand wrapped in ``LOGICAL_AS_NUMBERS``, if its value may be logical."""
    logical = isinstance(node, (ast.Name, ast.Compare, ast.Call)) or (
        isinstance(node, (ast.BinOp, ast.UnaryOp)) and isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.Invert))
    )
    return ast.Call(ast.Name(LOGICAL_AS_NUMBERS), [node], []) if logical else node
