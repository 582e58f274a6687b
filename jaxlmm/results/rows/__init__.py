"""By row of the data: fitted values, predictions, matrices."""
