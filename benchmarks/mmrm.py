"""Marginal models of repeated measures against SAS PROC MIXED, and the time that an unstructured one takes.

Run ``python benchmarks/mmrm.py FOLDER [--times]``. FOLDER holds ``fev_data.csv`` and ``bcva_data.csv.gz``, the data of
the R package mmrm (Apache-2.0), and ``sas_results.json``, what SAS printed for the former: ``fits`` by structure, group
and criterion, ``kr`` and ``kr_linear`` (Kenward and Roger's comparisons, with and without second derivatives of V) and
``robust_vcov`` (CR0). A line for each figure, its difference and tolerance; the exit status is 1 if one is beyond it.

Figures of ``fits`` are compared to half a unit of their last printed digit. SAS stops where the criterion is Δ above
its minimum, and such a point is up to ``√Δ`` standard errors of a figure away from the optimum. Figures that differ by
no more than that from ours are counted by themselves. Δ is the difference of the criteria and half a unit of its last
printed digit; of comparisons, without a criterion, what SAS's default leaves: half of ``gᵀH⁻¹g``, at which it stops,
``1e-8 |criterion|``. Standard errors of degrees of freedom and of Kenward and Roger's standard errors are from plain
matrices below.

With ``--times`` the model of the larger data set, unstructured with 55 parameters, is timed: the first call, with and
without compiled programs on disk, and the median of three more.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxlmm as lmm

CRITERION = 1e-6
"""Relative, of minus twice the log-likelihood."""

COMPARISON = 1e-4
"""Relative, of Kenward and Roger's standard errors and degrees of freedom, and of robust covariances."""

HALF_DIGIT = 0.5e-8
"""Half a unit of the last digit in which SAS prints a criterion."""

CONVERGED = 1e-8
"""SAS's default: ``gᵀH⁻¹g`` relative to the criterion, at which it stops."""

TAGS = {
    "ar1": "ar1(AVISIT | USUBJID{})", "ar1h": "ar1(AVISIT | USUBJID, hom=False{})",
    "arh1": "ar1(AVISIT | USUBJID, hom=False{})", "cs": "cs(AVISIT | USUBJID, hom=True{})",
    "csh": "cs(AVISIT | USUBJID{})", "adh": "ad(AVISIT | USUBJID{})", "toep": "toep(AVISIT | USUBJID, hom=True{})",
    "toeph": "toep(AVISIT | USUBJID{})", "us": "us(AVISIT | USUBJID{})", "un": "us(AVISIT | USUBJID{})",
    "sp_exp": "exp(VISITN | USUBJID{})", "sp_exp2": "exp(VISITN + VISITN2 | USUBJID{})",
    "sp_gau": "gau(VISITN | USUBJID{})", "sp_gau2": "gau(VISITN + VISITN2 | USUBJID{})",
    "spexp": "exp(VISITN + VISITN2 | USUBJID{})",
}  # fmt: skip
"""SAS's structures in our formulas."""

TIMED = "BCVA_CHG ~ BCVA_BL + RACE + ARMCD * AVISIT", "us(AVISIT | USUBJID)"

CHILD = """
import json, statistics, sys, time
import pandas as pd
import jaxlmm as lmm
data = pd.read_csv(sys.argv[1])
data["AVISIT"] = data["AVISIT"].astype("category")
seconds = []
for _ in range(4):
    start = time.perf_counter()
    fit = lmm.fit(sys.argv[2], data, residual=sys.argv[3])
    seconds.append(round(time.perf_counter() - start, 3))
    print(seconds[-1], file=sys.stderr, flush=True)
print(json.dumps({"first": seconds[0], "next": statistics.median(seconds[1:]), "solver": fit.solver, "n": fit.n,
                  "status": fit.status, "deviance": fit.deviance}))
"""


class Figure(NamedTuple):
    """A figure of SAS and ours; ``left`` is how far SAS's may be from the optimum, given its criterion."""

    model: str
    name: str
    ours: float
    sas: float
    tolerance: float
    left: float = 0.0

    @property
    def verdict(self) -> str:
        difference = abs(self.ours - self.sas)
        if difference <= self.tolerance:
            return "same"
        return "as close as SAS's criterion" if difference <= self.tolerance + self.left else "DIFFERENT"


def half_digit(printed: float) -> float:
    """Return half a unit of the last digit of a number below 1,000, as SAS prints it in a column of its tables."""
    return 0.5000001 * 10.0 ** -(2 if abs(printed) >= 100 else 5 if abs(printed) < 0.1 else 4)


def model(name: str) -> tuple[str, str, str, str]:
    """Return the formula, residual structure, criterion and SAS's structure of one of its fits by name."""
    if name == "sp_gau_kr":
        return "FEV1 ~ C(ARMCD, Treatment('TRT'))", TAGS["sp_gau2"].format(""), "REML", "sp_gau2"
    if name.startswith("coef_ci"):
        method, structure = name.split("_")[2:]
        return "FEV1 ~ ARMCD + C(SEX, Treatment('Male'))", TAGS[structure].format(""), method.upper(), structure
    structure, _, method = name.rpartition("_")
    by = ", by=ARMCD" if structure.startswith("group_") else ""
    structure = structure.removeprefix("group_")
    return "FEV1 ~ 1", TAGS[structure].format(by), method.upper(), structure


def parameter(sas: str, group: str | None, structure: str) -> Callable[[dict[str, Any]], Any]:
    """Return one of SAS's parameters as a function of ours: variances and covariances for standard deviations."""
    own = f"[{group.split()[1]}]" if group else ""

    def sd(visit: str | int) -> str:
        return f"Residual: sd(VIS{visit}{own})"

    def corr(row: str | int, column: str | int) -> str:
        return f"Residual: corr(VIS{column}{own}, VIS{row}{own})"

    rho, one_sd = f"Residual: rho{own}", f"Residual: sd{own}"
    word, _, rest = sas.rstrip(")").partition("(")
    if word == "UN":
        row, column = rest.split(",")
        if row == column:
            return lambda v: v[sd(row)] ** 2
        return lambda v: v[corr(row, column)] * v[sd(row)] * v[sd(column)]
    if word == "Var":
        return lambda v: v[sd(rest)] ** 2
    if word == "Rho":
        return lambda v: v[corr(int(rest) + 1, rest)]
    if word in ("AR", "ARH", "CSH"):
        return lambda v: v[rho]
    if word == "TOEPH":
        return lambda v: v[f"Residual: rho({rest}){own}"]
    if word == "SP":
        return lambda v: v["Residual: range"]
    if word == "CS":
        return lambda v: v[rho] * v[one_sd] ** 2
    if structure == "cs":  # beside a covariance, the rest of the variance
        return lambda v: (1.0 - v[rho]) * v[one_sd] ** 2
    return lambda v: v[one_sd] ** 2


def fits(fev: pd.DataFrame, sas: dict[str, Any]) -> Iterator[Figure]:
    """Yield criterion, variance parameters and fixed effects of each fit."""
    for name, record in sas.items():
        formula, residual, method, structure = model(name)
        fit = lmm.fit(formula, fev, residual=residual, method=method)
        criterion = record["criterion"]
        yield Figure(name, "criterion", fit.deviance, criterion, CRITERION * criterion)
        above = max(criterion - fit.deviance, 0.0) + HALF_DIGIT
        yield Figure(name, f"status {fit.status}", float(fit.status == "interior"), 1.0, 0.0)
        for row in record["covariance"]:
            f = parameter(row["parameter"], row["group"], structure)
            ours, std_error, *_ = fit.delta(f)
            label = " ".join(filter(None, (row["parameter"], row["group"])))
            left = np.sqrt(above) * std_error
            yield Figure(name, label, ours, row["estimate"], half_digit(row["estimate"]), left)
        table = fit.coef("kenward-roger" if name.endswith("kr") else "satterthwaite")
        for (_, row), expected in zip(table.iterrows(), record["fixed"], strict=True):
            left = np.sqrt(above) * row["std_error"]
            for column in ("estimate", "std_error"):
                printed = expected[column]
                yield Figure(name, f"{expected['effect']} {column}", row[column], printed, half_digit(printed), left)
            df = Figure(name, f"{expected['effect']} df", row["df"], expected["df"], 0.5)
            if df.verdict != "same":
                errors = plain_errors(fit, fev, structure)
                df = df._replace(left=np.sqrt(above) * errors["df"])
            yield df


def comparisons(fev: pd.DataFrame, sas: dict[str, Any], df: str) -> Iterator[Figure]:
    """Yield Kenward and Roger's figures of the difference between the arms."""
    for name, record in sas.items():
        fit = lmm.fit("FEV1 ~ ARMCD", fev, residual=TAGS[name].format(""))
        row = fit.coef(df).loc["ARMCD[T.TRT]"]
        figures = [
            Figure(f"{df} {name}", column, row[column], expected, COMPARISON * abs(expected))
            for column, expected in record.items()
        ]
        if any(figure.verdict != "same" for figure in figures):
            errors = plain_errors(fit, fev, name)
            left = np.sqrt(0.5 * CONVERGED * fit.deviance)
            yield Figure(f"{df} {name}", "df by plain matrices", row["df"], errors["plain df"], 1e-6 * row["df"])
            own = errors["plain linear" if df.endswith("linear") else "plain std_error"]
            yield Figure(f"{df} {name}", "SE by plain matrices", row["std_error"], own, 1e-6 * own)
            figures = [figure._replace(left=left * errors[figure.name]) for figure in figures]
        yield from figures


def robust(fev: pd.DataFrame, sas: dict[str, Any]) -> Iterator[Figure]:
    """Yield the entries of robust covariances."""
    for name, expected in sas.items():
        structure, _, weighted = name.partition("_")
        weights = "WEIGHT" if weighted else None
        fit = lmm.fit("FEV1 ~ ARMCD", fev, residual=TAGS[structure].format(""), weights=weights)
        ours = fit.vcov("CR0", "USUBJID").to_numpy()
        for row, column in ((0, 0), (0, 1), (1, 1)):
            entry = expected[row][column]
            yield Figure(f"CR0 {name}", f"[{row}, {column}]", ours[row, column], entry, COMPARISON * abs(entry))


def covariance(structure: str, p: jax.Array, at: jax.Array) -> jax.Array:
    """Return the covariance of four visits at positions ``at`` (4, d) from SAS's parameters."""
    if structure in ("us", "un"):
        lower = jnp.zeros((4, 4)).at[np.tril_indices(4)].set(p)
        return lower + jnp.tril(lower, -1).T
    if structure.startswith("sp"):
        squares = jnp.sum((at[:, None] - at[None, :]) ** 2, axis=-1)
        distance = jnp.sqrt(jnp.where(squares > 0, squares, 1.0)) * (squares > 0)
        return p[1] * jnp.exp(-(distance / p[0]))
    sds, rho = jnp.sqrt(p[:4]), p[4:]
    if structure == "csh":
        corr = jnp.where(np.eye(4, dtype=bool), 1.0, rho[0])
    else:  # adh
        below = [[jnp.prod(rho[min(i, j) : max(i, j)]) for j in range(4)] for i in range(4)]
        corr = jnp.stack([jnp.stack(row) for row in below])
    return sds[:, None] * sds[None, :] * corr


def plain_errors(fit: lmm.Fit, fev: pd.DataFrame, structure: str) -> dict[str, float]:
    """Return standard errors of the figures of the last coefficient, from matrices of each subject's visits.

    Of ``estimate``, ``std_error`` and ``df`` by Kenward and Roger, with the observed information of SAS's parameters,
    as functions of these; ``plain ...`` are the figures themselves.
    """
    names = {"us": [f"UN({i},{j})" for i in range(1, 5) for j in range(1, i + 1)]}
    variances = [f"Var({k})" for k in range(1, 5)]
    names |= {"csh": [*variances, "CSH"], "adh": [*variances, "Rho(1)", "Rho(2)", "Rho(3)"]}
    words = names.get(structure, ["SP(EXP)", "Residual"])
    at = jnp.array([fit.delta(parameter(word, None, structure))["estimate"] for word in words])
    n_fixed = len(fit.fixef())
    x = np.zeros((fev["USUBJID"].nunique(), 4, n_fixed))
    y, present = np.zeros(x.shape[:2]), np.zeros(x.shape[:2], bool)
    cells = pd.factorize(fev["USUBJID"])[0], fev["VISITN"].to_numpy() - 1
    points = np.zeros((*y.shape, 2))
    points[cells] = fev[["VISITN", "VISITN2"]]
    seen = fev["FEV1"].notna().to_numpy()
    cells = cells[0][seen], cells[1][seen]
    x[cells], y[cells], present[cells] = fit.model_matrix(), fev["FEV1"][seen], True
    both = present[:, :, None] & present[:, None, :]

    def v_of(p: jax.Array) -> jax.Array:
        blocks = jax.vmap(lambda own: covariance(structure, p, own))(points)
        return jnp.where(both, blocks, jnp.eye(4))

    def normal(p: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        solved = jnp.linalg.solve(v_of(p), x)
        phi = jnp.linalg.inv(jnp.einsum("gia,gib->ab", x, solved))
        return solved, phi, phi @ jnp.einsum("gia,gi->a", solved, y)

    def criterion(p: jax.Array) -> jax.Array:
        _, phi, beta = normal(p)
        v, e = v_of(p), y - x @ beta
        value = jnp.linalg.slogdet(v)[1].sum() + jnp.einsum("gi,gi->", e, jnp.linalg.solve(v, e[..., None])[..., 0])
        return value - (fit.method == "REML") * jnp.linalg.slogdet(phi)[1]

    def figures(p: jax.Array) -> jax.Array:
        w = 2.0 * jnp.linalg.inv(jax.hessian(criterion)(p))
        solved, phi, beta = normal(p)
        first, second = jax.jacfwd(v_of)(p), jax.jacfwd(jax.jacfwd(v_of))(p)
        moved = jnp.einsum("gijk,gja->gika", first, solved)  # V_k V⁻¹X
        p_of = -jnp.einsum("gia,gikb->kab", solved, moved)
        inverse = jnp.linalg.inv(v_of(p))
        q_of = jnp.einsum("gika,gij,gjlb->klab", moved, inverse, moved)
        r_of = jnp.einsum("gia,gijkl,gjb->klab", solved, second, solved)
        bent = jnp.einsum("kab,bc,lcd->klad", p_of, phi, p_of)
        linear = phi + 2.0 * phi @ jnp.einsum("kl,klab->ab", w, q_of - bent) @ phi
        full = linear - 0.5 * phi @ jnp.einsum("kl,klab->ab", w, r_of) @ phi
        slope = jnp.einsum("ab,kbc,cd->kad", phi, p_of, phi)[:, -1, -1]
        df = 2.0 * phi[-1, -1] ** 2 / (slope @ w @ slope)
        return jnp.stack([beta[-1], jnp.sqrt(full[-1, -1]), df, jnp.sqrt(linear[-1, -1])])

    values, slopes = jax.jit(figures)(at), jax.jit(jax.jacfwd(figures))(at)
    spread = np.sqrt(np.einsum("fk,kl,fl->f", slopes, 2.0 * np.linalg.inv(jax.hessian(criterion)(at)), slopes))
    found = dict(zip(("estimate", "std_error", "df"), map(float, spread), strict=False))
    return found | {"plain std_error": float(values[1]), "plain df": float(values[2]), "plain linear": float(values[3])}


def timed(folder: Path) -> None:
    """Print the seconds of a model with 55 parameters of 1,000 subjects, in new processes."""
    command = [sys.executable, "-c", CHILD, str(folder / "bcva_data.csv.gz"), *TIMED]
    with tempfile.TemporaryDirectory() as programs:
        environment = os.environ | {"JAXLMM_CACHE_DIR": programs}
        for which in ("nothing compiled", "programs on disk"):
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            print(f"{' with '.join(TIMED)}, {which}: {done.stdout.strip()}", flush=True)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    folder = Path(sys.argv[1])
    if "--times" in sys.argv[2:]:
        timed(folder)
        return
    fev = pd.read_csv(folder / "fev_data.csv")
    fev["AVISIT"] = fev["AVISIT"].astype("category")
    sas = json.loads((folder / "sas_results.json").read_text())
    figures: list[Figure] = []
    parts = [
        fits(fev, sas["fits"]),
        comparisons(fev, sas["kr"], "kenward-roger"),
        comparisons(fev, sas["kr_linear"], "kenward-roger-linear"),
        robust(fev, sas["robust_vcov"]),
    ]
    for part in parts:
        for figure in part:
            figures.append(figure)
            ours, expected = figure.ours, figure.sas
            print(f"{figure.model:30} {figure.name:24} {ours:15.8g} {expected:15.8g} {ours - expected:10.2e} "
                  f"{figure.tolerance:9.1e}  {figure.verdict}", flush=True)  # fmt: skip
    counts = pd.Series([figure.verdict for figure in figures]).value_counts()
    print(f"{len(figures)} figures: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")
    sys.exit("DIFFERENT" in counts)


if __name__ == "__main__":
    main()
