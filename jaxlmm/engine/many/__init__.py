"""Many responses on a design: complete ones in batches, those with missing values prepared on rows of their own."""

from jaxlmm.engine.many.anew import prepared_anew
from jaxlmm.engine.many.batch import rows_of, solve_many
from jaxlmm.engine.many.missing import patterns_of, solve_by_response

__all__ = ["patterns_of", "prepared_anew", "rows_of", "solve_by_response", "solve_many"]
