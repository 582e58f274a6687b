"""Structures across the levels of a group: against the tag, explicit matrices, and optima of SciPy.

Tolerances: the deviance agrees with the one of explicit matrices to 1e-8, which is rounding; optima of SciPy are good
to 1e-6 in the deviance. Conditional means from explicit matrices agree to 1e-6 of a standard deviation.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import jaxlmm as lmm
from jaxlmm.covariance import OU, AbstractCovariance, Custom, Exponential
from jaxlmm.linalg import semidefinite_cholesky

ROUNDING = 1e-8
OPTIMUM = 1e-6
MEAN = 1e-6

SITES, ELSEWHERE = 18, 3


def make():
    """Places of sites, of which the last have no row, in an order of their own; and rows with repeated sites."""
    rng = np.random.default_rng(2)
    labels = [f"s{number:02d}" for number in range(SITES + ELSEWHERE)]
    places = pd.DataFrame(rng.uniform(0, 6, size=(len(labels), 2)), index=labels, columns=["east", "north"])
    distance = np.linalg.norm(places.to_numpy()[:, None] - places.to_numpy()[None], axis=-1)
    effect = np.linalg.cholesky(np.exp(-distance / 2)) @ rng.normal(size=(len(labels), 2)) * 2.0
    site = np.concatenate([np.arange(SITES), rng.integers(0, SITES, 72)])
    data = pd.DataFrame({"site": np.array(labels)[site], "x": rng.normal(size=90), "w": rng.uniform(0.5, 2, 90)})
    data["east"] = places["east"].to_numpy()[site]
    data["y"] = 1 + data["x"] + effect[site, 0] + rng.normal(size=90)
    data["z"] = 1 + effect[site, 0] + data["x"] * effect[site, 1] + rng.normal(size=90)
    return data, places.sample(frac=1, random_state=3)


DATA, PLACES = make()
LINE = PLACES[["east"]]


def correlation(theta, coords):
    """An exponential kernel in the plane; ``theta`` is (relative sd, log range)."""
    square = jnp.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return jnp.exp(-distance * jnp.exp(-theta[1]))


KERNEL = Custom(lambda theta, coords: theta[0] ** 2 * correlation(theta, coords), 2, coords=PLACES)


class Plane(AbstractCovariance):
    """The same kernel with names of its own, and a field beside ``coords``."""

    unit: float = 1.0

    def n_params(self, q):
        return 2

    def cholesky(self, theta, coords):
        return theta[0] * semidefinite_cholesky(correlation(theta, coords / self.unit))

    def param_names(self, columns):
        return ("sd", "range")

    def report(self, theta, factor, sigma):
        return jnp.stack([sigma * jnp.abs(theta[0]), self.unit * jnp.exp(theta[1])])


def fit(formula="y ~ x + (1 | site)", structure=None, **options):
    return lmm.fit(formula, DATA, kinship={"site": structure}, **options)


@pytest.fixture(scope="module")
def line():
    return fit(structure=OU(coords=LINE))


@pytest.fixture(scope="module")
def plane():
    return fit(structure=KERNEL)


def deviance(v, y="y", reml=True):
    """Minus twice the (restricted) log-likelihood at a covariance of the rows, with x as fixed effect."""
    x, y = np.column_stack([np.ones(len(DATA)), DATA["x"]]), DATA[y].to_numpy()
    solved = np.linalg.solve(v, x)
    information = x.T @ solved
    rest = y - x @ np.linalg.solve(information, solved.T @ y)
    total = np.linalg.slogdet(v)[1] + rest @ np.linalg.solve(v, rest)
    return total + np.linalg.slogdet(information)[1] + (len(y) - 2) * np.log(2 * np.pi)


def distances(places, one, two):
    a, b = (places.loc[list(labels)].to_numpy() for labels in (one, two))
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def test_it_is_the_tag_where_there_is_one(line):
    """``ou(east | 1)`` is the same model, its positions those of the sites."""
    tag = lmm.fit("y ~ x + ou(east | 1)", DATA)
    assert line.deviance == pytest.approx(tag.deviance, abs=ROUNDING)
    assert list(line.variance().index) == ["site: sd", "site: rho", "Residual: sd"]
    for column in ("estimate", "std_error"):
        assert np.allclose(line.variance()[column], tag.variance()[column], rtol=1e-5)
    pd.testing.assert_frame_equal(line.coef(), tag.coef(), rtol=1e-6)
    assert np.allclose(line.fitted(), tag.fitted(), atol=1e-6)
    assert line.ratio("site")["estimate"] == pytest.approx(tag.ratio("1")["estimate"], abs=1e-6)
    assert line.n_groups == {"site": SITES}
    assert "Coordinates across: site" in str(line.summary())


def test_a_kernel_of_ones_own_against_an_optimum_by_scipy(plane):
    distance = distances(PLACES, DATA["site"], DATA["site"])

    def f(psi):
        sd, reach, sigma = np.exp(psi)
        return deviance(sd**2 * np.exp(-distance / reach) + sigma**2 * np.eye(len(DATA)))

    found = minimize(f, np.zeros(3), method="BFGS", options={"gtol": 1e-7})
    assert plane.deviance == pytest.approx(found.fun, abs=OPTIMUM)
    table = plane.variance()
    assert list(table.index) == ["site: sd", "site: theta[2]", "Residual: sd"]
    sd, reach, sigma = np.exp(found.x)
    assert np.allclose(table["estimate"], [sd, np.log(reach), sigma], rtol=1e-3)
    assert (table["std_error"] > 0).all()
    assert plane.status == "interior"


def test_ids_without_a_row_have_the_conditional_mean(plane):
    sd, log_range, sigma = plane.variance()["estimate"]
    rows, new = DATA["site"], plane.estimates.labels.groups["site"].unobserved
    assert set(new) == {f"s{number:02d}" for number in range(SITES, SITES + ELSEWHERE)}
    v = sd**2 * np.exp(-distances(PLACES, rows, rows) / np.exp(log_range)) + sigma**2 * np.eye(len(DATA))
    everybody = list(plane.ranef("site").index)
    cross = sd**2 * np.exp(-distances(PLACES, everybody, rows) / np.exp(log_range))
    rest = (DATA["y"] - plane.fitted("marginal")).to_numpy()
    mean = cross @ np.linalg.solve(v, rest)
    spread = np.sqrt(sd**2 - np.sum(cross * np.linalg.solve(v, cross.T).T, axis=1))
    assert np.allclose(plane.ranef("site")["Intercept"], mean, atol=MEAN)
    assert np.allclose(plane.ranef_sd("site")["Intercept"], spread, atol=MEAN)
    predicted = plane.predict({"site": everybody, "x": np.zeros(len(everybody))})["estimate"]
    assert np.allclose(predicted, plane.fixef()["Intercept"] + mean, atol=MEAN)
    assert np.allclose(plane.predict(DATA)["estimate"], plane.fitted())
    assert np.allclose(plane.marginal_cov(), v, atol=1e-6)
    z = plane.random_matrix("site")
    part = z.matrix @ plane.ranef("site").to_numpy().ravel()
    assert np.allclose(plane.fitted("marginal") + part, plane.fitted())


def test_many_ids_without_a_row_are_taken_in_parts(plane, monkeypatch):
    from jaxlmm.results.levels import unobserved as relatives

    monkeypatch.setattr(relatives, "IDS_PER_MATRIX", 2)
    again = fit(structure=KERNEL)
    for accessor in ("ranef", "ranef_sd"):
        pd.testing.assert_frame_equal(getattr(again, accessor)("site"), getattr(plane, accessor)("site"), rtol=1e-6)


def test_a_class_of_ones_own_with_names_of_its_own(plane, tmp_path):
    own = fit(structure=Plane(unit=2.0, coords=PLACES))
    assert own.deviance == pytest.approx(plane.deviance, abs=OPTIMUM)
    assert list(own.variance().index) == ["site: sd", "site: range", "Residual: sd"]
    reach = np.exp(plane.variance()["estimate"]["site: theta[2]"])
    assert own.variance()["estimate"]["site: range"] == pytest.approx(reach, rel=1e-3)
    own.save(tmp_path / "own.json")
    again = lmm.load(tmp_path / "own.json")
    assert str(again.summary()) == str(own.summary())
    asked = {"site": ["s20", "s00"], "x": [0.0, 1.0]}
    assert np.array_equal(again.predict(asked)["estimate"], own.predict(asked)["estimate"])


def test_a_slope_beside_the_intercept_each_with_its_process():
    """Uncorrelated columns are terms of their own, here with rows that have weights."""
    both = fit("z ~ x + (x || site)", OU(coords=LINE), weights="w")
    names = ["site: sd", "site: rho", "site: sd(x)", "site: rho(x)", "Residual: sd"]
    assert list(both.variance().index) == names
    sd, rho, slope_sd, slope_rho, sigma = both.variance()["estimate"]
    gap, x = distances(LINE, DATA["site"], DATA["site"]), DATA["x"].to_numpy()
    v = sd**2 * rho**gap + slope_sd**2 * slope_rho**gap * np.outer(x, x) + sigma**2 * np.diag(1 / DATA["w"])
    assert both.deviance == pytest.approx(deviance(v, "z"), abs=ROUNDING)
    assert list(both.ranef("site").columns) == ["Intercept", "x"]
    assert np.allclose(both.predict(DATA)["estimate"], both.fitted())
    intercepts = both.predict(re_form="~ (1 | site)")["estimate"]
    assert np.allclose(both.predict(DATA, re_form="~ (1 | site)")["estimate"], intercepts)
    assert not np.allclose(intercepts, both.fitted())


def test_beside_a_known_matrix_and_a_residual_process():
    labels = list(PLACES.index)
    block = np.arange(len(labels)) // 3
    known = pd.DataFrame(np.eye(len(labels)) / 2 + (block[:, None] == block) / 2, index=labels, columns=labels)
    data = DATA.assign(t=np.arange(90.0))
    options = {"kinship": {"site": {"near": OU(coords=LINE), "kin": known}}, "residual": "ou(t | site)"}
    design = lmm.design("~ x + (1 | site)", data, **options)
    sd, rate, kin, decay = 0.8, -1.0, 0.6, -0.5
    rows = DATA["site"]
    same = rows.to_numpy()[:, None] == rows.to_numpy()
    gap = np.abs(np.subtract.outer(data["t"].to_numpy(), data["t"].to_numpy()))
    h = sd**2 * np.exp(-np.exp(rate) * distances(LINE, rows, rows)) + kin**2 * known.loc[rows, rows].to_numpy()
    h = h + np.where(same, np.exp(-np.exp(decay) * gap), 0.0)
    x, y = np.column_stack([np.ones(len(DATA)), DATA["x"]]), DATA["y"].to_numpy()
    rest = y - x @ np.linalg.solve(x.T @ np.linalg.solve(h, x), x.T @ np.linalg.solve(h, y))
    sigma = rest @ np.linalg.solve(h, rest) / (len(y) - 2)
    with jax.enable_x64(True):
        found = lmm.deviance(design)(jnp.array([sd, rate, kin, decay]), jnp.asarray(y))
    assert found == pytest.approx(deviance(sigma * h), abs=ROUNDING)


def test_parameters_can_be_fixed_and_started(line):
    at = line.variance()["estimate"]
    fixed = fit(structure=OU(coords=LINE), fixed={"site: rho": float(at["site: rho"])})
    assert fixed.deviance == pytest.approx(line.deviance, abs=OPTIMUM)
    assert np.isnan(fixed.variance()["std_error"]["site: rho"])
    started = fit(structure=OU(coords=LINE), start={"site: sd": 1.0, "site: rho": 0.2})
    assert started.deviance == pytest.approx(line.deviance, abs=OPTIMUM)


def test_a_standard_deviation_is_fixed_beside_a_kernel_with_a_scale():
    """Also the kernel's own, which is the scale; without a parameter that is nothing else it is refused."""
    for name, value in (("Residual: sd", 1.1), ("site: sd", 0.8)):
        found, named = (fit(structure=own, fixed={name: value}) for own in (KERNEL, Exponential(coords=PLACES)))
        assert found.variance()["estimate"][name] == pytest.approx(value)
        assert found.deviance == pytest.approx(named.deviance, abs=1e-6)
    shifted = Custom(lambda theta, coords: jnp.exp(theta[0]) * correlation(theta, coords), 2, coords=PLACES)
    with pytest.raises(lmm.OptionError, match=r"fixed: .* scale alone; let theta\[0\]"):
        fit(structure=shifted, fixed={"Residual: sd": 1.0})


def test_a_vanishing_field_is_a_boundary():
    nothing = DATA.assign(y=DATA["x"] + np.random.default_rng(0).normal(size=90))
    for structure in (OU(coords=LINE), KERNEL):
        found = lmm.fit("y ~ x + (1 | site)", nothing, kinship={"site": structure})
        assert (found.variance()["estimate"]["site: sd"], found.status) == (0.0, "boundary")
        assert found.certificate.multipliers.iloc[0] > 0.0


def test_many_responses_are_single_fits(line):
    responses = pd.DataFrame({"a": DATA["y"], "b": DATA["y"].where(DATA.index % 9 != 0), "c": DATA["z"]})
    many = lmm.fit_many("~ x + (1 | site)", DATA, responses=responses, kinship={"site": OU(coords=LINE)})
    assert many.glance()["deviance"].iloc[0] == pytest.approx(line.deviance, abs=OPTIMUM)
    modes = many.ranef("site")["a"].to_numpy()
    assert np.allclose(modes, line.ranef("site")["Intercept"].iloc[:SITES], atol=1e-4)
    assert np.allclose(many.fitted()["a"], line.fitted(), atol=1e-4)
    assert many["b"].deviance == pytest.approx(many.glance()["deviance"].iloc[1], abs=OPTIMUM)


def test_numbers_as_labels_and_one_coordinate_as_a_series(line):
    numbers = DATA["site"].str[1:].astype(float)
    series = LINE["east"].rename(lambda label: str(int(label[1:])))
    again = lmm.fit("y ~ x + (1 | site)", DATA.assign(site=numbers), kinship={"site": OU(coords=series)})
    assert again.deviance == pytest.approx(line.deviance, abs=ROUNDING)
    index = again.ranef("site").index
    assert index.dtype == float
    assert sorted(index) == list(range(SITES + ELSEWHERE))


BAD = {
    "a class": (OU, lmm.KinshipError, "expected an object, got the class OU"),
    "no coords": (OU(), lmm.KinshipError, "expected coords by label with OU, got none"),
    "an array": (OU(coords=LINE.to_numpy()), lmm.KinshipError, "expected coords by label with OU, got ndarray"),
    "a missing level": (OU(coords=LINE.drop("s04")), lmm.KinshipError, "1 of 18 .* not in the frame of coords.* 's04'"),
    "a label twice": (OU(coords=pd.concat([LINE, LINE.iloc[:1]])), lmm.KinshipError, "occurs more than once"),
    "not finite": (OU(coords=LINE.replace(LINE.iloc[2, 0], np.inf)), lmm.KinshipError, r"finite coords, got \[inf\]"),
    "text": (OU(coords=LINE.assign(k="a")), lmm.KinshipError, "columns of numbers, got 'k'"),
    "no column": (OU(coords=LINE[[]]), lmm.KinshipError, "columns of numbers, got no column"),
    "two coordinates": (OU(coords=PLACES), lmm.OptionError, "OU: expected one coordinate, got 2"),
    "a wrong shape": (
        Custom(lambda theta, coords: theta[0] * jnp.eye(2), 1, coords=LINE), lmm.OptionError,
        "kinship of 'site': expected a finite factor of shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_what_is_no_structure_across_levels(case):
    structure, error, message = BAD[case]
    with pytest.raises(error, match=message):
        lmm.design("~ x + (1 | site)", DATA, kinship={"site": structure})


@pytest.mark.parametrize("formula", ["~ (x | site)", "~ ou(east | site)"])
def test_it_acts_across_levels_for_one_column(formula):
    with pytest.raises(lmm.KinshipError, match="OU acts across the levels for one column"):
        lmm.design(formula, DATA, kinship={"site": OU(coords=LINE)})


def test_coords_are_not_for_columns():
    with pytest.raises(lmm.OptionError, match=r"write kinship=\{'site': ...\}"):
        lmm.design("~ (1 | site)", DATA, covariance={"site": OU(coords=LINE)})


@pytest.mark.parametrize("structure", [OU(coords=PLACES[["east"]]), Plane(coords=PLACES), KERNEL])
def test_no_residual_is_no_optimum(structure):
    """As with a known matrix: copies of a site would determine the structure. Other sites then have no effects."""
    of_sites = pd.Series(np.random.default_rng(0).normal(size=len(PLACES)), PLACES.index)
    flat = DATA.assign(y=DATA["site"].map(of_sites).to_numpy())
    found = lmm.fit("y ~ x + (1 | site)", flat, kinship={"site": structure})
    assert found.status == "not_converged"
    effects = found.ranef("site")
    assert effects.loc[DATA["site"].unique()].notna().all(axis=None)
    assert effects.drop(index=DATA["site"].unique()).isna().all(axis=None)
