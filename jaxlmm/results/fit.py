"""The result of one fit: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses

from jaxlmm.results import refit as again
from jaxlmm.results import serialize as record
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.foreign import FIT, answering
from jaxlmm.results.rows import fitted as rows
from jaxlmm.results.rows import matrices
from jaxlmm.results.rows import predict as predicted
from jaxlmm.results.summary import summary as printed
from jaxlmm.results.tables import fixed, noted, shares
from jaxlmm.results.tables import random as effects
from jaxlmm.results.tables import tidy as broom


@answering("fit", FIT)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Fit(Fitted):
    """A fitted linear mixed model. Made by :func:`jaxlmm.fit` or :func:`jaxlmm.load`; nothing in it changes.

    Scalars are properties; tables are methods that return pandas objects. A loaded fit has its estimates and none of
    the rows: methods that need these (fitted values, residuals, the matrices X, Z and V, ``refit``, ``update``) then
    raise a ``DataError``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.status, round(fit.deviance, 2)
    ('interior', 1743.63)
    >>> fit.fixef().round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """

    def __repr__(self) -> str:
        said = noted(self.estimates.notes)
        return f"<jaxlmm Fit: {self.formula} by {self.method}, {self.status}, deviance {self.deviance:.4f}{said}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    fixef = fixed.fixef
    vcov = fixed.vcov
    coef = fixed.coef

    variance = effects.variance
    ranef = effects.ranef
    ranef_sd = effects.ranef_sd
    coef_by = effects.coef_by

    ratio = shares.ratio
    pve = shares.pve
    delta = shares.delta

    fitted = rows.fitted
    residuals = rows.residuals
    predict = predicted.predict

    model_matrix = matrices.model_matrix
    random_matrix = matrices.random_matrix
    marginal_cov = matrices.marginal_cov

    summary = printed.summary
    tidy = broom.tidy
    glance = broom.glance
    save = record.save

    refit = again.refit
    update = again.update
