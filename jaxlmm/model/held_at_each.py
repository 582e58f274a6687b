"""Layouts in which one natural parameter is held at many values: one layout, of which the values are data."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlmm._util import NumpyArray
from jaxlmm.model.design import Design
from jaxlmm.model.holding import held_layout
from jaxlmm.model.layout import Layout
from jaxlmm.model.natural import Natural

SPECIAL = (-1.0, 0.0, 1.0)
"""Values at which a parameter may be at the end of its range, and is held by equations of its own."""


def held_at_each(
    design: Design, natural: Callable[[float], Natural], block: int, number: int, values: Float[NumpyArray, " c"]
) -> list[tuple[Int[NumpyArray, " _"], Layout, Layout]]:
    """Return the layouts in which a parameter has each of the values, those that are alike together.

    Parameters
    ----------
    natural
        Returns all values that are held where the parameter has a value.
    block, number
        Where the parameter stands: its term, the residual's last, and its number among the term's.

    Returns
    -------
    list of tuple
        Indices of values; the layout of the first of them; and the layouts of all, along a first axis of every leaf.
    """
    special = np.isin(values, SPECIAL)
    groups = [np.flatnonzero(values == one) for one in np.unique(values[special])]
    groups += [np.flatnonzero(~special)] if not special.all() else []
    found = []
    for index in groups:
        first = natural(float(values[index[0]]))
        template, size = held_layout(design, first), len(first.parameters[block])
        several = jax.tree.map(lambda leaf, c=index.size: np.broadcast_to(leaf, (c, *np.shape(leaf))), template)
        found.append(
            (index, template, several if special[index[0]] else _at(several, block, number, size, values[index]))
        )
    return found


def _at(layouts: Layout, block: int, number: int, size: int, values: Float[NumpyArray, " c"]) -> Layout:
    """Return layouts with other values of a parameter that is held in them, one of the ``size`` of its term."""
    if block == len(layouts.structures) and number == 0:
        return layouts.replace(sigma=values)
    if layouts.dispersion is not None and block == len(layouts.structures):
        coefficients = np.array(layouts.dispersion.values)
        if number >= size - coefficients.shape[1]:  # they come last
            coefficients[:, number - size] = values
            return layouts.replace(dispersion=layouts.dispersion.replace(values=coefficients))
    held = list(layouts.held)
    targets = np.array(held[block].targets)
    targets[:, held[block].numbers.index(number)] = values
    held[block] = held[block].replace(targets=targets)
    return layouts.replace(held=tuple(held))
