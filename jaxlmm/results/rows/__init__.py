"""By row of the data: fitted values, predictions, covariances."""

from jaxlmm.results.rows.unobserved import effects_of_relatives

__all__ = ["effects_of_relatives"]
