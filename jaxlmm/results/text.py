"""The printed summary: lme4's layout with lmerTest's columns, and a certificate where they have warnings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from jaxlmm.results.fit import Fit


@dataclasses.dataclass(frozen=True, repr=False)
class Summary:
    """A printable account of a fit: ``print`` it, or take ``text``."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def summarise(fit: Fit, df: str) -> Summary:
    """Write the summary of a fit; ``df`` as in :meth:`jaxlmm.results.Fit.coef`."""
    parts = [
        _header(fit),
        "Scaled residuals:\n" + _grid(_quantiles(fit), ["Min", "1Q", "Median", "3Q", "Max"]),
        "Random effects:\n" + _random(fit),
        "Fixed effects:\n" + _fixed(fit, df),
        _correlation(fit),
        _notes(fit),
    ]
    return Summary("\n\n".join(part for part in parts if part))


def _header(fit: Fit) -> str:
    kind = "Linear mixed model" if fit.frame.terms else "Linear model"
    method = {"REML": "REML", "ML": "maximum likelihood"}[fit.method]
    groups = "; ".join(f"{name}, {count}" for name, count in fit.n_groups.items())
    criterion = "REML criterion" if fit.method == "REML" else "Deviance"
    lines = [
        f"{kind} fit by {method}",
        f"Formula: {fit.formula}",
        *_options(fit),
        f"Rows: {fit.n}" + (f" ({fit.n_dropped} dropped: missing values)" if fit.n_dropped else ""),
        f"Groups: {groups}" if groups else "Groups: none",
        f"Solver: {fit.solver} ({fit.solver_reason})",
        f"Status: {fit.status}",
        f"{criterion}: {fit.deviance:.4f}   loglik: {fit.loglik:.4f}   AIC: {fit.aic:.2f}   BIC: {fit.bic:.2f}",
    ]
    return "\n".join(lines)


def _options(fit: Fit) -> list[str]:
    """What the formula does not say: weights, offset, residual structure, known matrices."""
    lines = []
    if np.ptp(fit.frame.weights) > 0 or fit.frame.weights[0] != 1.0:
        lines.append(f"Weights: from {fit.frame.weights.min():.4g} to {fit.frame.weights.max():.4g}")
    if fit.frame.offset.any():
        lines.append(f"Offset: from {fit.frame.offset.min():.4g} to {fit.frame.offset.max():.4g}")
    if fit.frame.residual is not None:
        lines.append(f"Residual: {fit.frame.residual.text}")
    groups = zip(fit.frame.levels, fit.design.groupings, strict=True)
    known = [name for name, grouping in groups if grouping.relation is not None]
    return [*lines, *([f"Known matrix across: {', '.join(known)}"] if known else [])]


def _quantiles(fit: Fit) -> list[list[str]]:
    scaled = fit.residuals("pearson").to_numpy()
    return [[_number(value) for value in np.quantile(scaled, [0.0, 0.25, 0.5, 0.75, 1.0])]]


def _random(fit: Fit) -> str:
    table = fit.variance()
    sd_rows: dict[str, pd.Series] = {}
    others: list[tuple[str, pd.Series]] = []
    for name, row in table.iterrows():
        kind = str(name).split(": ", 1)[1]
        if kind.startswith("sd"):
            sd_rows[str(name)] = row
        else:
            others.append((str(name), row))
    correlations = {name: float(row["estimate"]) for name, row in others}
    rows: list[list[str]] = []
    for term in (*fit.frame.terms, *((fit.frame.residual,) if fit.frame.residual else ())):
        columns = [name for name in term.parameters if name in sd_rows]
        for place, name in enumerate(columns):
            labels = term.columns if len(columns) == len(term.columns) else ("",)
            pairs = [f"{term.group}: corr({labels[j]}, {labels[place]})" for j in range(place)]
            earlier = [correlations[pair] for pair in pairs if pair in correlations]
            rows.append(_random_row(term.group if place == 0 else "", labels[place], sd_rows[name], earlier))
        rest = [(name, row) for name, row in others if name in term.parameters and ": corr(" not in name]
        for name, row in rest:
            label = name.split(": ", 1)[1]
            rows.append(
                [
                    "",
                    label,
                    "",
                    _number(row["estimate"]),
                    "." if row["at_boundary"] else _number(row["std_error"]),
                    _mark(row),
                ]
            )
    if fit.frame.residual is None:
        rows.append(_random_row("Residual", "", sd_rows["Residual: sd"], []))
    width = max(len(row) for row in rows)
    header = ["Groups", "Name", "Variance", "Std.Dev.", "SE(Std.Dev.)", "", *(["Corr"] if width > 6 else [])]
    padded = [row + [""] * (width - len(row)) for row in rows]
    if not any(row[5] for row in padded):
        header, padded = header[:5] + header[6:], [row[:5] + row[6:] for row in padded]
    return _grid(padded, header + [""] * (len(padded[0]) - len(header)), left=2)


def _random_row(group: str, label: str, row: pd.Series, correlations: list[float]) -> list[str]:
    error = "." if row["at_boundary"] else _number(row["std_error"])
    numbers = [_number(row["estimate"] ** 2), _number(row["estimate"]), error]
    return [group, label, *numbers, _mark(row), *("." if np.isnan(value) else f"{value:.2f}" for value in correlations)]


def _mark(row: pd.Series) -> str:
    return "boundary" if row["at_boundary"] else ""


def _fixed(fit: Fit, df: str) -> str:
    table = fit.coef(df)
    rows = []
    for term, row in table.iterrows():
        if np.isnan(row["estimate"]):
            rows.append([str(term), "dropped: determined by the other columns", "", "", "", ""])
            continue
        count = "Inf" if np.isinf(row["df"]) else f"{row['df']:.2f}"
        p = _p_value(row["p_value"])
        rows.append(
            [str(term), _number(row["estimate"]), _number(row["std_error"]), count, f"{row['statistic']:.3f}", p]
        )
    test = "t value" if df != "normal" else "z value"
    return _grid(rows, ["", "Estimate", "Std. Error", "df", test, f"Pr(>|{test[0]}|)"], left=1)


def _correlation(fit: Fit) -> str:
    covariance = fit.vcov()
    names = list(covariance.columns)
    if len(names) < 2 or len(names) > 20:
        return ""
    sd = np.sqrt(np.diag(covariance))
    matrix = covariance.to_numpy() / np.outer(sd, sd)
    matrix = np.where(np.abs(matrix) < 5e-4, 0.0, matrix)
    short = [name[:10] for name in names[:-1]]
    numbered = len(set(short)) < len(short)
    labels = [f"[{i + 1}] {name}" for i, name in enumerate(names)] if numbered else names
    heads = [f"[{i + 1}]" for i in range(len(names) - 1)] if numbered else short
    rows = [
        [labels[i], *(f"{matrix[i, j]:.3f}" for j in range(i)), *[""] * (len(names) - 1 - i)]
        for i in range(0 if numbered else 1, len(names))
    ]
    return "Correlation of fixed effects:\n" + _grid(rows, ["", *heads], left=1)


def _notes(fit: Fit) -> str:
    certificate, notes = fit.certificate, []
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
    return "\n".join(notes)


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


def _grid(rows: list[list[str]], header: list[str], left: int = 0) -> str:
    """Align columns; the first ``left`` ones to the left."""
    table = [header, *rows]
    widths = [max(len(row[j]) for row in table) for j in range(len(header))]
    lines = []
    for row in table:
        cells = [
            cell.ljust(w) if j < left else cell.rjust(w) for j, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " + " ".join(cells).rstrip())
    return "\n".join(lines)
