"""From words and a data frame to a design: bars, columns, missing rows, labels."""

from jaxlmm.formula.encoding import Encoding
from jaxlmm.formula.frame import ModelFrame, build_frame
from jaxlmm.formula.labels import GroupLabels, ModelLabels, TermLabels
from jaxlmm.formula.notes import notes_of_responses
from jaxlmm.formula.options import ModelOptions
from jaxlmm.formula.parse import Bar, ParsedFormula, parse
from jaxlmm.formula.response import with_response
from jaxlmm.formula.responses import Responses, read_responses
from jaxlmm.formula.update import updated

__all__ = [
    "Bar",
    "Encoding",
    "GroupLabels",
    "ModelFrame",
    "ModelLabels",
    "ModelOptions",
    "ParsedFormula",
    "Responses",
    "TermLabels",
    "build_frame",
    "notes_of_responses",
    "parse",
    "read_responses",
    "updated",
    "with_response",
]
