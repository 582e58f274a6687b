"""The result of one fit: an immutable record with pandas accessors."""

from __future__ import annotations

import dataclasses

from jaxlmm.results.fitted import Fitted
from jaxlmm.results.foreign import FIT, answering
from jaxlmm.results.hypotheses import anova, drop1, emmeans, emtrends, ranova, test
from jaxlmm.results.intervals import bootstrap, confint, draws, profile
from jaxlmm.results.maketables import coef_table, default_stat_keys, depvar, stat, stat_labels, vcov_info
from jaxlmm.results.refit import refit, update
from jaxlmm.results.rows import (
    fitted,
    influence,
    leverage,
    marginal_cov,
    model_matrix,
    predict,
    random_matrix,
    residuals,
    simulate,
)
from jaxlmm.results.serialize import save
from jaxlmm.results.summary import summary
from jaxlmm.results.tables import (
    coef,
    coef_by,
    delta,
    fixef,
    glance,
    noted,
    pve,
    r2,
    ranef,
    ranef_sd,
    ratio,
    tidy,
    variance,
    vcov,
)


@answering("fit", FIT)  # names of other packages raise an error that says what to write here
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
        notes = noted(self.estimates.notes, "print its summary()")
        return f"<jaxlmm Fit: {self.formula} by {self.method}, {self.status}, deviance {self.deviance:.4f}{notes}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # ---- tables, rows and matrices: functions of a fit -----------------------------------------------------------

    fixef = fixef
    vcov = vcov
    coef = coef

    variance = variance
    ranef = ranef
    ranef_sd = ranef_sd
    coef_by = coef_by

    ratio = ratio
    pve = pve
    r2 = r2
    delta = delta

    fitted = fitted
    residuals = residuals
    predict = predict
    simulate = simulate
    leverage = leverage
    influence = influence

    model_matrix = model_matrix
    random_matrix = random_matrix
    marginal_cov = marginal_cov

    anova = anova
    test = test
    emmeans = emmeans
    emtrends = emtrends
    drop1 = drop1
    ranova = ranova

    confint = confint
    profile = profile
    bootstrap = bootstrap
    draws = draws

    summary = summary
    tidy = tidy
    glance = glance
    save = save

    refit = refit
    update = update

    # ---- the protocol of maketables ---------------------------------------------------------------

    __maketables_coef_table__ = property(coef_table)
    __maketables_stat__ = stat
    __maketables_depvar__ = property(depvar)
    __maketables_vcov_info__ = property(vcov_info)
    __maketables_stat_labels__ = property(stat_labels)
    __maketables_default_stat_keys__ = property(default_stat_keys)
