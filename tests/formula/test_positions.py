"""Positions left of a bar: levels of a factor, whole steps, coordinates, the order of the rows; and options of tags."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.model import Layout
from jaxlmm.solvers.contract.plain import Plain

RHO = 0.6
ANGLE = np.arccos(RHO)


def visits(seed=0):
    """Four ids with three or four of five visits; the fourth visit is nobody's."""
    frame = pd.DataFrame({"id": np.repeat(list("abcd"), 4), "t": [1, 2, 3, 5] * 4})
    frame = frame[~((frame["id"] == "b") & (frame["t"] == 2))].reset_index(drop=True)
    frame["visit"] = pd.Categorical([f"V{t}" for t in frame["t"]], categories=[f"V{k}" for k in range(1, 6)])
    frame["arm"] = frame["id"].map({"a": "x", "b": "x", "c": "y", "d": "y"})
    rng = np.random.default_rng(seed)
    return frame.assign(y=rng.normal(size=len(frame)), u=rng.normal(size=len(frame)), v=rng.normal(size=len(frame)))


def covariance(frame, formula="y ~ 1", theta=(), **options):
    """H, the covariance over sigma², of the rows of a model at theta."""
    design = lmm.design(formula, frame, **options)
    with jax.enable_x64(True):
        return Plain.of(design, Layout.of(design).factors(jnp.asarray(theta, float))).covariance


def steps(frame, column="t"):
    within = frame["id"].to_numpy()[:, None] == frame["id"].to_numpy()[None, :]
    return np.where(within, np.abs(np.subtract.outer(frame[column].to_numpy(), frame[column].to_numpy())), np.inf)


@pytest.mark.parametrize("left", ["visit", "t", "0 + visit", "t + 7"])
@pytest.mark.parametrize("tag", ["ar1", "toep"])
def test_levels_and_gaps_that_nobody_has_count(left, tag):
    frame, more = visits(), {"ar1": [ANGLE], "toep": [*np.arccos([RHO, 0.0, 0.0, 0.0])]}[tag]
    hom = ", hom=True" if tag == "toep" else ""
    found = covariance(frame, residual=f"{tag}({left} | id{hom})", theta=more)
    np.testing.assert_allclose(found, RHO ** steps(frame), atol=1e-12)


def test_a_random_term_and_a_residual_share_one_implementation():
    frame = visits()
    found = covariance(frame, "y ~ 1 + ar1(visit | id)", theta=[2.0, ANGLE])
    np.testing.assert_allclose(found, np.eye(len(frame)) + 4.0 * RHO ** steps(frame), atol=1e-12)


@pytest.mark.parametrize(
    "residual", ["ar1(visit | id)", "us(visit | id)", "exp(u + v | id)", "ou(u | id)", "ad(t | id)"]
)
def test_order_of_rows_does_not_matter(residual):
    frame = visits()
    order = np.random.default_rng(3).permutation(len(frame))
    design = lmm.design("y ~ 1", frame, residual=residual)
    theta = Layout.of(design).start() + 0.1
    one = covariance(frame, residual=residual, theta=theta)
    other = covariance(frame.iloc[order], residual=residual, theta=theta)
    np.testing.assert_allclose(other, one[np.ix_(order, order)], atol=1e-12)


def test_one_is_the_order_of_the_rows_within_a_level():
    frame = visits().sample(frac=1.0, random_state=1)
    frame["rank"] = frame.groupby("id").cumcount()
    found = covariance(frame, residual="ar1(1 | id)", theta=[ANGLE])
    np.testing.assert_allclose(found, RHO ** steps(frame, "rank"), atol=1e-12)


@pytest.mark.parametrize("tag", ["ar1", "toep", "arma"])
def test_uneven_steps_are_an_error_that_names_ou(tag):
    frame = visits().assign(t=lambda f: f["t"] * 1.3)
    with pytest.raises(lmm.OptionError, match=r"whole steps apart.*ou\(time"):
        lmm.design("y ~ 1", frame, residual=f"{tag}(t | id)")


@pytest.mark.parametrize("tag", ["ar1", "us", "exp"])
def test_a_position_twice_is_an_error_among_residuals_alone(tag):
    frame = visits()
    twice = pd.concat([frame, frame.iloc[:1]], ignore_index=True)
    with pytest.raises(lmm.DataError, match="1 repeated position"):
        lmm.design("y ~ 1", twice, residual=f"{tag}(t | id)")
    if tag != "us":
        lmm.design(f"y ~ 1 + {tag}(t | id)", twice)


def test_text_is_a_position_where_order_means_nothing():
    frame = visits().assign(visit=lambda f: f["visit"].astype(str))
    design = lmm.fit("y ~ 1", frame, residual="diag(visit | id)").variance()
    assert list(design.index) == [f"Residual: sd(V{k})" for k in (1, 2, 3, 5)]
    with pytest.raises(lmm.DataError, match="as numbers or as a factor"):
        lmm.design("y ~ 1", frame, residual="ar1(visit | id)")


def test_coordinates_in_two_dimensions():
    frame = visits()
    distance = np.hypot(*(np.subtract.outer(frame[c].to_numpy(), frame[c].to_numpy()) for c in "uv"))
    found = covariance(frame, residual="exp(u + v | 1)", theta=[np.log(0.7)])
    np.testing.assert_allclose(found, np.exp(-distance / 0.7), atol=1e-12)


def test_by_gives_each_level_parameters_of_its_own():
    frame = visits()
    found = covariance(frame, residual="ar1(visit | id, by=arm)", theta=[ANGLE, 2.0, np.arccos(0.2)])
    x = (frame["arm"] == "x").to_numpy()
    expected = np.where(x[:, None] & x[None, :], RHO ** steps(frame), 4.0 * 0.2 ** steps(frame))
    np.testing.assert_allclose(found, np.where(np.isinf(steps(frame)), 0.0, expected), atol=1e-12)
    with pytest.raises(lmm.DataError, match="'u' to be the same in all rows"):
        lmm.design("y ~ 1", frame, residual="ar1(visit | id, by=u)")


def test_by_within_columns_is_a_term_for_each_level():
    frame = visits()
    found = covariance(frame, "y ~ 1 + us(1 + t | id, by=arm)", theta=[1.0, 0.0, 0.5, 2.0, 0.0, 0.3])
    t, same = frame["t"].to_numpy(), np.isfinite(steps(frame))
    x = (frame["arm"] == "x").to_numpy()
    expected = np.where(x[:, None] & x[None, :], 1.0 + 0.25 * np.outer(t, t), 4.0 + 0.09 * np.outer(t, t))
    np.testing.assert_allclose(found, np.eye(len(frame)) + np.where(same, expected, 0.0), atol=1e-12)


def test_a_users_class_stands_among_residuals_with_its_positions():
    class Decay(lmm.covariance.AbstractCovariance):
        def n_params(self, q):
            return 2

        def covariance(self, theta, coords):
            return theta[0] ** 2 * jnp.exp(-jnp.exp(theta[1]) * jnp.abs(coords - coords.T))

    frame = visits()
    for residual in (Decay.along("t | id"), Decay().along("t | id")):
        found = covariance(frame, residual=residual, theta=[0.1])
        np.testing.assert_allclose(found, np.exp(-np.exp(0.1) * steps(frame)), atol=1e-12)


def test_a_call_is_a_structure_if_a_bar_stands_in_it():
    frame = visits()
    fit = lmm.fit("y ~ exp(u) + exp(u | id)", frame)
    assert list(fit.fixef().index) == ["Intercept", "exp(u)"]
    assert list(fit.variance().index) == ["id: sd", "id: range", "Residual: sd"]


@pytest.mark.parametrize(
    ("formula", "residual", "message"),
    [
        ("y ~ rr(0 + visit | id, d=two)", None, "whole number for d="),
        ("y ~ cs(0 + visit | id, hom=maybe)", None, "hom=True or hom=False"),
        ("y ~ cs(0 + visit | id, d=2)", None, "no option 'd'.*hom, by"),
        ("y ~ ar1(visit | id, hom=True, hom=True)", None, "stands twice"),
        ("y ~ ar1(visit | id, hom)", None, "name=value"),
        ("y ~ arma(t | id)", None, "random structure"),
        ("y ~ 1", "rr(visit | id)", "residual structure"),
        ("y ~ 1", "nothing(visit | id)", "unknown structure"),
        ("y ~ 1", "us(u | id)", "positions that levels share"),
    ],
)
def test_errors_say_what_is_expected(formula, residual, message):
    with pytest.raises(lmm.JaxlmmError, match=message):
        lmm.design(formula, visits(), residual=residual)


class Damped(lmm.covariance.AbstractCovariance):
    """An exponential decay times a cosine."""

    period: float = 6.0

    def n_params(self, q):
        return 2

    def covariance(self, theta, coords):
        gap = jnp.abs(coords - coords.T)
        return theta[0] ** 2 * jnp.exp(-gap * jnp.exp(theta[1])) * jnp.cos(2 * jnp.pi * gap / self.period)


class WrongScale(Damped):
    def covariance(self, theta, coords):
        return super().covariance(theta[::-1], coords)


def test_the_residual_of_a_design_is_replaced():
    frame = visits()
    changed = lmm.design("y ~ 1", frame, residual=Damped().along("t | id")).replace(
        residual=Damped(period=20.0).along("t | id")
    )
    with jax.enable_x64(True):
        found = Plain.of(changed, Layout.of(changed).factors(jnp.asarray([0.1]))).covariance
    gap = steps(frame)
    expected = np.exp(-gap * np.exp(0.1)) * np.cos(2 * np.pi * np.where(np.isinf(gap), 0.0, gap) / 20.0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_first_parameter_of_a_residual_structure_is_its_scale():
    with pytest.raises(lmm.OptionError, match=r"theta\[0\] of WrongScale to be the standard deviation"):
        lmm.design("y ~ 1", visits(), residual=WrongScale.along("t | id"))


class Plane(lmm.covariance.AbstractCovariance):
    """A kernel of the distance in the plane."""

    def n_params(self, q):
        return 2

    def covariance(self, theta, coords):
        squares = jnp.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
        return theta[0] ** 2 * jnp.exp(-squares * jnp.exp(theta[1]))


def test_coordinates_of_a_users_class():
    frame = visits()
    found = covariance(frame, residual=Plane.along("u + v | 1"), theta=[0.3])
    squares = sum(np.subtract.outer(frame[c].to_numpy(), frame[c].to_numpy()) ** 2 for c in "uv")
    np.testing.assert_allclose(found, np.exp(-squares * np.exp(0.3)), atol=1e-12)


def test_text_is_no_position_of_a_users_class():
    frame = visits().assign(visit=lambda f: f["visit"].astype(str))
    with pytest.raises(lmm.DataError, match="as numbers or as a factor"):
        lmm.design("y ~ 1", frame, residual=Damped.along("visit | id"))
