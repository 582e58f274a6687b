"""Reference results from R: data with their schemas, the model in our words, and R's names."""

from __future__ import annotations

import functools
import gzip
import json
import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pandas as pd

import jaxlmm as lmm
from jaxlmm.formula.tokens.tokens import Token, join, tokenize
from jaxlmm.linalg import semidefinite_cholesky

HERE = Path(__file__).parent / "reference"


class Exchangeable(lmm.covariance.AbstractCovariance):
    """Equal variances and one correlation: what a user would write to get nlme's ``pdCompSymm``."""

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        q = coords.shape[0]
        return semidefinite_cholesky(theta[0] ** 2 * jnp.ones((q, q)) + theta[1] ** 2 * jnp.eye(q))


STRUCTURED: dict[str, dict[str, Any]] = {
    "tmb_ou_ml": {"formula": "y ~ time + ou(time | subject)"},
    "tmb_ou_reml": {"formula": "y ~ time + ou(time | subject)"},
    "bodyweight_corCAR1_ml": {"residual": "ou(Time | Rat)"},
    "oats_pdCompSymm_reml": {
        "formula": "yield ~ nitro + (0 + Variety | Block)",
        "covariance": {"Block": Exchangeable()},
    },
    "bodyweight_varPower_time_ml": {"dispersion": "~ log(Time)"},
    "orthodont_int_varIdent_ml": {"dispersion": "~ Sex"},
    "orthodont_int_varIdent_reml": {"dispersion": "~ Sex"},
    "orthodont_varIdent_reml": {"dispersion": "~ Sex"},
    "orthodont_varExp_reml": {"dispersion": "~ age"},
    "orthodont_int_corAR1_varIdent_reml": {"residual": "ou(age | Subject)", "dispersion": "~ Sex"},
    "tmb_disp_sex_reml": {"dispersion": "~ Sex"},
}
"""How models of other engines are said in our words."""

STRUCTURES: dict[str, dict[str, Any]] = {
    "bodyweight_corAR1_gls_ml": {"residual": "ar1(1 | Rat)"},
    "bodyweight_corExp_reml": {"residual": "exp(Time | Rat)"},
    "bodyweight_corGaus_gls_reml": {"residual": "gau(Time | Rat, nugget=True)"},
    "orthodont_gls_ar1_ml": {"residual": "ar1(1 | Subject)"},
    "orthodont_gls_ar1_reml": {"residual": "ar1(1 | Subject)"},
    "orthodont_gls_compsymm_reml": {"residual": "cs(age | Subject, hom=True)"},
    "orthodont_gls_un_reml": {"residual": "us(age | Subject)"},
    "orthodont_pdDiag_reml": {},
    "ovary_gls_ar1_reml": {"residual": "ar1(1 | Mare)"},
    "ovary_gls_arma11_ml": {"residual": "arma(1 | Mare, p=1, q=1)"},
    "ovary_gls_ma2_reml": {"residual": "arma(1 | Mare, p=0, q=2)"},
    "ovary_lme_ar1_reml": {"residual": "ar1(1 | Mare)"},
    "ovary_lme_int_ar1_ml": {"residual": "ar1(1 | Mare)"},
    "simar1_gls_csh_ml": {"residual": "cs(ftime | subject)"},
    "simrr_gls_un_ml": {"residual": "us(sp | site)"},
    "tmb_ar1_marginal_ortho_reml": {"formula": "distance ~ age * Sex", "residual": "ar1(fage | Subject)"},
    "tmb_ar1_ml": {},
    "tmb_ar1_reml": {},
    "tmb_cs_machines_reml": {},
    "tmb_cs_marginal_ml": {"formula": "y ~ x", "residual": "cs(ftime | subject)"},
    "tmb_diag_reml": {},
    "tmb_exp_reml": {"formula": "y ~ z + exp(x1 + x2 | 1)"},
    "tmb_gau_ml": {"formula": "y ~ z + gau(x1 + x2 | 1)"},
    "tmb_mat_ml": {"formula": "y ~ z + mat(x1 + x2 | 1)"},
    "tmb_rr1_reml": {},
    "tmb_rr2_ml": {},
    "tmb_toep_marginal_ortho_ml": {"formula": "distance ~ age * Sex", "residual": "toep(fage | Subject)"},
    "tmb_toep_reml": {"formula": "y ~ x", "residual": "toep(ftime | subject)"},
    "tmb_us_marginal_ortho_reml": {"formula": "distance ~ age * Sex", "residual": "us(fage | Subject)"},
    "tmb_us_ml": {},
    "tmb_us_reml": {},
    "tmb_us_rrdata_ml": {"formula": "y ~ 0 + sp", "residual": "us(sp | site)"},
}
"""The same of models with covariance structures (``covariance/test_structure_references.py``). In glmmTMB
``dispformula = ~ 0`` leaves a term alone with the rows: it is our structure of the residual. nlme's ``form = ~ 1 | g``
counts rows within a level, as our ``1`` does."""


@functools.cache
def records() -> dict[str, dict]:
    """All reference fits by name."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "fits").glob("*.json"))}
    for record in found.values():
        if "file" in record.get("ranef", {}):
            record["ranef"] = _modes_from(record["ranef"]["file"])
        if record["engine"] == "lme":
            _name_nested_groups(record)
    return found


def _modes_from(file: str) -> dict:
    """Modes kept in a table of their own, in the form of those kept in the record."""
    table = pd.read_csv(HERE / "fits" / file, dtype={"level": str})
    found = {}
    for group, rows in table.groupby("group", sort=False):
        columns = list(dict.fromkeys(rows["term"]))
        wide = {
            kind: rows.pivot_table(index="level", columns="term", values=kind)[columns]
            for kind in ("condmode", "condsd")
        }
        modes = {kind: part.to_numpy().tolist() for kind, part in wide.items()}
        found[group] = {"levels": list(wide["condmode"].index), "columns": columns, **modes}
    return found


def _name_nested_groups(record: dict) -> None:
    """nlme calls the factor b of a/b "b" and its levels "1/2"; lme4 and we call it a:b and its levels "1:2"."""
    outer: list[str] = []
    for group in list(record["ranef"]):
        modes = record["ranef"][group]
        if any("/" in level for level in modes["levels"]):
            name = ":".join([*outer, group])
            record["ranef"][name] = {
                **record["ranef"].pop(group),
                "levels": [v.replace("/", ":") for v in modes["levels"]],
            }
            for row in record["varcorr"]:
                row["group"] = name if row["group"] == group else row["group"]
        outer.append(group)


@functools.cache
def model_matrices() -> dict[str, dict]:
    """R's model matrices of ``model_matrices.csv``, by formula in our spelling."""
    text = gzip.decompress((HERE / "model_matrices.json.gz").read_bytes())
    return {record["formula"]: record for record in json.loads(text)["records"]}


@functools.cache
def dataset(file: str) -> pd.DataFrame:
    """A data set with the column types and level order of its schema."""
    schema = json.loads((HERE / "data" / f"{file.split('.csv')[0]}.schema.json").read_text())["columns"]
    text = [name for name, column in schema.items() if column["type"] in ("factor", "ordered", "string")]
    data = pd.read_csv(HERE / "data" / file, dtype=dict.fromkeys(text, str), na_values=["NA"], keep_default_na=False)
    for name, column in schema.items():
        if column["type"] in ("factor", "ordered"):
            data[name] = pd.Categorical(data[name], column["levels"], ordered=column["type"] == "ordered")
    return data


def model(name: str) -> tuple[str, pd.DataFrame, dict[str, Any]]:
    """The formula, data and options of a reference fit."""
    record = records()[name]
    data = dataset(record["dataset"])
    if record.get("subset"):
        data = data.query(record["subset"])
    options: dict[str, Any] = {"method": "REML" if record["reml"] else "ML"}
    if record.get("weights"):
        options["weights"] = record["weights"]
    if record.get("offset") and "offset(" not in record["formula"]:
        options["offset"] = record["offset"]
    known: dict[str, list[lmm.genetics.Relationship]] = {}
    for matrix in record.get("covariance_matrices") or []:
        if matrix["file"]:
            known.setdefault(matrix["group"], []).append(matrix["scale"] * known_matrix(matrix["file"]))
    if known:
        options["kinship"] = {group: several if several[1:] else several[0] for group, several in known.items()}
    structured = dict({**STRUCTURED, **STRUCTURES}.get(name, {}))
    formula = structured.pop("formula", None) or _with_contrasts(record, data)
    return formula, data, {**options, **structured}


@functools.cache
def fitted(name: str, **changes: Any) -> lmm.Fit:
    """Our fit of a reference model, made once per test run."""
    formula, data, options = model(name)
    return lmm.fit(formula, data, **{**options, **changes})


@functools.cache
def known_matrix(file: str) -> lmm.genetics.Relationship:
    """A matrix kept as pairs id1, id2, value; ids are text."""
    return lmm.genetics.relationship(pd.read_csv(HERE / "data" / file, dtype={"id1": str, "id2": str}))


def _with_contrasts(record: dict, data: pd.DataFrame) -> str:
    """The record's formula with factors coded as the record says, where that is not what their type implies."""
    words = []
    for token in tokenize(record["formula"]):
        coding = (record.get("contrasts") or {}).get(token.text)
        if coding:
            ordered = data[token.text].dtype == "category" and data[token.text].cat.ordered
            usual = "contr.poly" if ordered else "contr.treatment"
            if coding != usual:
                token = Token("name", f"C({token.text}, {coding})")
        words.append(token)
    left, right = join(words).split("~", 1)
    bars = re.sub(r"C\((\w+), [\w.]+\)", r"\1", right[right.index("(1 |") :]) if "(1 |" in right else ""
    return f"{left}~{right[: right.index('(1 |')] + bars if bars else right}"


def r_term(ours: str, data: pd.DataFrame) -> frozenset[str]:
    """R's name of a fixed-effect column, as the set of its factors (R and formulaic order them differently)."""
    parts = re.split(r":(?![^\[(]*[\])])", ours)
    return frozenset(_r_factor(part, data) for part in parts)


def _r_factor(part: str, data: pd.DataFrame) -> str:
    if part == "Intercept":
        return "(Intercept)"
    match = re.fullmatch(r"(.*)\[(?:T\.)?(.*)\]", part)
    if match is None:
        return part.replace(" ** ", "^").replace("'", '"')
    factor, level = match.groups()
    coded = re.fullmatch(r"C\((\w+), contr\.(\w+)\)", factor)
    if coded is None:
        return factor + level
    if coded[2] == "sum":
        return coded[1] + str(list(data[coded[1]].cat.categories).index(level.removeprefix("S.")) + 1)
    return coded[1] + level


def r_names(theirs: str) -> frozenset[str]:
    """R's own spelling of a column, as the set of its factors."""
    return frozenset(part.replace("'", '"') for part in re.split(r":(?![^(]*\))", theirs))


def r_group(name: str) -> frozenset[str]:
    """A grouping factor's name without the number that lme4 adds to a repeated one."""
    return frozenset(re.sub(r"\.\d+$", "", name).split(":"))
