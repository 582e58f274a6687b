"""``fit``, ``fit_many`` and ``design``: signatures and documentation of the verbs that build a model.

With :mod:`jaxlmm.scanning.scan` the only places that spell out the options; what is called below takes a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlmm._util import as_table, check_executor, in_double_precision
from jaxlmm.api.call import Call
from jaxlmm.api.many import run_many
from jaxlmm.api.names import named_options
from jaxlmm.api.options import FitOptions
from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.families import AbstractFamily
from jaxlmm.formula import ModelOptions, build_frame, parse
from jaxlmm.model import Design
from jaxlmm.results import Fit, FitMany
from jaxlmm.solvers import AbstractSolver


@named_options
def fit(
    formula: str,
    data: Any,
    *,
    method: str | None = None,
    family: str | AbstractFamily = "gaussian",
    quadrature: int = 1,
    trials: str | Sequence[float] | None = None,
    zero_inflated: str | None = None,
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    kinship: Mapping[str, Any] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | Along | None = None,
    dispersion: str | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    solver: str | type[AbstractSolver] = "auto",
    optimizer: Any = "newton",
) -> Fit:
    """Fit a linear mixed model, or with a ``family`` a generalized one.

    Parameters
    ----------
    formula
        In lme4's spelling, ``"y ~ x + (1 + x | g)"``; without a bar a linear model. A name that is no plain word stands
        in backquotes, ``"`my days`"``, and a backquote within it is written twice. ``.`` among the fixed effects stands
        for all columns that are nothing else in the model: neither in the response nor a grouping factor, weights or
        offset (lme4 would take grouping factors too). ``ns(x, df=3)`` and ``bs(x, df=4)`` are R's splines. A formula is
        code: never take one from an untrusted source.
    data
        A data frame (pandas, polars, pyarrow). Rows in which a used variable is missing are dropped, and counted.
    method
        ``"REML"``, the default of linear mixed models, or ``"ML"``, that of generalized ones.
    family
        The distribution of the response: ``"gaussian"``, a linear mixed model; ``"binomial"`` (or ``"bernoulli"``),
        ``"poisson"``, ``"nbinom2"``, ``"nbinom1"``, of counts of at least 1 ``"truncated_poisson"``,
        ``"truncated_nbinom2"`` and ``"truncated_nbinom1"``, ``"gamma"``, ``"inverse_gaussian"``, ``"beta"``,
        ``"tweedie"`` or ``"student_t"``; an object of ``lmm.families``, with another link, as
        ``lmm.families.Binomial(link="probit")``, or of a class of one's own.
    quadrature
        How the random effects of such a model are integrated: 1 is Laplace's approximation, K more adaptive
        Gauss–Hermite quadrature with K nodes, for one or two random effects on one grouping factor.
    trials
        The numbers of trials of a binomial response: a column's name or one number per row; without it, and without
        ``cbind(successes, failures)`` left of ``~``, each is a single one.
    zero_inflated
        A model of additional zeros, ``"~ x + f"``: a response is zero with a probability π whose logit is a linear
        function of these columns, else an observation of the family, which for counts may be zero too; with a truncated
        family, or one of positive numbers, all zeros are of this model (a hurdle model). With ``"~ 1"`` π itself is
        the parameter, ``"Zero inflation: probability"``, which may be 0; coefficients are called
        ``"Zero inflation: logit(x)"``.
    weights, offset
        A column's name or one number per row: ``Var = sigma² / weight``, and with a family the weights multiply the
        log-densities; the offset is subtracted from the response, or added to the linear predictor.
    kinship
        A known covariance across the levels of a group, ``{group: K}``: a frame with ids as index and columns, or a
        :class:`jaxlmm.genetics.Relationship`. Ids are matched as text, in any order; K may have more of them, and must
        be positive semidefinite (identical twins are fine). Several on one term, each with a variance (or covariance)
        of its own: ``{group: [K1, K2]}``, called ``group[1]`` and ``group[2]``, or ``{group: {"kin": K1, "ibd": K2}}``,
        called ``group[kin]`` and ``group[ibd]``. With ``(1 + t | group)`` the effects have covariance ``Σ ⊗ K``. Or
        a structure with parameters of its own, ``lmm.covariance.OU(coords=frame)``, where the frame says by label where
        each level is; it acts on one column, as in ``(1 | group)``, and more ids than levels can be predicted.
    covariance
        A structure within a term's columns, ``{group: object}``, or ``{"0 + x | g": object}``.
    residual
        A residual structure, ``"ou(time | group)"``.
    dispersion
        A model of the residual's standard deviation, ``"~ x + f"``: its logarithm in a row is ``log sigma + x γ``,
        whose intercept is sigma (and ``Var = sigma² exp(2 x γ) / weight`` beside ``weights``; a ``residual`` structure
        is that of the correlations then). ``"~ f"`` is nlme's ``varIdent``, ``"~ x"`` its ``varExp``, ``"~ log(x)"``
        ``varPower``. The coefficients are called ``"Residual: log sd(x)"``.
    start, fixed
        Values of variance parameters, ``{"Subject: sd(Intercept)": 30.0, "Residual: sd": 25.0}``, by the names of
        ``fit.variance()``: standard deviations in units of the response, correlations as they are (lmekin's ``vinit``
        and ``vfixed`` are the squares). What is ``fixed`` is held: it has no standard error and is no parameter in AIC
        and BIC, all else is estimated given these values, and where a standard deviation is fixed the likelihood is not
        profiled over sigma. One that is fixed at 0 takes its column out. The search begins at ``start`` or, where sigma
        is profiled out, at its ratios to the residual's, taken to be that of least squares if it is not named. Terms
        without a start begin as usual. 0 is taken to be something small: there the gradient vanishes.
    solver
        ``"auto"``, ``"moments"``, ``"blocked"``, ``"spectral"``, ``"chain"`` or ``"dense"``, or a class of one's own,
        a subclass of :class:`jaxlmm.solvers.AbstractSolver`.
    optimizer
        ``"newton"``, or an optax gradient transformation; the certificate judges both alike.

    Returns
    -------
    Fit
        Estimates, standard errors, and a certificate. A fit emits no warnings: see ``fit.status``; what there is to say
        of the data, such as values that look like codes for missing ones, stands in ``fit.summary()``.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        Before any computing.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> fit.coef()[["estimate", "std_error", "df"]].round(3)
               estimate  std_error    df
    term
    Intercept   251.405      6.825  17.0
    Days         10.467      1.546  17.0

    A known matrix across levels, and a residual that decays in time:

    >>> import numpy as np, pandas as pd
    >>> sleep = lmm.datasets.sleepstudy()
    >>> ids = sleep["Subject"].cat.categories
    >>> unrelated = pd.DataFrame(np.eye(len(ids)), index=ids, columns=ids)
    >>> known = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep, kinship={"Subject": unrelated})
    >>> known.solver, round(known.deviance, 3)
    ('spectral', 1786.465)
    >>> decaying = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep, residual="ou(Days | Subject)")
    >>> decaying.variance()["estimate"].round(3).to_dict()
    {'Subject: sd(Intercept)': 31.714, 'Residual: sd': 37.637, 'Residual: rho': 0.653}

    A residual standard deviation that is known:

    >>> given = lmm.fit("Reaction ~ Days + (1 | Subject)", sleep, fixed={"Residual: sd": 30.0})
    >>> given.variance()[["estimate", "std_error"]].round(2).to_dict(orient="list")
    {'estimate': [37.21, 30.0], 'std_error': [6.8, nan]}
    """
    options = FitOptions(
        method=method, family=family, quadrature=quadrature, trials=trials, zero_inflated=zero_inflated,
        weights=weights, offset=offset, kinship=kinship, covariance=covariance, residual=residual,
        dispersion=dispersion, start=start, fixed=fixed, solver=solver, optimizer=optimizer,
    )  # fmt: skip
    return Call(formula, data, options).run()


@named_options
def fit_many(
    formula: str,
    data: Any,
    *,
    responses: Any = None,
    id: str | None = None,
    executor: Any = None,
    progress: bool | None = None,
    method: str | None = None,
    family: str | AbstractFamily = "gaussian",
    quadrature: int = 1,
    trials: str | Sequence[float] | None = None,
    zero_inflated: str | None = None,
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    kinship: Mapping[str, Any] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | Along | None = None,
    dispersion: str | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    solver: str | type[AbstractSolver] = "auto",
    optimizer: Any = "newton",
) -> FitMany:
    """Fit a linear mixed model to many responses, each at its own exact optimum.

    What does not depend on the response is done once; all responses are minimized together, in blocks that fit into
    memory. A response that cannot be fitted is a row with a status and a reason, never an exception.

    Parameters
    ----------
    formula
        As in :func:`jaxlmm.fit`, with nothing left of ``~`` beside ``responses``, or with ``cbind(y1, y2) ~ ...``.
        ``.`` leaves out the responses and ``id`` too.
    data
        A data frame (pandas, polars, pyarrow). Rows in which a predictor is missing are dropped, and counted. A missing
        value of a response leaves the row out for that response alone; columns such as ``poly(x, 2)`` are coded once,
        on all rows, as R does.
    responses
        Names of columns of the data, or a pattern (``"gene*"``) of those that the formula does not use; a frame with a
        response per column, or a series; an array (rows, responses) in the order of the rows, whose columns are called
        y1, y2, ..., or a sparse matrix of scipy (``adata.X``; ``adata.to_df()`` has names).
    id
        The column of the data that holds the labels of the rows of a frame ``responses``. Without it, a frame is
        matched by its index if both it and the data have labels, or the same ones in another order, else by position.
        Labels may repeat where both have the same ones in the same order.
    executor
        Anything with the ``submit`` of :mod:`concurrent.futures`, whose workers fit the responses, some at a time: a
        ``ProcessPoolExecutor`` whose processes are spawned, a ``dask.distributed.Client``, ``mpi4py.futures``,
        ``submitit``. Each task is sent the model and its responses.
    progress
        Whether a bar is shown; by default on a terminal or in a notebook.
    method, family, quadrature, trials, zero_inflated, weights, offset, kinship, covariance, residual, dispersion
        As in :func:`jaxlmm.fit`; the numbers of ``trials`` are those of every response.
    start, fixed, solver, optimizer
        As in :func:`jaxlmm.fit`; the values of ``start`` and ``fixed`` are those of every response.

    Returns
    -------
    FitMany
        Tables by response and term.

    Raises
    ------
    FormulaError, DataError, KinshipError, OptionError
        Before any computing: what is wrong with the model, the data, or all responses; never for a single response.
    WorkerError
        If workers of the ``executor`` died or failed twice at the same task.

    Examples
    --------
    >>> import jaxlmm as lmm, numpy as np
    >>> sleep = lmm.datasets.sleepstudy()
    >>> Y = np.random.default_rng(1).normal(size=(180, 3)) + sleep[["Reaction"]].to_numpy() / 50
    >>> many = lmm.fit_many("~ Days + (Days | Subject)", sleep, responses=Y)
    >>> many.tidy().query("term == 'Days'")[["response", "n", "estimate", "status"]].round(3)
      response    n  estimate    status
    1       y1  180     0.192  boundary
    3       y2  180     0.178  interior
    5       y3  180     0.242  interior
    """
    options = FitOptions(
        method=method, family=family, quadrature=quadrature, trials=trials, zero_inflated=zero_inflated,
        weights=weights, offset=offset, kinship=kinship, covariance=covariance, residual=residual,
        dispersion=dispersion, start=start, fixed=fixed, solver=solver, optimizer=optimizer,
    )  # fmt: skip
    if executor is not None:
        check_executor(executor)
    return run_many(Call(formula, data, options), responses, id, progress, executor)


@named_options
@in_double_precision
def design(
    formula: str,
    data: Any,
    *,
    family: str | AbstractFamily = "gaussian",
    quadrature: int = 1,
    trials: str | Sequence[float] | None = None,
    zero_inflated: str | None = None,
    weights: str | Sequence[float] | None = None,
    offset: str | Sequence[float] | None = None,
    kinship: Mapping[str, Any] | None = None,
    covariance: Mapping[str, AbstractCovariance] | None = None,
    residual: str | Along | None = None,
    dispersion: str | None = None,
) -> Design:
    """Build the response-free part of a model: a pytree of arrays.

    Parameters are those of :func:`jaxlmm.fit`; a left side of the formula only decides which rows are complete.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> design = lmm.design("~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> int(design.n), int(design.n_fixed)
    (180, 2)
    """
    options = ModelOptions(
        family=family, quadrature=quadrature, trials=trials, zero_inflated=zero_inflated, weights=weights,
        offset=offset, kinship=kinship, covariance=covariance, residual=residual, dispersion=dispersion,
    )  # fmt: skip
    return build_frame(parse(formula, as_table(data).columns), data, options).design
