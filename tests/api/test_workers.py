"""Many responses and draws of a bootstrap in the workers of an executor: what one process finds, in every field.

Tried: threads of this process, and processes that are spawned; responses with missing values, constant, infinite, on
both sides of the formula, those of a family with impossible and separated ones, a known matrix, held parameters.
"""

import concurrent.futures
import multiprocessing

import jax
import numpy as np
import pandas as pd
import pytest

import jaxlmm as lmm
from jaxlmm.results import ManyEstimates

SAME = 1e-9
"""Relative: the same problems in batches of other sizes."""


@pytest.fixture(scope="module")
def threads():
    with concurrent.futures.ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture(scope="module")
def study():
    """The sleep study with 150 responses: three tasks."""
    sleep, rng = lmm.datasets.sleepstudy(), np.random.default_rng(1)
    levels = sleep["Subject"].cat.codes.to_numpy()
    y = rng.normal(size=(180, 150)) + rng.normal(size=(18, 150))[levels]
    y[:, 5], y[3, 7], y[:, 9], y[2, 80], y[5:9, 90:120] = 1.0, np.nan, np.nan, np.inf, np.nan
    return sleep, pd.DataFrame(y, index=sleep.index).add_prefix("y").assign(Days=sleep["Days"].to_numpy(float))


def same(one, other):
    own, theirs = one.estimates, other.estimates
    for name in ManyEstimates.__dataclass_fields__:
        if name in ("seconds", "labels"):
            continue
        for left, right in zip(
            jax.tree.leaves(getattr(own, name)), jax.tree.leaves(getattr(theirs, name)), strict=True
        ):
            if isinstance(left, np.ndarray) and left.dtype.kind == "f":
                np.testing.assert_allclose(right, left, rtol=1e-6, atol=SAME, err_msg=name)
            else:
                assert np.array_equal(left, right), name
    pd.testing.assert_frame_equal(other.tidy(), one.tidy(), rtol=1e-6)


def test_responses_are_fitted_as_by_one_process(study, threads):
    sleep, y = study
    alone = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y)
    many = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y, executor=threads)
    same(alone, many)
    assert many.estimates.reason[[5, 9, 80, 150]].tolist() == [
        "constant",
        "all_missing",
        "infinite",
        "also_a_predictor",
    ]
    assert many.estimates.n[7] == 179
    assert many["y3"].status == "interior", "a single response is fitted anew on the data that the caller has"


def test_a_family_and_what_is_held(study, threads):
    sleep, rng = study[0], np.random.default_rng(2)
    counts = rng.poisson(2.0, size=(180, 70)).astype(float)
    counts[:, 3], counts[0, 66] = 0.0, -1.0
    options = {"responses": counts, "family": "poisson"}
    alone = lmm.fit_many("~ Days + (1 | Subject)", sleep, **options)
    many = lmm.fit_many("~ Days + (1 | Subject)", sleep, executor=threads, **options)
    same(alone, many)
    assert many.estimates.reason[66] == "not_of_family"
    held = {"responses": study[1].iloc[:, 10:80], "fixed": {"Subject: sd(Intercept)": 0.5}}
    same(
        lmm.fit_many("~ Days + (1 | Subject)", sleep, **held),
        lmm.fit_many("~ Days + (1 | Subject)", sleep, executor=threads, **held),
    )


def test_processes_that_are_spawned(study):
    sleep, y = study
    some = y.iloc[:, 10:80]
    alone = lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=some)
    spawned = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawned) as pool:
        same(alone, lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=some, executor=pool))


def test_a_bootstrap_has_the_same_draws(study, threads):
    fit = lmm.fit("Reaction ~ Days + (1 | Subject)", study[0])
    alone, other = fit.bootstrap(80, seed=3), fit.bootstrap(80, seed=3, executor=threads)
    np.testing.assert_allclose(other.values, alone.values, rtol=1e-6)
    assert other.status.equals(alone.status)
    many = lmm.fit_many("~ Days + (1 | Subject)", study[0], responses=["Reaction"])
    boot = many.bootstrap(80, seed=3, executor=threads)
    np.testing.assert_allclose(boot["Reaction"].values, many.bootstrap(80, seed=3)["Reaction"].values, rtol=1e-6)
    with pytest.raises(lmm.OptionError, match="expected a statistic by name beside it"):
        fit.bootstrap(10, statistic=lambda one: one.sigma, executor=threads)
    with pytest.raises(lmm.OptionError, match="executor: expected an object with the submit"):
        fit.bootstrap(10, executor=4)


class Failing(concurrent.futures.ThreadPoolExecutor):
    """An executor whose tasks all fail."""

    def submit(self, function, /, *arguments):
        return super().submit(self.fail)

    def fail(self):
        raise MemoryError("no room")


def test_workers_that_fail_and_executors_that_are_none(study):
    sleep, y = study
    with Failing(1) as made, pytest.raises(lmm.WorkerError, match=r"3 of 3 tasks .*MemoryError: no room.*none"):
        lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y, executor=made)
    with pytest.raises(lmm.OptionError, match="executor: expected an object with the submit"):
        lmm.fit_many("~ Days + (1 | Subject)", sleep, responses=y, executor="dask")
