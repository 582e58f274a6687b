"""The model as data: terms, designs and the layout of theta."""

from jaxlmm.model.design import Design, Grouping, Term
from jaxlmm.model.layout import Layout
from jaxlmm.model.natural import Natural

__all__ = ["Design", "Grouping", "Layout", "Natural", "Term"]
