"""The matrices of a fitted model: X, Z and V, with labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy
from jaxtyping import Int

from jaxlmm._util import NumpyArray, in_double_precision
from jaxlmm.errors import DataError
from jaxlmm.results.fitted import Fitted
from jaxlmm.results.levels import factors_at, row_covariance, unweighted
from jaxlmm.results.tables import check_group

MAX_COVARIANCE_BYTES = 2**30
"""Bytes that a covariance matrix of rows may take: those of 11,585 rows."""


class LabelledMatrix(NamedTuple):
    """A sparse matrix with labels: ``matrix`` (r, c) in scipy's CSR format, ``rows`` (r,) and ``columns`` (c,)."""

    matrix: scipy.sparse.csr_array
    rows: pd.Index
    columns: pd.MultiIndex

    def to_frame(self) -> pd.DataFrame:
        """Return a dense frame; for a look at small ones."""
        return pd.DataFrame(self.matrix.toarray(), index=self.rows, columns=self.columns)


def model_matrix(fit: Fitted) -> pd.DataFrame:
    """Return X: rows × the fixed-effect columns that are kept, on the data's index and not weighted.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> fit.model_matrix().head(2)
       Intercept  Days
    0        1.0   0.0
    1        1.0   1.0
    """
    return pd.DataFrame(fit.frame.x.copy(), index=fit.frame.index, columns=list(fit.frame.labels.fixed_names))


def random_matrix(fit: Fitted, group: str) -> LabelledMatrix:
    """Return Z of all terms of one group as a sparse matrix with labels, not weighted.

    Parameters
    ----------
    group
        A grouping factor.

    Returns
    -------
    LabelledMatrix
        ``.matrix`` (n, levels · columns) is a ``scipy.sparse.csr_array``; ``.rows`` the data's index; ``.columns`` a
        ``MultiIndex`` of level and column, all columns of a level together as in lme4's ``getME(fit, "Z")``. That is
        the order of ``fit.ranef(group)`` read row by row, so ``Z.matrix @ fit.ranef(group).to_numpy().ravel()`` is
        what the group adds to the fitted values. A term over positions has a column for each position of a level. The
        ids that only a known matrix has come last, as there, with columns of zeros.

    Raises
    ------
    OptionError
        If no random term is grouped by ``group``.

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (Days | Subject)", lmm.datasets.sleepstudy())
    >>> Z = fit.random_matrix("Subject")
    >>> Z.matrix.shape, Z.matrix.nnz, Z.columns[:3].tolist()
    ((180, 36), 342, [('308', 'Intercept'), ('308', 'Days'), ('309', 'Intercept')])
    >>> part = Z.matrix @ fit.ranef("Subject").to_numpy().ravel()
    >>> bool(abs(fit.fitted("marginal") + part - fit.fitted()).max() < 1e-9)
    True
    """
    check_group(fit.estimates.labels, group)
    level = fit.frame.levels[group]
    terms = [number for number, labels in enumerate(fit.frame.labels.terms) if labels.group == group]
    names = [column for number in terms for column in fit.frame.labels.terms[number].columns]
    rows, columns, values, start = [], [], [], 0
    for number in terms:
        term = fit.design.terms[number]
        z, row = unweighted(fit.frame, term), np.arange(fit.n)
        first = level.codes.astype(np.int64) * len(names) + start
        if fit.frame.labels.terms[number].positions is not None:
            first = first + np.asarray(term.positions)[: fit.n]
        for column in range(z.shape[1]):
            present = z[:, column] != 0.0
            rows.append(row[present])
            columns.append((first + column)[present])
            values.append(z[present, column])
        start += len(fit.frame.labels.terms[number].columns)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    ids = fit.estimates.labels.groups[group].ids
    matrix = scipy.sparse.csr_array(entries, shape=(fit.n, len(ids) * len(names)))
    labels = pd.MultiIndex.from_product([ids, names], names=[group, "column"])
    return LabelledMatrix(matrix, fit.frame.index, labels)


@in_double_precision
def marginal_cov(fit: Fitted, rows: Any = None) -> pd.DataFrame:
    """Return V, the covariance of the response given the fixed effects, in squared units of the response.

    ``V = σ² (Z Λ Λᵀ Zᵀ + W⁻½ D R D W⁻½)`` at the estimates, with the known matrices across levels, the residual
    structure R, the weights W, and D the standard deviations of a model of dispersion.

    Parameters
    ----------
    rows
        Labels of the data's index, in the order wanted, for example ``data.index[data["Subject"] == "308"]``; where a
        label repeats, all its rows. None for all rows.

    Returns
    -------
    pandas.DataFrame
        Rows × rows. It is dense, whatever the model.

    Raises
    ------
    DataError
        If a label is not among the rows of the fit, or the matrix would need more than 1 GiB (11,585 rows).

    Examples
    --------
    >>> import jaxlmm as lmm
    >>> fit = lmm.fit("Reaction ~ Days + (1 | Subject)", lmm.datasets.sleepstudy())
    >>> fit.marginal_cov([0, 1, 10]).round(1)
            0       1       10
    0   2338.6  1378.2     0.0
    1   1378.2  2338.6     0.0
    10     0.0     0.0  2338.6
    """
    fit.estimates.labels.check_gaussian("marginal_cov")
    index = fit.frame.index
    used = np.arange(fit.n) if rows is None else _indices(index, rows)
    size, most = 8 * used.size**2, int((MAX_COVARIANCE_BYTES / 8) ** 0.5)
    if size > MAX_COVARIANCE_BYTES:
        raise DataError(
            f"marginal_cov: expected at most {most:,} rows (a dense matrix of 1 GiB), got {used.size:,} (it would take "
            f"{size / 2**30:.1f} GiB). Pass rows=, labels of the data's index, for example those of one group."
        )
    solution = fit.solution
    factors = factors_at(solution.layout, solution.theta, solution.bases)
    total = row_covariance(fit.frame, factors, used)
    return pd.DataFrame(float(fit.by_row.sigma) ** 2 * total, index=index[used], columns=index[used])


def _indices(index: pd.Index, rows: Any) -> Int[NumpyArray, " _"]:
    """Return the numbers of the rows with these labels."""
    if not pd.api.types.is_list_like(rows) or isinstance(rows, dict):
        raise DataError(f"rows: expected a list of labels of the data's index, got {rows!r}; write [{rows!r}].")
    labels = pd.Index(rows)
    if pd.api.types.is_bool_dtype(labels.dtype) and not pd.api.types.is_bool_dtype(index.dtype):
        raise DataError("rows: expected labels of the data's index, got true and false; write data.index[mask].")
    fitted = labels.isin(index)
    if not len(labels) or not fitted.all():
        what = f"{labels[~fitted][0]!s}, which is not among them" if len(labels) else "an empty list"
        raise DataError(
            f"rows: expected labels of the {len(index)} rows of this fit, such as {index[0]!s}, got {what} (rows with "
            "missing values are not in a fit)."
        )
    return np.asarray(index.get_indexer_for(labels))
