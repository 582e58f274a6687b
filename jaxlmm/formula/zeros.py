"""The zero part of a generalized model: its columns on complete rows, the family with it, and labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError
from jaxlmm.families import AbstractFamily, ZeroInflated
from jaxlmm.formula.columns import finite_or_raise, model_columns
from jaxlmm.formula.groups import ZeroLabels
from jaxlmm.formula.syntax import ParsedFormula
from jaxlmm.formula.tokens import join
from jaxlmm.model import independent_basis


class ZeroPart(NamedTuple):
    """The ``family`` with its zero part, which has ``columns`` unless the probability of a zero is one for all rows."""

    family: AbstractFamily
    columns: Float[NumpyArray, "n k"] | None
    labels: ZeroLabels


def zero_part(parsed: ParsedFormula, data: pd.DataFrame, family: AbstractFamily) -> ZeroPart | None:
    """Return the zero part of a formula, None without one.

    Raises
    ------
    DataError
        If those before a column determine it, or a value is not finite.
    """
    if not parsed.zeros:
        return None
    text = f"~ {join(parsed.zeros)}"
    columns = model_columns(parsed.zeros, data)
    finite_or_raise(columns.matrix, [f"zero_inflated {text!r}: {name}" for name in columns.names])
    if columns.names == ("Intercept",):
        return ZeroPart(ZeroInflated(family), None, ZeroLabels(text, None))
    kept = independent_basis(columns.matrix).kept
    if not kept.all():
        raise DataError(
            f"zero_inflated {text!r}: expected columns none of which the others determine, got "
            f"{columns.names[int(np.flatnonzero(~kept)[0])]}; leave it out."
        )
    own = ZeroInflated.of(family, columns.names, columns.matrix)
    return ZeroPart(own, columns.matrix, ZeroLabels(text, columns.encoding))
