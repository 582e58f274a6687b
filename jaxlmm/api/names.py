"""Names from other packages, of options and of functions, and what to write here instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from jaxlmm.results import foreign

P = ParamSpec("P")
T = TypeVar("T")

FOREIGN_OPTIONS = {
    "REML": "write method='REML' or method='ML'",
    "control": "write optimizer= or solver=",
    "subset": "select the rows of the data first",
    "na_action": "rows with a missing value in a used variable are dropped and counted",
    "contrasts": "write C(f, contr.sum) in the formula",
    "random": "write the random terms into the formula, as in '(1 | g)'",
    "correlation": "write residual='ou(t | g)'",
    **dict.fromkeys(
        ("dispformula", "scale_formula"),
        "write dispersion='~ x' in a linear mixed model; parameters of a family have no formula, leave it out there",
    ),
    "re_formula": "write the random terms into the formula, as in '(1 | g)'",
    **dict.fromkeys(("varlist", "relmat", "pedigree", "kmat"), "write kinship={'id': K} for a term (1 | id)"),
    **dict.fromkeys(
        ("maf", "missing", "coding", "chromosome", "extract", "standardize"),
        "ask it of the markers, as in genotypes=lmm.genetics.genotypes('chr1.bed', maf=0.01)",
    ),
    "covariates": "write them into the formula",
    "nAGQ": "write quadrature=9",
    "size": "write trials='n', or cbind(successes, failures) left of '~'",
    **dict.fromkeys(("ziformula", "zi"), "write zero_inflated='~ x', the zero inflation of a family of counts"),
    "groups": "write the grouping factor into the formula, as in '(1 | g)'",
}
"""Options of other packages (lme4, nlme, statsmodels, PLINK, GEMMA), and what to write here."""


_OF_A_FIT = "the responses drawn here are normal; those of a family are drawn from a fit, by fit.simulate(nsim=)"

OF_VERBS = {
    "simulate": dict.fromkeys(
        ("family", "trials", "size", "quadrature", "nAGQ", "zero_inflated", "ziformula", "zi"), _OF_A_FIT
    ),
}
"""Options that one verb does not have, where others do, and what to do instead."""


def check_names(verb: str, names: Iterable[str], accepted: Iterable[str]) -> None:
    """Raise if one of the ``names`` of options given to a public function, ``verb``, is not ``accepted`` by it.

    >>> check_names("fit", ["REML"], ["method"])
    Traceback (most recent call last):
        ...
    jaxlmm.errors.OptionError: fit has no option 'REML': write method='REML' or method='ML'.
    """
    foreign.check_names(verb, names, accepted, FOREIGN_OPTIONS)


def named_options(function: Callable[P, T]) -> Callable[P, T]:
    """Return a public function that raises an ``OptionError`` for an unknown option, with the one to write here."""
    return foreign.named_options(function, {**FOREIGN_OPTIONS, **OF_VERBS.get(function.__name__, {})})


_MIXED = "write lmm.fit('y ~ x + (1 | g)', data)"
_GENERALIZED = "write lmm.fit('y ~ x + (1 | g)', data, family='poisson')"

FOREIGN_NAMES = {
    **dict.fromkeys(("lmer", "lme", "lmm", "mixedlm", "MixedLM", "Lmer", "lmerTest", "mixed", "model"), _MIXED),
    **dict.fromkeys(("LMM", "LinearMixedModel", "MixedModel", "MixedEffectsModel", "mixed_model", "fitlme"), _MIXED),
    **dict.fromkeys(("lm", "Lm", "ols", "OLS", "gls", "GLS", "wls"), "write lmm.fit('y ~ x', data)"),
    **dict.fromkeys(("glmer", "Glmer", "glmm", "GLMM", "glmmTMB", "glm", "glmer_nb"), _GENERALIZED),
    **dict.fromkeys(("nlmer", "nlme"), "nonlinear models are not there; lmm.fit has linear predictors"),
    **dict.fromkeys(("from_formula", "formula", "fitmm"), _MIXED),
    **dict.fromkeys(("dream", "fit_all", "fitVarPartModel", "many", "lmFit"), "write lmm.fit_many(formula, data)"),
    **dict.fromkeys(("gwas", "assoc", "association", "gemma", "emmax"), "write lmm.scan(formula, data, genotypes=)"),
    **{name: f"write lmm.genetics.{name}" for name in ("grm", "kinship", "genotypes", "relationship")},
    **dict.fromkeys(("read_bed", "open_bed", "read_plink", "read_plink1_bin"), "write lmm.genetics.genotypes(path)"),
    **dict.fromkeys(("read", "load_model", "read_json", "from_json"), "write lmm.load(path)"),
    **dict.fromkeys(("load_data", "data", "load_dataset", "sleepstudy"), "write lmm.datasets.sleepstudy()"),
    **dict.fromkeys(("anova", "compare", "simulate", "bootstrap"), "it is not there yet"),
    **{name: f"write lmm.plot.{name}" for name in ("manhattan", "volcano", "qq_p")},
    **{name: f"write fit.{name}()" for name in ("ranef", "fixef", "coef", "vcov", "variance", "predict", "summary")},
    **dict.fromkeys(("VarCorr",), "write fit.variance()"),
    **dict.fromkeys(("loglikelihood", "logLik"), "write lmm.loglik(design), or fit.loglik of a fit"),
}
"""Functions and classes of other packages, or of ours looked for in the wrong place, and what to write here."""


def no_attribute(name: str) -> AttributeError:
    """Return the error of ``jaxlmm.name`` where there is no such attribute, with what to write for a foreign name.

    >>> print(no_attribute("lmer"))
    module 'jaxlmm' has no attribute 'lmer': write lmm.fit('y ~ x + (1 | g)', data).
    """
    hint = f": {FOREIGN_NAMES[name]}." if name in FOREIGN_NAMES else ""
    return AttributeError(f"module 'jaxlmm' has no attribute {name!r}{hint}")
