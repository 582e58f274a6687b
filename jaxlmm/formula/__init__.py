"""From words and a data frame to a design: bars, columns, missing rows, labels."""

from jaxlmm.formula.frame import ModelFrame, TermLabels, build_frame
from jaxlmm.formula.parse import Bar, ParsedFormula, parse

__all__ = ["Bar", "ModelFrame", "ParsedFormula", "TermLabels", "build_frame", "parse"]
