"""By row of the data: fitted values, predictions, matrices."""

from jaxlmm.results.rows.fitted import fitted, residuals
from jaxlmm.results.rows.matrices import marginal_cov, model_matrix, random_matrix
from jaxlmm.results.rows.predict import predict

__all__ = ["fitted", "marginal_cov", "model_matrix", "predict", "random_matrix", "residuals"]
