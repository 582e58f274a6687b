"""A scan's table in the columns of other programs."""

from __future__ import annotations

import pandas as pd

STYLES = ("tidy", "gwas-ssf", "regenie")

GWAS_SSF = {
    "chromosome": "chromosome",
    "base_pair_location": "position",
    "effect_allele": "effect_allele",
    "other_allele": "other_allele",
    "beta": "estimate",
    "standard_error": "std_error",
    "effect_allele_frequency": "frequency",
    "neg_log_10_p_value": "neg_log10_p",
    "variant_id": "variant",
    "n": "n",
}
REGENIE = {
    "CHROM": "chromosome",
    "GENPOS": "position",
    "ID": "variant",
    "ALLELE0": "other_allele",
    "ALLELE1": "effect_allele",
    "A1FREQ": "frequency",
    "N": "n",
    "BETA": "estimate",
    "SE": "std_error",
    "CHISQ": "statistic",
    "LOG10P": "neg_log10_p",
}


def written(table: pd.DataFrame, style: str) -> pd.DataFrame:
    """Return the table in the columns of a style, one of :data:`STYLES`.

    Markers without a test are left out of the formats of other programs, which know no status. Regenie's ``CHISQ`` is
    the F statistic, to which it is equal in large samples; ``LOG10P`` has the F distribution's p-value.
    """
    if style == "tidy":
        return table
    names = GWAS_SSF if style == "gwas-ssf" else REGENIE
    first = {column: str(column).replace("_lrt", "").replace("_score", "") for column in table}
    if "statistic" not in table:
        table = table.rename(columns=first).loc[:, lambda frame: ~frame.columns.duplicated()]
    tested = table[table["neg_log10_p"].notna()]
    found = tested[list(names.values())].set_axis(list(names), axis=1)
    if style == "regenie":
        found.insert(7, "TEST", "ADD")
        found["EXTRA"] = tested["response"].to_numpy() if len(set(tested["response"])) > 1 else "NA"
    return found
