"""A solver of another author: fits equal ours with it, and what is wrong in it is found by the test for authors.

Tolerances: two solvers stop at points whose deviances differ by less than 1e-8; estimates agree to the root of it.
"""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlmm as lmm
from jaxlmm.testing import check_solver

import models
from own_solver import Plain, Reweighted

DEVIANCE, ESTIMATES = 1e-8, 1e-5
DATA = models.data(seed=5, levels=12)
FITS = {
    "slopes": ("x + (1 + z | g)", {"weights": "w", "offset": "o"}),
    "crossed": ("x + (1 | g) + (1 | h)", {}),
    "positions and crossed": ("x + ou(t | g) + (1 | h)", {}),
    "residual": ("x + (1 | g)", {"residual": "ou(t | g)", "method": "ML"}),
    "linear": ("x + f", {}),
}


@functools.cache
def both(name):
    formula, options = FITS[name]
    return [lmm.fit(f"y ~ {formula}", DATA, solver=solver, **options) for solver in ("auto", Plain)]


def close(mine, theirs):
    np.testing.assert_allclose(np.asarray(mine, float), np.asarray(theirs, float), rtol=ESTIMATES, atol=ESTIMATES)


@pytest.mark.parametrize("name", FITS)
def test_fits_equal_ours(name):
    ours, mine = both(name)
    assert (mine.solver, mine.solver_reason, mine.status) == ("plain", "asked for", ours.status)
    assert "plain (asked for)" in str(mine.summary())
    assert mine.deviance == pytest.approx(ours.deviance, abs=DEVIANCE)
    for column in ("estimate", "std_error", "df"):
        close(mine.coef()[column], ours.coef()[column])
    close(mine.variance()["std_error"], ours.variance()["std_error"])
    for group in ours.n_groups:
        if name != "residual" or group == "g":
            close(mine.ranef(group), ours.ranef(group))
            close(mine.ranef_sd(group), ours.ranef_sd(group))
    close(mine.fitted(), ours.fitted())


def test_many_fits_equal_ours():
    """With missing values every pattern gets a design of its own: there is no other route."""
    formula, options = FITS["slopes"]
    rng = np.random.default_rng(3)
    y = DATA[["y"]].to_numpy() + rng.normal(size=(len(DATA), 3))
    y[[0, 5], 0], y[[2, 9, 11], 1] = np.nan, np.nan
    ours, mine = (lmm.fit_many(f"~ {formula}", DATA, responses=y, solver=s, **options) for s in ("auto", Plain))
    assert "Solver: plain (asked for)" in str(mine)
    assert mine.status.tolist() == ours.status.tolist()
    np.testing.assert_allclose(mine.glance()["deviance"], ours.glance()["deviance"], rtol=0, atol=DEVIANCE)
    for column in ("estimate", "std_error", "df"):
        close(mine.tidy()[column], ours.tidy()[column])
    close(mine.ranef("g"), ours.ranef("g"))
    close(mine.fitted(), ours.fitted())
    assert mine["y1"].solver == "plain"


def test_a_route_is_the_class_not_its_name():
    """A class that is ours but for its name solves responses with missing values in one batch, as ours does."""
    y = DATA[["y"]].to_numpy() + np.random.default_rng(4).normal(size=(len(DATA), 2))
    y[3, 0], y[[7, 8], 1] = np.nan, np.nan
    taken = []

    class Renamed(lmm.solvers.Moments):
        name = "renamed"

        def by_response(self, design, y, present):
            taken.append(y.shape)
            return super().by_response(design, y, present)

    many, expected = (lmm.fit_many("~ x + (1 | g)", DATA, responses=y, solver=s) for s in (Renamed, "moments"))
    assert len(taken) == 1
    assert many.estimates.solver == "renamed"
    assert many.estimates.solver_reason == expected.estimates.solver_reason
    np.testing.assert_allclose(many.glance()["deviance"], expected.glance()["deviance"], rtol=0, atol=DEVIANCE)


def test_a_fit_stays_with_its_solver(tmp_path):
    ours, mine = both("crossed")
    y = mine.frame.y[::-1].copy()
    assert mine.refit(y).solver == "plain"
    assert mine.refit(y).deviance == pytest.approx(ours.refit(y).deviance, abs=DEVIANCE)
    assert mine.update(method="ML").solver == "plain"
    assert mine.update(solver="auto").solver == "blocked"
    sent = pickle.loads(pickle.dumps(mine))
    assert sent.solver == "plain"
    assert sent.refit(y).deviance == mine.refit(y).deviance
    mine.save(tmp_path / "fit.json")  # a file names it, and nothing of it is looked for
    loaded = lmm.load(tmp_path / "fit.json")
    assert str(loaded.summary()) == str(mine.summary())


def test_a_model_of_dispersion():
    """It is fitted with a class that can be reweighted, and refused with the reason by one that cannot."""
    formula, options = "y ~ x + ou(t | g) + (1 | h)", {"dispersion": "~ z", "weights": "w"}
    ours, mine = (lmm.fit(formula, DATA, solver=solver, **options) for solver in ("auto", Reweighted))
    assert (ours.solver, mine.solver) == ("dense", "reweighted")
    assert mine.deviance == pytest.approx(ours.deviance, abs=DEVIANCE)
    close(mine.variance()["estimate"], ours.variance()["estimate"])
    close(mine.coef()["std_error"], ours.coef()["std_error"])
    expected = r"solver=Plain cannot do this model: a model of dispersion, for which it has no method reweighted\. Use"
    with pytest.raises(lmm.OptionError, match=expected):
        lmm.fit(formula, DATA, solver=Plain, **options)
    with pytest.raises(lmm.OptionError, match="no method reweighted"):
        check_solver(Plain, ours.design)


def test_the_likelihood_by_it():
    fit = both("slopes")[0]
    with jax.enable_x64(True):
        y, theta = jnp.asarray(fit.frame.y), jnp.array([0.9, 0.3, 0.5])
        one, other = (float(lmm.deviance(fit.design, solver=solver)(theta, y)) for solver in ("auto", Plain))
        assert one == pytest.approx(other, abs=DEVIANCE)
        one, other = (
            float(lmm.loglik(fit.design, solver=solver)(jnp.ones(2), theta, 1.3, y))
            for solver in (lmm.solvers.Dense, Plain)
        )
        assert one == pytest.approx(other, abs=DEVIANCE)
        assert float(lmm.estimate(fit.design, y, solver=Plain).deviance) == pytest.approx(fit.deviance, abs=DEVIANCE)


# ---- what is refused -------------------------------------------------------------------------------------------------


def variant(**members):
    return type("Mine", (Plain,), {"name": "mine", "__module__": "theirs", **members})


def test_a_model_that_it_cannot_do():
    known = {"kinship": {"g": models.kinship(DATA)}}
    expected = r"solver=Plain cannot do this model: a known matrix\. Use solver='auto', 'spectral' or 'dense'\."
    with pytest.raises(lmm.OptionError, match=expected):
        lmm.fit("y ~ x + (1 | g)", DATA, solver=Plain, **known)
    with pytest.raises(lmm.OptionError, match="cannot do this model, 'a known matrix'"):
        check_solver(Plain, lmm.design("y ~ x + (1 | g)", DATA, **known))


def annotated():
    """A class that has all methods, and its name among the fields."""
    members = dict.fromkeys(lmm.solvers.AbstractSolver.__abstractmethods__)
    own = {"name": "mine", "__annotations__": {"name": str}}
    return type("Mine", (lmm.solvers.AbstractSolver,), {"__module__": "theirs", **members, **own})


class Unfinished(lmm.solvers.AbstractSolver):
    name = "unfinished"

    @classmethod
    def build(cls, design):
        return cls()


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (
            "mine",
            "expected one of 'auto', 'moments', 'blocked', 'spectral', 'repeated', 'chain', 'dense', or a subclass of "
            "lmm.solvers",
        ),
        (3, "got 3"),
        (dict, "a subclass of lmm.solvers.AbstractSolver, got <class 'dict'>"),
        (Unfinished, "got Unfinished without augmented, cross_products, effects, factor, inner, logdet, quad"),
        (Unfinished.__mro__[1], "expected all methods of a solver, got AbstractSolver without"),
        (variant(name="dense"), "a name that is not taken, got 'dense' of Mine"),
        (variant(name="auto"), "a name that is not taken"),
        (variant(name=""), "expected a name, which fit.solver is to say, in the class Mine"),
        (annotated(), "without an annotation"),
        (Plain((), np.ones(3), None, None), "expected the class itself, solver=Plain, got an object of it"),
    ],
)
def test_what_is_no_solver(solver, message):
    for verb, options in ((lmm.fit, {}), (lmm.fit_many, {"responses": ["y"]}), (lmm.scan, {"genotypes": None})):
        with pytest.raises(lmm.OptionError, match=message):
            verb("~ x + (1 | g)", DATA, solver=solver, **options)


# ---- the test for authors --------------------------------------------------------------------------------------------


def wrong_slope(self, factors):
    inverse, logdet = Plain.factor(self, factors)
    return inverse, jax.lax.stop_gradient(logdet)


def unmoved(self, root_weight):
    return Reweighted.reweighted(self, jax.lax.stop_gradient(root_weight))


def scaled(self, a, b):
    length = jnp.linalg.norm(a, axis=0, keepdims=True)
    return a / length * length, b


def of_plain_basis(cls, design):
    np.linalg.inv(np.asarray(design.basis).T @ np.asarray(design.basis))
    return Plain.build.__func__(cls, design)


def counts_padding(self, factor):
    return factor[1] + 0.01 * jnp.sum(1.0 - self.real)


WRONG = {
    "logdet": ({"logdet": lambda self, factor: 0.5 * factor[1]}, r"Mine\.logdet: expected log\|H\| = "),
    "inner": (
        {"inner": lambda self, factor, products: products[0].T @ products[1]},
        r"Mine\.inner, or cross_products: expected AᵀH⁻¹A",
    ),
    "factor": (
        {"factor": lambda self, factors: tuple(2.0 * part for part in Plain.factor(self, factors))},
        r"Mine\.factor \(or build, or without_rows\): both",
    ),
    "augmented": ({"augmented": lambda self, a, e: 2.0 * jnp.asarray(e).T}, r"Mine\.augmented, or .*AᵀH⁻¹e"),
    "augmented, no first axis": ({"augmented": lambda self, a, e: jnp.asarray(e)}, "a first axis over the 4 responses"),
    "shape": ({"logdet": lambda self, factor: factor[1][None]}, r"Mine\.logdet: expected an array of shape \(\)"),
    "derivative": ({"factor": wrong_slope}, r"Mine\.logdet: expected derivatives that are those of its values"),
    "NumPy": ({"factor": lambda self, f: np.linalg.inv(f.terms[0])}, r"Mine\.factor fails where JAX traces it: Tracer"),
    "modes": (
        {"effects": lambda self, *args: lmm.solvers.Effects(*(2.0 * p[0][None] for p in Plain.effects(self, *args)))},
        r"Mine\.effects: expected the modes of term 0",
    ),
    "build": ({"build": classmethod(lambda cls, design: None)}, r"Mine\.build returns NoneType"),
    "a field": ({"build": classmethod(lambda cls, d: cls((), "text", None, None))}, "numbers in the field real"),
    "reweighted": (
        {"reweighted": lambda self, root_weight: self},
        r"Mine\.reweighted: expected the solver of rows that are multiplied by root_weight \(factor \(.*\): both",
    ),
    "derivatives in weights": ({"reweighted": unmoved}, r"Mine\.reweighted: .* those of its values"),
    "no solver": ({"reweighted": lambda self, root_weight: None}, r"Mine\.reweighted: .*returns NoneType"),
    "padding": ({"logdet": counts_padding}, r"Mine\.build, or the methods on padded rows: .* padded to 256"),
    "a column of zeros": ({"cross_products": scaled}, r"Mine\.inner, or cross_products: expected AᵀH⁻¹A"),
    "without rows": (
        {"without_rows": lambda self: self.replace(terms=tuple(0.5 * z for z in self.terms))},
        r"Mine\.factor \(or build, or without_rows\): both",
    ),
    "no solver without rows": ({"without_rows": lambda self: None}, r"Mine\.without_rows returns NoneType"),
    "padded columns": ({"build": classmethod(of_plain_basis)}, r"Mine\.build fails: .*Singular matrix"),
    "unsuitable": ({"unsuitable": classmethod(lambda cls, design: None)}, r"Mine\.unsuitable returns None"),
    "a flag": ({"sequential": property(lambda self: None)}, r"Mine\.sequential is None: expected True or False"),
    "a route": (
        {"route": classmethod(lambda cls, design, sharing: lmm.solvers.Route.RESPONSE)},
        r"Mine\.by_response fails where JAX traces it: NotImplementedError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    members, message = WRONG[case]
    with pytest.raises(lmm.OptionError, match=f"check_solver: .*{message}"):
        check_solver(variant(**members), models.design("slope", DATA))


class WithBasis(Plain):
    """It keeps the basis of X, and multiplies it with that of the design that ``effects`` is given."""

    basis: np.ndarray

    @classmethod
    def build(cls, design):
        return cls(**vars(Plain.build(design)), basis=np.asarray(design.basis))

    def effects(self, design, factors, factor, residual):
        found = Plain.effects(self, design, factors, factor, residual)
        nothing = 0.0 * jnp.sum(self.basis * jnp.asarray(design.basis))
        return lmm.solvers.Effects(tuple(modes + nothing for modes in found.modes), found.sds)


@pytest.mark.parametrize(
    ("name", "solver"),
    [("slopes", Plain), ("slopes", WithBasis), ("positions and crossed", Plain), ("residual", Reweighted)],
)
def test_one_that_is_right(name, solver):
    formula, options = FITS[name]
    check_solver(solver, lmm.design(f"~ {formula}", DATA, **{k: v for k, v in options.items() if k != "method"}))


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("slope", "moments"),
        ("slopes on both", "blocked"),
        ("kinship", "dense"),
        ("kinship slope, weights", "spectral"),
        ("ou residual, weights", "chain"),
    ],
)
def test_ours_are_right(name, solver):
    """Their routes for responses with missing values too."""
    check_solver(solver, models.design(name, DATA))
