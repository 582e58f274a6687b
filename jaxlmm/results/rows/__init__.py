"""By row of the data: fitted values, predictions, draws, matrices, influence."""

from jaxlmm.results.rows.fitted import fitted, residuals, residuals_of
from jaxlmm.results.rows.influence import Influence, influence, leverage
from jaxlmm.results.rows.matrices import marginal_cov, model_matrix, random_matrix
from jaxlmm.results.rows.predict import predict
from jaxlmm.results.rows.simulate import check_draws, drawn, factors_of, simulate

__all__ = [
    "Influence",
    "check_draws",
    "drawn",
    "factors_of",
    "fitted",
    "influence",
    "leverage",
    "marginal_cov",
    "model_matrix",
    "predict",
    "random_matrix",
    "residuals",
    "residuals_of",
    "simulate",
]
