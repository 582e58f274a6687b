"""The content of a summary, whether text or HTML: facts, tables of formatted cells, and notes.

lme4's layout with lmerTest's columns, and a certificate where they have warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlmm._util import NumpyArray
from jaxlmm.covariance import RESIDUAL_SD, Parameter
from jaxlmm.families import ZERO_PART
from jaxlmm.formula import TermLabels
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.tables import coef, tested, variance

KINSHIP_DIAGONAL_TOLERANCE = 0.05
"""A known matrix whose mean diagonal is no further than this from 0.5 is taken to hold kinship coefficients."""

MAX_CORRELATED_EFFECTS = 12
"""Correlations of more fixed effects than this are shown only on request."""


class Table(NamedTuple):
    """A table of texts: ``rows`` are as long as ``header``, and their first ``left`` cells are names, aligned left."""

    title: str
    header: list[str]
    rows: list[list[str]]
    left: int


class SummaryContent(NamedTuple):
    """A title, lines of facts as pairs of name and value, tables, and notes in words."""

    title: str
    facts: list[list[tuple[str, str]]]
    tables: list[Table]
    notes: list[str]


def summary_content(fit: Fitted, df: str, vcov: str, cluster: Any, correlation: bool | None) -> SummaryContent:
    """Return the content of a fit's summary; options as in :meth:`jaxlmm.results.Fit.summary`."""
    labels = fit.estimates.labels
    kind = "linear mixed model" if labels.terms else "linear model"
    kind = kind.capitalize() if labels.family is None else f"Generalized {kind}"
    method = {"REML": "REML", "ML": "maximum likelihood"}[fit.method]
    if labels.family is not None and labels.terms:
        method = f"{method} ({labels.family.approximation})"
    tables = [_quantiles(fit), _random(fit), _parameters(fit), _dispersion(fit)]
    tables += [_family(fit, zero_part=False), _family(fit, zero_part=True)]
    tables += [_fixed(fit, df, vcov, cluster), _correlation(fit, tested(fit, df, vcov, cluster).vcov, correlation)]
    notes, p = _notes(fit), fit.estimates.beta.size
    if correlation is None and p > MAX_CORRELATED_EFFECTS:
        notes.append(f"The correlations of {p} fixed effects are not shown; summary(correlation=True) shows them.")
    return SummaryContent(f"{kind} fit by {method}", _facts(fit), [table for table in tables if table.rows], notes)


def _facts(fit: Fitted) -> list[list[tuple[str, str]]]:
    groups = "; ".join(f"{name}, {count}" for name, count in fit.n_groups.items())
    dropped = f" ({fit.n_dropped} dropped: missing values)" if fit.n_dropped else ""
    return [
        [("Formula", fit.formula)],
        *([option] for option in _options(fit)),
        [("Rows", f"{fit.n}{dropped}")],
        [("Groups", groups or "none")],
        [("Solver", f"{fit.solver} ({fit.solver_reason})")],
        [("Status", fit.status)],
        [
            ("REML criterion" if fit.method == "REML" else "Deviance", f"{fit.deviance:.4f}"),
            ("loglik", f"{fit.loglik:.4f}"),
            ("AIC", f"{fit.aic:.2f}"),
            ("BIC", f"{fit.bic:.2f}"),
        ],
    ]


def _options(fit: Fitted) -> list[tuple[str, str]]:
    """Return what options add to the formula: weights, offset, residuals, known matrices or coordinates of levels."""
    facts, labels, ranges = [], fit.estimates.labels, fit.estimates.ranges
    if labels.family is not None:
        facts.append(("Family", labels.family.text))
        facts += [] if labels.family.zeros is None else [(ZERO_PART, labels.family.zeros.text)]
    if (ranges.weights != 1.0).any():
        facts.append(("Weights", f"from {ranges.weights[0]:.4g} to {ranges.weights[1]:.4g}"))
    if ranges.offset.any():
        facts.append(("Offset", f"from {ranges.offset[0]:.4g} to {ranges.offset[1]:.4g}"))
    if labels.residual is not None:
        facts.append(("Residual", labels.residual.text))
    if labels.dispersion is not None:
        facts.append(("Dispersion", labels.dispersion.text))
    across = [name for name, group in labels.groups.items() if group.unobserved is not None]
    for what, is_matrix in (("Known matrix across", True), ("Coordinates across", False)):
        names = [name for name in across if (labels.groups[name].diagonal is not None) == is_matrix]
        facts += [(what, ", ".join(names))] if names else []
    return facts


def _quantiles(fit: Fitted) -> Table:
    quantiles, gaussian = fit.estimates.ranges.residuals, fit.estimates.labels.family is None
    rows = [[_number(value) for value in quantiles]] if gaussian or np.isfinite(quantiles).all() else []
    title = "Scaled residuals" if gaussian else "Pearson residuals"
    return Table(title, ["Min", "1Q", "Median", "3Q", "Max"], rows, 0)


def _random(fit: Fitted) -> Table:
    """Return standard deviations, each with its correlations with those above it in its term, as in lme4."""
    table = variance(fit).to_dict(orient="index")
    rows = []
    for term in _terms(fit):
        sds = [parameter for parameter in term.natural if parameter.is_sd]
        correlations = _between_sds(term)
        for number, parameter in enumerate(sds):
            row = table[parameter.name]
            pairs = [frozenset((*other.columns, *parameter.columns)) for other in sds[:number]]
            with_previous = [table[correlations[pair].name]["estimate"] for pair in pairs if pair in correlations]
            rows.append(
                [term.group if number == 0 else "", _of_column(parameter, len(sds)), _number(row["estimate"] ** 2)]
                + [_number(row["estimate"]), _error(row), _mark(row)]
                + ["." if np.isnan(value) else f"{value:.2f}" for value in with_previous]
            )
    if fit.estimates.labels.residual is None and fit.estimates.labels.family is None:
        row = table[RESIDUAL_SD.name]
        numbers = [_number(row["estimate"] ** 2), _number(row["estimate"]), _error(row), _mark(row)]
        rows.append(["Residual", "", *numbers])
    width = max((len(row) for row in rows), default=6)
    header = ["Groups", "Name", "Variance", "Std.Dev.", "SE(Std.Dev.)", "", "Corr"][: min(width, 7)]
    return _without_marks(Table("Random effects", header + [""] * (width - 7), rows, 2), width)


def _parameters(fit: Fitted) -> Table:
    """Return the parameters that the table of standard deviations does not show: a decay, a user's own parameters."""
    table = variance(fit).to_dict(orient="index")
    rows = []
    for term in _terms(fit):
        shown = _between_sds(term).values()
        others = [parameter for parameter in term.natural if not parameter.is_sd and parameter not in shown]
        for number, parameter in enumerate(others):
            row, group = table[parameter.name], term.group if number == 0 else ""
            rows.append([group, parameter.label, _number(row["estimate"]), _error(row), _mark(row)])
    header = ["Groups", "Parameter", "Estimate", "Std. Error", ""]
    return _without_marks(Table("Covariance parameters", header, rows, 2), 5)


def _dispersion(fit: Fitted) -> Table:
    """Return the coefficients of the logarithm of the residual standard deviation."""
    dispersion = fit.estimates.labels.dispersion
    lines = [] if dispersion is None else list(zip(dispersion.columns, dispersion.natural, strict=True))
    return _lines(fit, "Dispersion (log residual standard deviation)", "Column", lines)


def _family(fit: Fitted, *, zero_part: bool) -> Table:
    """Return the parameters of the family, or those of its zero part."""
    family = fit.estimates.labels.family
    natural = [] if family is None else [one for one in family.natural if (one.group == ZERO_PART) == zero_part]
    lines = [(parameter.label, parameter) for parameter in natural]
    return _lines(fit, ZERO_PART if zero_part else "Parameters of the family", "Parameter", lines)


def _lines(fit: Fitted, title: str, first: str, lines: list[tuple[str, Parameter]]) -> Table:
    """Return a table of parameters, each with its name there."""
    table = variance(fit).to_dict(orient="index") if lines else {}
    rows = []
    for name, parameter in lines:
        row = table[parameter.name]
        rows.append([name, _number(row["estimate"]), _error(row), _mark(row)])
    return _without_marks(Table(title, [first, "Estimate", "Std. Error", ""], rows, 1), 4)


def _terms(fit: Fitted) -> list[TermLabels]:
    labels = fit.estimates.labels
    return [*labels.terms, *([labels.residual] if labels.residual else [])]


def _between_sds(term: TermLabels) -> dict[frozenset[str], Parameter]:
    """Return, by their two columns, the correlations between columns whose standard deviations are in the table."""
    with_sd = {column for parameter in term.natural if parameter.is_sd for column in parameter.columns}
    correlations = [parameter for parameter in term.natural if parameter.is_correlation_of_columns]
    return {frozenset(one.columns): one for one in correlations if with_sd.issuperset(one.columns)}


def _of_column(parameter: Parameter, count: int) -> str:
    """Return the name of one of a term's ``count`` standard deviations: its column, else its label unless alone."""
    return parameter.columns[0] if parameter.columns else parameter.label if count > 1 else ""


def _without_marks(table: Table, width: int) -> Table:
    """Pad the rows to ``width``, and drop the column of marks, whose header is empty, if no row has one."""
    rows = [row + [""] * (width - len(row)) for row in table.rows]
    marks = table.header.index("")
    if any(row[marks] for row in rows):
        return table._replace(rows=rows)
    header = [*table.header[:marks], *table.header[marks + 1 :]]
    return table._replace(header=header, rows=[[*row[:marks], *row[marks + 1 :]] for row in rows])


def _error(row: Mapping[Any, Any]) -> str:
    """Return the standard error of a row of ``variance()``; a point where a parameter has none."""
    return "." if row["at_boundary"] or row["fixed"] else _number(row["std_error"])


def _mark(row: Mapping[Any, Any]) -> str:
    """Return why a parameter has no standard error."""
    return "fixed" if row["fixed"] else "boundary" if row["at_boundary"] else ""


def _fixed(fit: Fitted, df: str, vcov: str, cluster: Any) -> Table:
    effects = coef(fit, df, vcov=vcov, cluster=cluster)
    normal = df == "normal" or fit.estimates.labels.family is not None
    test = "z" if normal else "t"
    rows, kept = [], fit.estimates.labels.kept
    for is_kept, (term, row) in zip(kept, effects.iterrows(), strict=True):
        if not is_kept:
            rows.append([str(term), "dropped", *[""] * (3 if normal else 4)])
            continue
        count = [] if normal else ["Inf" if np.isinf(row["df"]) else f"{row['df']:.2f}"]
        numbers = [_number(row["estimate"]), _number(row["std_error"]), *count]
        rows.append([str(term), *numbers, f"{row['statistic']:.3f}", _p_value(row["p_value"])])
    header = ["", "Estimate", "Std. Error", *([] if normal else ["df"]), f"{test} value", f"Pr(>|{test}|)"]
    title = "Fixed effects" if vcov == "model" else f"Fixed effects, with cluster-robust standard errors ({vcov})"
    return Table(title, header, rows, 1)


def _correlation(fit: Fitted, covariance: Float[NumpyArray, "p p"], shown: bool | None) -> Table:
    title, names = "Correlation of fixed effects", list(fit.estimates.labels.fixed_names)
    if len(names) < 2 or not (len(names) <= MAX_CORRELATED_EFFECTS if shown is None else shown):
        return Table(title, [], [], 1)
    sd = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore"):  # a coefficient that is determined exactly has no correlation
        matrix = covariance / np.outer(sd, sd)
    matrix = np.where(np.abs(matrix) < 5e-4, 0.0, matrix)
    short = [name[:10] for name in names[:-1]]
    numbered = len(set(short)) < len(short)  # cut names that are the same: columns are headed by numbers
    labels = [f"[{i + 1}] {name}" for i, name in enumerate(names)] if numbered else names
    heads = [f"[{i + 1}]" for i in range(len(names) - 1)] if numbered else short
    rows = [
        [labels[i], *(f"{matrix[i, j]:.3f}" for j in range(i)), *[""] * (len(names) - 1 - i)]
        for i in range(0 if numbered else 1, len(names))
    ]
    return Table(title, ["", *heads], rows, 1)


def _notes(fit: Fitted) -> list[str]:
    certificate, labels, notes = fit.certificate, fit.estimates.labels, list(fit.estimates.notes)
    dropped = [name for name, kept in zip(labels.column_names, labels.kept, strict=True) if not kept]
    if dropped:
        notes.append(f"Dropped, because the other columns determine them: {', '.join(dropped)}")
    fixed = [name for name, is_fixed in zip(labels.parameters, fit.estimates.fixed, strict=True) if is_fixed]
    if fixed:
        notes.append(f"Fixed at given values, and not estimated: {', '.join(fixed)}")
    kinships = [name for name, group in labels.groups.items() if _is_half(group.diagonal)]
    if kinships:
        notes.append(
            f"The known matrix across {', '.join(kinships)} has a mean diagonal near 0.5, as kinship coefficients "
            "have: with 2 * K the variance is half of this, the additive genetic one; ratio() and pve() stay the same."
        )
    if fit.status != "interior":
        notes.append(f"{fit.status}: {certificate.help}")
    if len(certificate.multipliers):
        listed = ", ".join(f"{name} {value:.4g}" for name, value in certificate.multipliers.items())
        notes.append(f"Multipliers (rise of the deviance off the boundary): {listed}")
    if len(certificate.ridge):
        listed = ", ".join(f"{name} {value:+.3f}" for name, value in certificate.ridge.items())
        notes.append(f"Ridge (directions in which the deviance is constant): {listed}")
        if len(certificate.ridge) > 1:
            notes.append(
                "These parameters move together at no cost: none of them is identified, and their ratio is not "
                "identified either."
            )
    return notes


def _is_half(diagonal: float | None) -> bool:
    return diagonal is not None and abs(diagonal - 0.5) < KINSHIP_DIAGONAL_TOLERANCE


def _p_value(value: float) -> str:
    if np.isnan(value):
        return "nan"
    if value < 2e-16:
        return "<2e-16"
    return f"{value:.5f}" if value >= 1e-4 else f"{value:.2e}"


def _number(value: float) -> str:
    if np.isnan(value):
        return "nan"
    if value == 0.0:
        return "0"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"
