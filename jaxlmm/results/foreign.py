"""Attributes and options by their names in other packages, and what to write here instead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from jaxlmm.errors import OptionError, nearest

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)

_FIXEF = "write {0}.fixef()"
_TABLE = "the table of fixed effects with tests and intervals is {0}.coef(level=0.95)"
_ERRORS = "write {0}.coef()['std_error']"
_INTERVALS = "write {0}.confint(method='wald'), 'profile' or 'bootstrap'"
_VARIANCE = "write {0}.variance(), or {0}.variance('variance')"
_MODES, _FITTED, _RESIDUALS = "write {0}.ranef()", "write {0}.fitted()", "write {0}.residuals()"
_STATUS = "write {0}.status or {0}.certificate"
_IS_FITTED = "it is fitted; {0}.refit(y) and {0}.update(...) give another fit"

FIT = {
    **dict.fromkeys(("params", "fe_params", "beta", "coef_", "coefficients", "b0", "intercept_", "coefnames"), _FIXEF),
    **dict.fromkeys(("bse", "bse_fe", "std_errors", "std_error", "stderror", "se", "stderr"), _ERRORS),
    **dict.fromkeys(("pvalues", "pvalue", "p_values", "p_value"), "write {0}.coef()['p_value']"),
    **dict.fromkeys(("tvalues", "tstats", "zvalues"), "write {0}.coef()['statistic']"),
    **dict.fromkeys(("coefs", "coeftable", "fixed_effects", "result_fit"), _TABLE),
    **dict.fromkeys(("conf_int", "intervals"), _INTERVALS),
    **dict.fromkeys(("cov_params", "cov", "vcv", "normalized_cov_params"), "write {0}.vcov()"),
    **dict.fromkeys(("VarCorr", "varcorr", "cov_re", "vcomp", "ranef_var", "ranef_corr", "varcomp"), _VARIANCE),
    **dict.fromkeys(("random_effects", "raneftables", "b", "u", "blup"), _MODES),
    **dict.fromkeys(("random_effects_cov", "condVar", "condvar"), "write {0}.ranef_sd()"),
    **dict.fromkeys(("resid", "resids", "wresid"), _RESIDUALS),
    **dict.fromkeys(("fittedvalues", "fitted_values", "fits"), _FITTED),
    **dict.fromkeys(("logLik", "loglik_", "llf", "loglikelihood", "logLike"), "write {0}.loglik"),
    **dict.fromkeys(("REMLcrit", "objective"), "write {0}.deviance"),
    **dict.fromkeys(("AIC",), "write {0}.aic"),
    **dict.fromkeys(("BIC",), "write {0}.bic"),
    **dict.fromkeys(("nobs", "n_obs"), "write {0}.n"),
    **dict.fromkeys(("ngrps", "n_levels", "grps"), "write {0}.n_groups"),
    **dict.fromkeys(("df_resid", "dof_residual"), "write {0}.df_residual"),
    **dict.fromkeys(("dof", "npar", "df_model", "df_modelwc"), "write {0}.n_params"),
    **dict.fromkeys(("scale", "s2"), "write {0}.sigma, whose square is the residual variance"),
    **dict.fromkeys(("isREML", "REML", "reml"), "write {0}.method"),
    **dict.fromkeys(("isSingular", "issingular"), "write {0}.is_singular"),
    **dict.fromkeys(("converged", "optinfo", "optsum", "warnings", "mle_retvals"), _STATUS),
    **dict.fromkeys(("getME",), "write {0}.theta, {0}.model_matrix() or {0}.random_matrix(group)"),
    **dict.fromkeys(("X", "exog", "design_matrix"), "write {0}.model_matrix()"),
    **dict.fromkeys(("Z", "exog_re"), "write {0}.random_matrix(group)"),
    **dict.fromkeys(("V", "getVarCov"), "write {0}.marginal_cov()"),
    **dict.fromkeys(("y", "endog"), "write {0}.frame.y"),
    **dict.fromkeys(("rsquared", "r_squared", "rsquared_adj", "r2_score"), "write {0}.r2()"),
    **dict.fromkeys(("icc", "ICC", "heritability", "h2"), "write {0}.ratio(group)"),
    **dict.fromkeys(("Anova", "joint_tests", "wald_test_terms"), "write {0}.anova(type=3)"),
    **dict.fromkeys(("t_test", "f_test", "wald_test", "linearHypothesis"), "write {0}.test('a - b = 0')"),
    **dict.fromkeys(("compare", "compare_lr_test", "lrtest"), "write lmm.compare(fit0, fit1)"),
    **dict.fromkeys(("rand",), "write {0}.ranova()"),
    **dict.fromkeys(("step",), "write {0}.drop1() or {0}.ranova(), and {0}.update('. ~ . - x')"),
    **dict.fromkeys(("lsmeans", "ls_means", "post_hoc"), "write {0}.emmeans('f'), and of that .pairs()"),
    **dict.fromkeys(("contrast", "contrasts"), "write {0}.emmeans('f').contrast(...), or {0}.test('a - b = 0')"),
    "lstrends": "write {0}.emtrends('f', 'x')",
    **dict.fromkeys(("bootMer", "parametricbootstrap"), "write {0}.bootstrap(1000)"),
    "profile_re": "write {0}.profile()",
    **dict.fromkeys(("cooks_distance", "dfbeta", "dfbetas", "get_influence"), "write {0}.influence().to_frame()"),
    "hatvalues": "write {0}.leverage()",
    "get_prediction": "write {0}.predict(newdata, interval='confidence')",
    **dict.fromkeys(("fit", "fit_regularized"), _IS_FITTED),
    **dict.fromkeys(("model", "data", "model_frame"), "write {0}.frame (its rows), {0}.design or {0}.formula"),
    **dict.fromkeys(("plot", "plot_summary", "hist"), "write lmm.plot.ranef(fit, group)"),
    **dict.fromkeys(("to_csv", "to_parquet", "to_frame", "to_pandas"), "write {0}.tidy(), a data frame"),
    **dict.fromkeys(("to_json", "to_pickle", "dump"), "write {0}.save(path), which lmm.load reads"),
}
"""Attributes of fits in statsmodels, lme4, nlme, pymer4, MixedModels.jl and scikit-learn."""

_TIDY, _SINGLE = "write {0}.tidy()", "ask it of one response, {0}['name'].%s"

FIT_MANY = {
    **{name: _SINGLE % name for name in ("predict", "summary", "vcov", "coef_by", "ranef_sd", "delta", "certificate")},
    **{name: _SINGLE % name for name in ("model_matrix", "random_matrix", "marginal_cov", "refit", "update")},
    **dict.fromkeys(("coef", "fixef", "params", "coefs", "coeftable", "results", "topTable", "top_table"), _TIDY),
    **dict.fromkeys(("bse", "pvalues", "p_value", "p_values", "q_value", "qvalues", "tvalues", "std_error"), _TIDY),
    "conf_int": "write {0}.confint()",
    **dict.fromkeys(("VarCorr", "varcorr", "vcomp", "sigma_", "cov_re"), "write {0}.variance()"),
    **dict.fromkeys(("resid",), _RESIDUALS),
    **dict.fromkeys(("fittedvalues",), _FITTED),
    **dict.fromkeys(("random_effects",), "write {0}.ranef(group)"),
    **dict.fromkeys(("loglik", "logLik", "llf", "deviance", "aic", "AIC", "bic", "BIC", "sigma"), "write {0}.glance()"),
    **dict.fromkeys(("n", "nobs", "df_residual", "n_params", "method", "solver"), "write {0}.glance()"),
    **dict.fromkeys(("t_test", "f_test", "wald_test", "contrast", "contrasts"), "write {0}.test('a - b = 0')"),
    **dict.fromkeys(("converged", "warnings"), "write {0}.status or {0}.failed()"),
    **dict.fromkeys(("icc", "ICC", "heritability", "h2"), "write {0}.ratio(group)"),
    **dict.fromkeys(("simulate", "profile"), _SINGLE % "simulate() or profile()"),
    **dict.fromkeys(("influence", "cooks_distance", "leverage", "hatvalues"), _SINGLE % "influence() or leverage()"),
    "eBayes": "write {0}.moderate()",
    **dict.fromkeys(("plot", "volcano"), "write lmm.plot.volcano(many, term)"),
    **dict.fromkeys(("names", "keys", "columns"), "write {0}.responses"),
    **dict.fromkeys(("to_frame", "to_pandas"), _TIDY),
}
"""The same of many fits."""

SCAN = {
    **dict.fromkeys(("results", "params", "coef", "bse", "pvalues", "p_value", "p_values", "stats"), _TIDY),
    **dict.fromkeys(("to_frame", "to_pandas", "summary", "glance"), "write {0}.tidy(), or print the scan"),
    **dict.fromkeys(("to_csv", "to_parquet", "save"), "write {0}.to_tsv(path), or scan with out=folder"),
    **dict.fromkeys(("head", "hits", "nlargest", "sort_values"), "write {0}.top(n)"),
    **dict.fromkeys(("lambda_", "inflation", "gc", "lambdaGC", "genomic_control"), "write {0}.lambda_gc()"),
    **dict.fromkeys(("manhattan", "plot"), "write lmm.plot.manhattan(hits)"),
    **dict.fromkeys(("qq", "qq_p", "qqplot"), "write lmm.plot.qq_p(hits)"),
    **dict.fromkeys(("null_model", "null_fit"), "write {0}.null"),
    **dict.fromkeys(("h2", "heritability"), "write {0}.null.ratio(group), or the column h2 of {0}.tidy()"),
}
"""The same of a scan."""

_LEVEL, _NEWDATA = "write level=0.95, of the interval", "write newdata= (the first argument)"
_DF, _ERRORS_ARE_THERE = "write df='satterthwaite'", "the column std_error is always there"
_ALL_TERMS = "write re_form=None for all random terms, '~0' for none, '~ (1 | g)' for some"
_WITH_MODES = "write level='conditional' or level='marginal'"
_NEW = "write new_levels='zero' (or 'error')"
_OF_TABLE = "write it of the table, as in {0}.tidy().to_csv(path, ...)"

OPTIONS = {
    "predict": {
        **dict.fromkeys(("allow_new_levels", "allow_new_re_levels", "new_re_levels", "sample_new_levels"), _NEW),
        **dict.fromkeys(("re_formula", "reform", "use_re", "use_rfx", "random_only", "random_effects"), _ALL_TERMS),
        **dict.fromkeys(("include_random", "include_re", "conditional", "group_rfx_data"), _ALL_TERMS),
        **dict.fromkeys(("exog", "data", "X", "new_data", "test_data", "df", "frame"), _NEWDATA),
        **dict.fromkeys(("se_fit", "se", "condSE", "std_error"), _ERRORS_ARE_THERE),
        **dict.fromkeys(("pred_type", "kind", "which"), "write type='link' or type='response'"),
        **dict.fromkeys(("na_action", "skip_data_checks", "verify_predictions"), "a row with a missing value is NaN"),
    },
    "residuals": {
        **dict.fromkeys(("scaled", "standardized", "normalize", "normalized"), "write type='pearson'"),
        **dict.fromkeys(("kind", "resid_type", "method"), "write type='response' or type='pearson'"),
        **dict.fromkeys(("re_form", "re_formula", "conditional"), _WITH_MODES),
    },
    "fitted": dict.fromkeys(("re_form", "re_formula", "conditional", "type"), _WITH_MODES),
    "summary": {
        **dict.fromkeys(("corr", "cor"), "write correlation=True or correlation=False"),
        **dict.fromkeys(("level", "alpha", "conf_level"), "write {0}.coef(level=0.95)"),
        **dict.fromkeys(("digits", "signif", "title", "yname", "xname_fe"), "its numbers are those of {0}.coef()"),
    },
    "vcov": dict.fromkeys(("correlation", "corr"), "{0}.summary(correlation=True) shows correlations"),
    "variance": {
        **dict.fromkeys(("comp", "sd", "std", "kind", "type"), "write scale='sd' or scale='variance'"),
        **dict.fromkeys(("level", "alpha"), "its intervals have 95 %"),
    },
    "ranef": {
        **dict.fromkeys(("condVar", "condvar", "condsd", "postVar", "se"), "write ranef_sd(group) of a single fit"),
        **dict.fromkeys(("which", "whichel", "grp", "name", "by"), "write group='g'"),
    },
    "tidy": {
        **dict.fromkeys(("scales", "ran_prefix"), "write {0}.variance(scale=...)"),
    },
    "refit": dict.fromkeys(("newresp", "response", "endog", "data"), "write y= (the first argument)"),
    "save": dict.fromkeys(("filename", "fname", "file", "filepath", "overwrite"), "write path= (the first argument)"),
    "test": dict.fromkeys(
        ("L", "hypothesis", "linfct", "r_matrix", "hypothesis_matrix", "constraint"), "write h= (the first argument)"
    ),
    "anova": dict.fromkeys(("typ", "test"), "write type=1, 2 or 3 of a single fit"),
    "top": dict.fromkeys(("by", "sort", "sort_by", "number", "p_max"), "write n=10; rows are sorted by p-value"),
    **dict.fromkeys(("to_csv", "to_parquet"), dict.fromkeys(("index", "sep", "engine", "compression"), _OF_TABLE)),
}
"""Options of single methods."""

SHARED_OPTIONS = {
    "df": dict.fromkeys(("ddf", "dof", "use_t"), _DF),
    "level": dict.fromkeys(("alpha", "conf_level", "conf_int"), _LEVEL),
}
"""Options of all methods that have one of ours."""


def check_names(verb: str, given: Iterable[str], accepted: Iterable[str], elsewhere: Mapping[str, str]) -> None:
    """Raise if an option has a name that the verb does not know; ``elsewhere`` are hints for names of other packages.

    >>> check_names("fit", ["REML"], ["method"], {"REML": "write method='REML'"})
    Traceback (most recent call last):
        ...
    jaxlmm.errors.OptionError: fit has no option 'REML': write method='REML'.
    """
    accepted = tuple(accepted)
    for name in given:
        if name not in accepted:
            raise OptionError(f"{verb} has no option {name!r}: {elsewhere.get(name) or nearest(name, accepted)}.")


def named_options(function: Callable[P, T], elsewhere: Mapping[str, str], first: int = 0) -> Callable[P, T]:
    """Let a function answer an unknown option with an error that names the option to write instead.

    The parameters before ``first`` are not called options.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return function
    accepted = tuple(parameter.name for parameter in parameters[first:])

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs:
            check_names(function.__name__, kwargs, accepted, elsewhere)
        return function(*args, **kwargs)

    return wrapped


def answering(word: str, attributes: Mapping[str, str]) -> Callable[[C], C]:
    """Let a class answer foreign ``attributes`` and options with an error that says what to write, of a ``word``.

    Attributes that are not there stay so: ``hasattr`` is false, and protocols that ask for them go on as usual.
    """

    def answered(cls: C) -> C:
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                parameters = inspect.signature(method).parameters
                shared = [hints for option, hints in SHARED_OPTIONS.items() if option in parameters]
                own = {**dict(pair for hints in shared for pair in hints.items()), **OPTIONS.get(name, {})}
                texts = {option: text.format(word) for option, text in own.items()}
                setattr(cls, name, named_options(method, texts, first=1))

        def no_attribute(self: Any, name: str) -> Any:
            text = attributes.get(name)
            if text is None:
                raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}", name=name, obj=self)
            raise AttributeError(f"{cls.__name__} has no {name!r}: {text.format(word)}.")

        cls.__getattr__ = no_attribute  # type: ignore[attr-defined]
        return cls

    return answered
