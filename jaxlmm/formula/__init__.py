"""From words and a data frame to a design: bars, columns, missing rows, labels."""

from jaxlmm.formula.encoding import Encoding
from jaxlmm.formula.frame import ModelFrame, TermLabels, build_frame
from jaxlmm.formula.parse import Bar, ParsedFormula, parse

__all__ = ["Bar", "Encoding", "ModelFrame", "ParsedFormula", "TermLabels", "build_frame", "parse"]
