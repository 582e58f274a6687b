"""Natural parameters of a model as they are reported, those of its family among them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.families.base import AbstractFamily
from jaxlmm.families.zeros import ZeroInflated


def with_reported_zero_part(
    family: AbstractFamily | None, report: Float[NumpyArray, "*b r"]
) -> Float[NumpyArray, "*b r"]:
    """Return natural parameters of a model, the family's last, with those of a zero part as they are reported."""
    if not isinstance(family, ZeroInflated):
        return report
    first = report.shape[-1] - family.n_dispersion
    return np.concatenate([report[..., :first], family.reported(report[..., first:])], axis=-1)
