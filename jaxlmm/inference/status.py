"""The status words of an optimum, and the reasons that tables give beside them, with an explanation of each."""

from __future__ import annotations

from typing import Literal

STATUS = ("interior", "boundary", "not_identified", "not_converged", "failed")
"""The status words; their indices are the codes of array-level results."""

PROVEN = (STATUS.index("interior"), STATUS.index("boundary"))
"""The codes of optima that have tests. With the other codes the point is no optimum, or one of many equally good ones,
and its p-values would mean nothing."""

HELP = {
    "interior": "The optimum is inside the parameter space: the gradient is zero and the Hessian positive definite.",
    "boundary": (
        "A covariance matrix is exactly singular at the optimum (a variance of zero, a correlation of ±1, a rank below "
        "its size), or a parameter of a structure is at its limit. Each multiplier is the rate at which the deviance "
        "rises off the boundary. Such parameters have no standard errors; those of the others hold these "
        "fixed."
    ),
    "not_identified": (
        "The data do not determine all parameters: the deviance is constant along the ridge. What moves along it has "
        "no standard error. Remove a term, or collect data that tell the parameters apart."
    ),
    "not_converged": (
        "The minimizer stopped before an optimum was reached. Look for a predictor or a response on an extreme scale, "
        "a nearly saturated model, or a structure whose start is far off."
    ),
    "failed": "The deviance is not finite at any point that was tried, so there is no optimum to report.",
}

NO_RESIDUAL = (
    "The random effects explain the response exactly: it is the same in all rows of a group, or an exact sum of its "
    "effects. The likelihood grows without bound as the residual variance goes to zero. What is reported is the limit, "
    "in which the residual is zero and the inference is that between groups; there is no log-likelihood to compare."
)
"""The explanation of a boundary at which no residual is left."""

UNBOUNDED = (
    "The random effects explain the response exactly, so that the likelihood grows without bound as the residual "
    "variance goes to zero: there is no optimum, and no standard error. Look for rows that repeat others, such as a "
    "person who stands twice in the data; remove the copies, or average them."
)
"""The explanation where no residual is left and the groups' effects are related, so that there is no optimum."""

GROWS = (
    "The likelihood grows without bound as a parameter of the family goes to the end of its range: there is no "
    "optimum. That of a Tweedie distribution does so as its power goes to 1 where all values are multiples of one "
    "number, as counts are, which family='nbinom2' is for."
)
"""The explanation where a density is unbounded at the end of the range of a parameter of the family."""

WITHOUT_ZERO_PART = (
    "The zero part adds no zeros: the likelihood is largest where their probability is 0 in all rows, and the model is "
    "that without zero_inflated. What is reported is that limit: the coefficients of the zero part are at minus "
    "infinity, or have no value, and all others have their estimates and standard errors there."
)
"""The explanation of a boundary at which a zero part vanishes."""

ZERO_PART_AT_END = (
    "The probability of a zero goes to 0 in some rows and to 1 in others as coefficients of the zero part go to "
    "infinity; the deviance does not change any more. What is reported of them is where the search has stopped, "
    "without standard errors; all others have their estimates and standard errors in the limit."
)
"""The explanation of a boundary to which the coefficients of a zero part are on their way."""

SEPARATED = (
    "The likelihood rises for ever along the direction that the ridge names: all observations that move along it are "
    "zero, or all are at the other end, so that their coefficients have no finite estimate. What is reported is the "
    "limit: those coefficients are infinite, and all others, which do not move, have their estimates there. Remove the "
    "predictor, merge its levels, or collect data in which it varies."
)
"""The explanation of a separated response."""

Reason = Literal[
    "all_missing", "infinite", "not_of_family", "separated", "also_a_predictor", "too_few_rows", "constant",
    "perfect_fit", "not_finite", "no_optimum_without_marker", "stopped", "unbounded", "no_residual",
]  # fmt: skip
"""A reason that stands beside the status of one of many responses."""

REASONS: dict[Reason, str] = {
    "all_missing": "the response has no value on the rows of the design",
    "infinite": "a value of the response is infinite",
    "not_of_family": "the response has a value that the family cannot have",
    "separated": "the likelihood rises for ever along the direction that is named, where all values are zero or one",
    "also_a_predictor": "the response stands on the right side of the formula too",
    "too_few_rows": "the response has no more rows than fixed effects, in a scan with those of a marker",
    "constant": "the response, less the offset, is the same on all its rows",
    "perfect_fit": "the fixed effects fit the response exactly, or the level of the dispersion that is named",
    "not_finite": "the deviance is not finite at any point that was tried",
    "no_optimum_without_marker": "in a scan, so is the deviance of the model without a marker",
    "stopped": "the minimizer stopped before an optimum was reached",
    "unbounded": "the likelihood grows without bound: the random effects fit the response exactly, or a parameter of "
    "the family goes to the end of its range",
    "no_residual": "the random effects fit the response exactly: the limit without a residual is reported",
}
"""The reasons and their meaning: for a response that has no fit, or a fit to be read with care."""
