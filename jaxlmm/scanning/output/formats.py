"""A scan's table in the columns of other programs: GWAS-SSF, the format of the GWAS Catalog, and regenie's."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import pandas as pd

from jaxlmm._version import __version__
from jaxlmm.errors import OptionError

STYLES = ("tidy", "gwas-ssf", "regenie")

GWAS_SSF_COLUMNS = {
    "chromosome": "chromosome",
    "base_pair_location": "position",
    "effect_allele": "effect_allele",
    "other_allele": "other_allele",
    "beta": "estimate",
    "standard_error": "std_error",
    "effect_allele_frequency": "frequency",
    "neg_log_10_p_value": None,
    "variant_id": "variant_id",
    "rsid": "rsid",
    "n": "n",
}
"""The standard's columns in its order, each with its column of a scan's table, or of those that are made of it; None
stands for the p-value of the marker's own effect, whose column depends on the tests."""

CHROMOSOME_NUMBERS = {"X": 23, "XY": 23, "Y": 24, "M": 25, "MT": 25}
"""Chromosomes that GWAS-SSF has numbers for."""

RSID = r"rs[0-9]+"
"""Names of variants that dbSNP has given."""

METADATA_ENDING = "-meta.yaml"
"""What the name of a file's metadata has after that of the file."""

REGENIE_COLUMNS = {
    "CHROM": "chromosome",
    "GENPOS": "position",
    "ID": "variant",
    "ALLELE0": "other_allele",
    "ALLELE1": "effect_allele",
    "A1FREQ": "frequency",
    "N": "n",
}
"""Regenie's columns that identify the marker, each with its column of a scan's table; those of the test follow."""


def check_style(style: str, n_responses: int, tests: tuple[str, ...], interaction: str | None) -> None:
    """Raise if a style, one of :data:`STYLES`, has no columns for such a scan."""
    if style != "gwas-ssf":
        return
    if n_responses > 1:
        raise OptionError(
            f"style='gwas-ssf': expected one response, since the format has no column for it, got {n_responses}; scan "
            "one at a time, or write style='tidy'."
        )
    if interaction is not None and "wald" not in tests:
        raise OptionError(
            f"style='gwas-ssf': expected 'wald' among the tests of an interaction, since the format's p-value is that "
            f"of the marker's own effect, got {', '.join(tests)}; write style='tidy' or 'regenie'."
        )


def written(
    table: pd.DataFrame, style: str, tests: tuple[str, ...], interaction: str | None, several: bool
) -> pd.DataFrame:
    """Return a table in the columns of a style, one of :data:`STYLES`; ``several`` says that it has several responses.

    Markers without a test are left out of the formats of other programs, which know no status. Regenie's ``CHISQ`` is
    an F statistic times its numerator's degrees of freedom, in large samples a chi-square; ``LOG10P`` is of the p-value
    by the F distribution.
    """
    if style == "tidy":
        return table
    tested = table[table["std_error"].notna()]
    if style == "gwas-ssf":
        return _gwas_ssf(tested, tests, interaction)
    return _regenie(tested, tests, interaction, several)


def _suffix(test: str) -> str:
    """Return what the columns of a test end with in a scan's table."""
    return "" if test == "wald" else f"_{test}"


def _gwas_ssf(table: pd.DataFrame, tests: tuple[str, ...], interaction: str | None) -> pd.DataFrame:
    """Return the columns of GWAS-SSF, then those of further tests, which the standard does not name."""
    table = _with_names_of_ssf(table)
    first = tests[0] if interaction is None else "wald"  # the others are tests of both effects
    names = {name: column or f"neg_log10_p{_suffix(first)}" for name, column in GWAS_SSF_COLUMNS.items()}
    names |= {f"neg_log_10_p_value_{test}": f"neg_log10_p{_suffix(test)}" for test in tests if test != first}
    if interaction is not None:
        names |= {
            "beta_interaction": "estimate_interaction",
            "standard_error_interaction": "std_error_interaction",
            "neg_log_10_p_value_interaction": "neg_log10_p_interaction",
            "neg_log_10_p_value_joint": "neg_log10_p_joint",
        }
    return table[list(names.values())].set_axis(list(names), axis=1)


def _with_names_of_ssf(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with chromosomes as numbers, and variants by place and alleles and by the name that dbSNP gave.

    What has no number stays as it is; without known alleles there is no name by these.
    """
    plain = table["chromosome"].astype(str).str.replace("^chr", "", case=False, regex=True)
    numbered = plain.map(lambda name: str(CHROMOSOME_NUMBERS.get(name.upper(), name)))
    alleles = table["other_allele"].astype(str) + "_" + table["effect_allele"].astype(str)
    names, known = table["variant"].astype(str), alleles.str.fullmatch("[ACGTacgt]+_[ACGTacgt]+")
    by_place = numbered + "_" + table["position"].astype(str) + "_" + alleles
    return table.assign(
        chromosome=numbered, variant_id=by_place.where(known), rsid=names.where(names.str.fullmatch(RSID))
    )


def ends_if_sorted(table: pd.DataFrame) -> list[tuple[float, int]]:
    """Return the places of the first and the last row of GWAS-SSF, in falling order if rows are not sorted."""
    chromosome = pd.to_numeric(table["chromosome"], errors="coerce").fillna(-1.0)
    keys = list(zip(chromosome, table["base_pair_location"], strict=True))
    return [keys[0], keys[-1]] if keys == sorted(keys) else [(2.0, 0), (1.0, 0)]


def metadata(path: Path, response: str, n: int, is_sorted: bool) -> str:
    """Return the metadata of a file of GWAS-SSF as YAML; what a scan does not know is not reported (``NR``)."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    fields = {
        "date_metadata_last_modified": datetime.date.today().isoformat(), "trait_description": [response],
        "genome_assembly": "NR", "coordinate_system": "1-based", "samples": [{"sample_size": n}],
        "data_file_name": path.name, "file_type": "GWAS-SSF v1.0", "data_file_md5sum": digest,
        "analysis_software": f"jaxlmm {__version__}", "is_harmonised": False, "is_sorted": is_sorted,
    }  # fmt: skip
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items())


def _regenie(table: pd.DataFrame, tests: tuple[str, ...], interaction: str | None, several: bool) -> pd.DataFrame:
    """Return regenie's columns, with a row for each test of a marker; ``EXTRA`` is the response, of several."""
    nothing = pd.Series(float("nan"), index=table.index)
    rows: list[tuple[str, pd.Series, pd.Series, pd.Series, pd.Series]] = []

    def add(word: str, statistic: pd.Series, suffix: str, effect: str | None) -> None:
        estimates = (nothing, nothing) if effect is None else (table[f"estimate{effect}"], table[f"std_error{effect}"])
        rows.append((word, *estimates, statistic, table[f"neg_log10_p{suffix}"]))

    if interaction is None:
        for number, test in enumerate(tests):
            suffix = _suffix(test)
            add(f"ADD-{test.upper()}" if number else "ADD", table[f"statistic{suffix}"], suffix, "")
    else:
        if "wald" in tests:
            # CHISQ is F times its degrees of freedom, 2 for both effects; lrt is a chi-square already.
            add("ADD-INT_SNP", table["statistic"], "", "")
        add(f"ADD-INT_SNPx{interaction}", table["statistic_interaction"], "_interaction", "_interaction")
        add("ADD-INT_2DF", 2.0 * table["statistic_joint"], "_joint", None)
        for test in tests:
            if test != "wald":
                times = 1.0 if test == "lrt" else 2.0
                add(f"ADD-INT_2DF-{test.upper()}", times * table[f"statistic_{test}"], f"_{test}", None)
    marker = table[list(REGENIE_COLUMNS.values())].set_axis(list(REGENIE_COLUMNS), axis=1)
    extra = table["response"] if several else pd.Series("NA", index=table.index)
    parts = [
        marker.assign(TEST=word, BETA=beta, SE=error, CHISQ=statistic, LOG10P=height, EXTRA=extra)
        for word, beta, error, statistic, height in rows
    ]
    return pd.concat(parts).sort_index(kind="stable") if parts[1:] else parts[0]
