"""The model as data: terms, designs and the layout of theta."""

from jaxlmm.model.basis import independent_basis, least_squares, mean_products
from jaxlmm.model.chain import PAST, ChainFactor, MarkovChain, long_chains
from jaxlmm.model.design import Design, Grouping, Term
from jaxlmm.model.dispersion import Dispersion, ScaledDispersion, Scaling
from jaxlmm.model.graph import connected, linked
from jaxlmm.model.held_layouts import held_layouts
from jaxlmm.model.holding import beginning_at, held_layout, near, point_at, relative_to
from jaxlmm.model.layout import Factors, Layout
from jaxlmm.model.matrices import random_part
from jaxlmm.model.natural import Natural
from jaxlmm.model.relation import Relation
from jaxlmm.model.values import Incidence, at_rest, padded_rows, relation_of, settled, weighted_basis

__all__ = [
    "PAST",
    "ChainFactor",
    "Design",
    "Dispersion",
    "Factors",
    "Grouping",
    "Incidence",
    "Layout",
    "MarkovChain",
    "Natural",
    "Relation",
    "ScaledDispersion",
    "Scaling",
    "Term",
    "at_rest",
    "beginning_at",
    "connected",
    "held_layout",
    "held_layouts",
    "independent_basis",
    "least_squares",
    "linked",
    "long_chains",
    "mean_products",
    "near",
    "padded_rows",
    "point_at",
    "random_part",
    "relation_of",
    "relative_to",
    "settled",
    "weighted_basis",
]
