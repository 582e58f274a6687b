"""Scans against GEMMA's printed results, within its bounds of the variance ratio.

GEMMA prints seven digits and stops at about 1e-5 in λ, which moves an effect by 1e-5 standard errors.
"""

import numpy as np
import pytest

import jaxlmm as lmm

from scans import BOUNDS, FOLDER, aligned, bxd, engine_scan, gemma, mouse, synthetic100

EFFECT = 1e-5
"""Of an effect, in standard errors or relative to itself where it is larger, and of its standard error."""

RATIO = 1e-4
"""Relative, of λ; where it is further off, ours has the lower criterion."""

ROUNDING = 1e-9
"""Of a criterion: near a bound it is flat to more digits than it has."""

P = 1e-4
"""Relative, of p-values."""


def criterion(traits, g, ratio):
    """REML, up to a constant, of one marker (n,) at a variance ratio, from sums over all eigenvalues."""
    basis = traits.rows.basis
    y, g = traits.rotated[:, 0], basis.rotation @ g
    weights = 1.0 / (1.0 + ratio * basis.values)
    a, b, squares = (weights * g) @ y, (weights * g) @ g, (weights * y) @ y
    return -np.sum(np.log(weights)) + np.log(b) + (basis.degrees - 1) * np.log(squares - a * a / b)


def check_wald(pairs, traits, G, table):
    beta, se, sign = pairs.estimate[0], pairs.std_error[0], np.sign(pairs.estimate[0] @ table["beta"])
    assert sign == 1.0
    assert np.max(np.abs(beta - table["beta"]) / np.maximum(np.abs(beta), se)) < EFFECT
    np.testing.assert_allclose(se, table["se"], rtol=EFFECT)
    np.testing.assert_allclose(10.0 ** -pairs.height("wald"), table["p_wald"], rtol=P)
    away = np.flatnonzero(np.abs(pairs.ratio / table["l_remle"].to_numpy() - 1.0) > RATIO)
    assert away.size < 0.005 * len(table)
    for place in away:
        ours, theirs = (criterion(traits, G[:, place], r) for r in (pairs.ratio[place], table["l_remle"].iloc[place]))
        assert ours <= theirs + ROUNDING


@pytest.mark.parametrize(
    ("formula", "files"),
    [
        ("~ 1 + (1 | id)", {"wald": "gemma_assoc.assoc.txt.gz", "lrt": "gemma_lrt.assoc.txt.gz"}),
        (
            "~ x + (1 | id)",
            {
                "wald": "gemma_covariate.assoc.txt.gz",
                "lrt": "gemma_covariate_lrt.assoc.txt.gz",
                "score": "gemma_covariate_score.assoc.txt.gz",
            },
        ),
    ],
    ids=["plain", "covariate"],
)
def test_synthetic100(formula, files):
    data, K, G, names = synthetic100()
    pairs, traits = engine_scan(data, formula, K, G, bounds=BOUNDS)
    check_wald(pairs, traits, G, aligned(f"synthetic100/{files['wald']}", names))
    for test, file in files.items():
        table = aligned(f"synthetic100/{file}", names)
        np.testing.assert_allclose(10.0 ** -pairs.height(test), table[f"p_{test}"], rtol=P)


def test_bxd_where_many_ratios_are_at_a_bound():
    data, K, genotypes = bxd()
    table = gemma("bxd/BXD.lmm4.assoc.txt.gz").dropna(subset="beta")  # of one marker GEMMA has no effect
    G = genotypes[table.index].to_numpy()
    pairs, traits = engine_scan(data, "~ a + b + (1 | id)", K, G, bounds=BOUNDS)
    check_wald(pairs, traits, G, table)
    for test in ("lrt", "score"):
        np.testing.assert_allclose(10.0 ** -pairs.height(test), table[f"p_{test}"], rtol=P)
    at_end = np.isclose(pairs.ratio, BOUNDS[0])
    assert 0.1 < at_end.mean() < 0.9


def test_mouse():
    data, K, G, names, _ = mouse()
    table = aligned("mouse/mouse.trait1.lmm4.assoc.txt.gz", names)
    assert len(table) == len(names) == 9100
    pairs, traits = engine_scan(data, "~ 1 + (1 | id)", K, G, bounds=BOUNDS)
    check_wald(pairs, traits, G, table)
    for test in ("lrt", "score"):
        np.testing.assert_allclose(10.0 ** -pairs.height(test), table[f"p_{test}"], rtol=P)
    share = float(traits.null.ratio[0]) * np.trace(K) / len(K)
    assert share / (1.0 + share) == pytest.approx(0.606719, abs=5e-7)  # GEMMA's pve


def test_mouse_from_the_file():
    """The verb, from a bed file: GEMMA's results without its bounds, since none is reached; REML alone.

    GEMMA judges the markers of its matrix in the analyzed mice. Centring it once more in these changes neither effects
    nor the ratio, only what ML says.
    """
    data, _, _, names, source = mouse()
    K = lmm.genetics.grm(source, judged_in=data["id"])
    hits = lmm.scan("y ~ (1 | id)", data, genotypes=source, kinship={"id": K})
    table = hits.tidy()
    assert table["status"].value_counts().to_dict() == {"interior": 9100, "monomorphic": 1018, "filtered_maf": 182}
    tested = table[table["status"] == "interior"].set_index("variant").loc[names]
    theirs = aligned("mouse/mouse.trait1.lmm4.assoc.txt.gz", names)
    away = np.abs(tested["estimate"] - theirs["beta"]) / np.maximum(np.abs(theirs["beta"]), theirs["se"])
    assert away.max() < EFFECT
    np.testing.assert_allclose(tested["std_error"], theirs["se"], rtol=EFFECT)
    np.testing.assert_allclose(tested["variance_ratio"], theirs["l_remle"], rtol=RATIO)
    np.testing.assert_allclose(tested["p_value"], theirs["p_wald"], rtol=P)
    assert (tested["effect_allele"] == theirs["allele1"]).all()
    np.testing.assert_allclose(tested["frequency"], theirs["af"], atol=6e-4)  # three digits
    assert FOLDER.name == "genetics"
