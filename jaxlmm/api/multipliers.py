"""Names of multipliers: those of the blocks of parameters that are kept at a boundary."""

from __future__ import annotations

from jaxlmm.engine import Solution
from jaxlmm.formula import ModelFrame
from jaxlmm.inference import blocks_with_multiplier


def multiplier_names(frame: ModelFrame, solution: Solution) -> dict[int, str]:
    """Name each block of the active set, by its number: by a standard deviation, or by its term.

    By the standard deviation if the block is one parameter, and it and all before it in its structure are of kind
    ``sd``, so that theta and the natural parameters correspond one to one; else by the term: in a block of several
    parameters the multiplier is that of the term's smallest eigenvalue.
    """
    names, layout = {}, solution.likelihood.layout
    for number, block in blocks_with_multiplier(solution.active_set).items():
        for labels, in_theta in zip(frame.labels.terms, layout.slices(), strict=False):
            if in_theta.start <= block[0] < in_theta.stop:
                preceding = labels.natural[: int(block[0]) - in_theta.start + 1]
                one_each = block.size == 1 and all(parameter.is_sd for parameter in preceding)
                names[number] = preceding[-1].name if one_each else f"{labels.text}: smallest eigenvalue"
    return names
