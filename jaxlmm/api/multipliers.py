"""Names of multipliers: those of the blocks of parameters that are kept at a boundary."""

from __future__ import annotations

from jaxlmm.engine import Solution
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import duals


def multiplier_names(frame: ModelFrame, solution: Solution) -> dict[int, str]:
    """Name the blocks of the active set by number: the standard deviation where each parameter is one, else the term.

    In a block of several parameters the multiplier is that of the term's smallest eigenvalue.
    """
    names, layout = {}, solution.likelihood.layout
    for number, block in duals(solution.active_set).items():
        for labels, in_theta in zip(frame.labels.terms, layout.slices(), strict=False):
            if in_theta.start <= block[0] < in_theta.stop:
                preceding = labels.natural[: layout.own_number(int(block[0])) + 1]
                one_each = block.size == 1 and all(parameter.is_sd for parameter in preceding)
                names[number] = preceding[-1].name if one_each else f"{labels.text}: smallest eigenvalue"
    return names
