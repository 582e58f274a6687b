"""Layouts in which natural parameters are held at many values: one layout, of which the values are data."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import Parameter
from jaxlmm.model.chain import MarkovChain
from jaxlmm.model.design import Design
from jaxlmm.model.holding import held_layout
from jaxlmm.model.layout import Layout
from jaxlmm.model.natural import Natural

SPECIAL = (-1.0, 0.0, 1.0)
"""Values at which a parameter may be at the end of its range, and is held by equations of its own."""


def held_layouts(
    design: Design,
    blocks: Sequence[Sequence[Parameter]],
    values: Float[NumpyArray, "c r"],
    chains: tuple[MarkovChain | None, ...] = (),
) -> list[tuple[Int[NumpyArray, " _"], Layout, Layout]]:
    """Return the layouts in which natural parameters have ``values``, NaN where free; those that are alike together.

    ``blocks`` are the parameters of each term, the residual's last, ``chains`` those of the solver.

    Returns
    -------
    list of tuple
        Indices of sets of values; the layout of the first of them; and the layouts of all, along a first axis of every
        leaf.

    Raises
    ------
    OptionError
        If a structure cannot have the first of them.
    """
    kinds = np.where(np.isin(values, SPECIAL), values, np.where(np.isnan(values), 2.0, 3.0))
    found = []
    for kind in np.unique(kinds, axis=0):
        index = np.flatnonzero((kinds == kind).all(axis=1))
        template = held_layout(design, Natural.split(blocks, values[index[0]]), chains)
        several = jax.tree.map(lambda leaf, c=index.size: np.broadcast_to(leaf, (c, *np.shape(leaf))), template)
        ends = np.cumsum([len(block) for block in blocks])[:-1]
        found.append((index, template, _at(several, np.split(values[index], ends, axis=1))))
    return found


def _at(layouts: Layout, values: list[Float[NumpyArray, "c _"]]) -> Layout:
    """Return layouts with other ``values``, by term, of what is held in them."""
    own, coefficients, family = values[-1].copy(), layouts.dispersion, layouts.family
    if coefficients is not None:
        own, given = np.split(own, [-coefficients.values.shape[1]], axis=1)
        layouts = layouts.replace(dispersion=coefficients.replace(values=np.where(np.isnan(given), 0.0, given)))
    if family is not None:
        layouts = layouts.replace(family=family.replace(values=np.where(np.isnan(own), 0.0, own)))
    elif layouts.sigma is not None:
        layouts = layouts.replace(sigma=own[:, 0].copy())
    if family is None:
        own[:, 0] = np.nan  # sigma has no equation
    held = []
    for one, of_term in zip(layouts.held, [*values[:-1], own], strict=False):
        targets = np.array(one.targets)
        for place, number in enumerate(one.numbers):
            if number >= 0:
                targets[:, place] = of_term[:, number]
        held.append(one.replace(targets=targets))
    return layouts.replace(held=tuple(held))
