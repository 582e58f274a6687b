"""What is read and what is found can be sent to other processes, and does there what it did here.

Tried: genotypes from .bed (by a relative path too), .pgen, a frame, an array, with a coding, a chromosome and names; a
known matrix, dense and sparse; a design, which is given other weights afterwards; fits with and without a known matrix,
a structure of one's own, an optimizer of optax, a polars frame, and loaded ones; fits of many responses; scans in
memory, in a folder, by a solver, by chromosome, with and without their fits without a marker; summaries, certificates
and errors. By ``pickle`` at each protocol, ``copy``, ``deepcopy``, ``cloudpickle`` where it is installed, with arrays
that cannot be written to; read in this process, in a fresh one, and by a pool of processes.
"""

import concurrent.futures
import copy
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pgenlib
import polars as pl
import pytest

import jaxlmm as lmm

from scans import FOLDER

BED = FOLDER / "holes" / "holes.bed"
FORMULA = "Reaction ~ Days + (1 | Subject)"


def independent(theta, coords):
    return theta[0] ** 2 * jnp.eye(coords.shape[0])


@pytest.fixture(scope="module")
def people():
    table = lmm.datasets.genotypes().iloc[:60, :30]
    y = table.iloc[:, 3].to_numpy(float) + np.random.default_rng(2).normal(size=60)
    data = pd.DataFrame({"id": table.index, "y": y, "g": np.arange(60) % 6}, index=table.index)
    return data, table, {"id": lmm.genetics.grm(table)}


@pytest.fixture(scope="module")
def fits(people):
    sleep, (data, _, kinship) = lmm.datasets.sleepstudy(), people
    own = lmm.covariance.Custom(independent, 1)
    return {
        "plain": lmm.fit(FORMULA, sleep),
        "known matrix": lmm.fit("y ~ (1 | id)", data, kinship=kinship),
        "own structure": lmm.fit(FORMULA, sleep, covariance={"Subject": own}),
        "polars": lmm.fit("Reaction ~ center(Days) + (1 | Subject)", pl.from_pandas(sleep)),
    }


NAMES = ("plain", "known matrix", "own structure", "polars")


@pytest.fixture(scope="module")
def scans(people, tmp_path_factory):
    data, table, kinship = people
    chromosomes = pd.DataFrame({"variant": list(table), "chromosome": np.repeat(["1", "2"], 15)})
    source = lmm.genetics.ArraySource(table.to_numpy(), list(table.index), chromosomes)
    options = {"kinship": kinship, "variances": "null"}
    folder = tmp_path_factory.mktemp("scan") / "hits"
    return {
        "memory": lmm.scan("y ~ (1 | id)", data, genotypes=table, **options),
        "folder": lmm.scan("y ~ (1 | id)", data, genotypes=table, out=folder, **options),
        "solver": lmm.scan("y ~ (1 | g)", data, genotypes=table, id="id", variances="null", solver="moments"),
        "chromosomes": lmm.scan("y ~ (1 | id)", data, genotypes=source, kinship="auto", loco=True, variances="null"),
    }


class Watching(pickle.Pickler):
    """Finds arrays of JAX, which would come back in single precision where JAX is not told otherwise."""

    def reducer_override(self, thing):
        assert not isinstance(thing, jax.Array)
        return NotImplemented


def sent(thing):
    """Return the thing as another process gets it, in whose JAX numbers are single by default.

    Its arrays are beside the pickle, and cannot be written to, as joblib and Dask send them.
    """
    content, beside = io.BytesIO(), []
    Watching(content, protocol=5, buffer_callback=beside.append).dump(thing)
    assert not jax.config.jax_enable_x64
    return pickle.loads(content.getvalue(), buffers=[bytes(part.raw()) for part in beside])


def copies(thing):
    """Return the thing by every way of copying."""
    yield sent(thing)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        yield pickle.loads(pickle.dumps(thing, protocol))
    yield copy.copy(thing)
    yield copy.deepcopy(thing)
    try:
        import cloudpickle
    except ImportError:
        return
    yield pickle.loads(cloudpickle.dumps(thing))


def same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True)
    elif hasattr(one, "toarray"):
        np.testing.assert_array_equal(one.toarray(), other.toarray())
    else:
        assert str(one) == str(other)


# ---- fits ----------------------------------------------------------------------------------------------------------

ACCESSORS = (
    "summary", "coef", "fixef", "vcov", "variance", "tidy", "glance", "ranef", "ranef_sd", "pve", "anova", "fitted",
    "residuals", "predict", "model_matrix", "marginal_cov",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_fits(fits, name):
    fit = fits[name]
    for again in copies(fit):
        assert again.deviance == fit.deviance
        assert again.theta.tolist() == fit.theta.tolist()
        for accessor in ACCESSORS:
            if hasattr(fit, accessor):
                same(getattr(fit, accessor)(), getattr(again, accessor)())
    again = sent(fit)
    with jax.enable_x64(True):
        numbers = [np.asarray(leaf) for leaf in jax.tree.leaves((again.solution, again.origin.rows))]
    assert {number.dtype for number in numbers if number.dtype.kind == "f"} == {np.dtype(np.float64)}
    y = 2.0 * fit.frame.y + np.arange(fit.n) % 3
    assert again.refit(y).deviance == fit.refit(y).deviance
    if name == "plain":
        assert again.update(". ~ . - Days").deviance == fit.update(". ~ . - Days").deviance
        assert again.update(method="ML").deviance == fit.update(method="ML").deviance
        newdata = {"Subject": ["308", "new"], "Days": [10, 11]}
        same(fit.predict(newdata, new_levels="zero"), again.predict(newdata, new_levels="zero"))
        for part in (fit.summary(), fit.certificate, fit.frame, fit.estimates):
            assert type(sent(part)) is type(part)
        same(fit.summary(), sent(fit.summary()))


def test_loaded_fits(fits, tmp_path):
    fits["plain"].save(tmp_path / "fit.json")
    loaded = lmm.load(tmp_path / "fit.json")
    again = sent(loaded)
    same(loaded.predict({"Subject": ["308"], "Days": [10]}), again.predict({"Subject": ["308"], "Days": [10]}))
    with pytest.raises(lmm.DataError, match="loaded from a file"):
        again.fitted()


def test_an_optimiser_of_local_functions(monkeypatch):
    """The result is sent; how it was found only where cloudpickle is installed, and else one is told so."""
    fit = lmm.fit(FORMULA, lmm.datasets.sleepstudy(), optimizer=optax.adam(1e-2))
    for own in (copy.copy(fit), copy.deepcopy(fit)):
        assert own.call.options.optimizer is fit.call.options.optimizer
    monkeypatch.setitem(sys.modules, "cloudpickle", None)  # as where it is not installed
    again = sent(fit)
    same(fit.summary(), again.summary())
    same(fit.predict(), again.predict())
    with pytest.raises(lmm.OptionError, match=r"the pickle could not hold.*give optimizer= again"):
        again.refit(fit.frame.y)
    assert again.update(optimizer="newton").deviance == pytest.approx(fit.deviance, abs=1e-6)
    monkeypatch.undo()
    assert sent(fit).refit(fit.frame.y).deviance == fit.deviance


def test_many_fits(people):
    data, _, kinship = people
    Y = np.random.default_rng(8).normal(size=(60, 2))
    Y[:, 1] = 1.0
    many = lmm.fit_many("~ (1 | id)", data, responses=Y, kinship=kinship)
    for again in copies(many):
        for accessor in ("tidy", "variance", "glance", "failed", "fitted", "residuals"):
            same(getattr(many, accessor)(), getattr(again, accessor)())
    again = sent(many)
    same(many.ranef("id"), again.ranef("id"))
    assert again["y1"].deviance == many["y1"].deviance
    with pytest.raises(lmm.DataError, match="constant"):
        again["y2"]


# ---- matrices and designs ------------------------------------------------------------------------------------------


def test_matrices_and_designs(people):
    pedigree = pd.DataFrame({"id": list("abc"), "father": ["0", "0", "a"], "mother": ["0", "0", "b"], "sex": [1, 2, 1]})
    for matrix in (people[2]["id"], lmm.genetics.kinship(pedigree)):
        for again in copies(matrix):
            same(matrix.to_frame(), again.to_frame())
            same((2 * matrix).to_frame(), (2 * again).to_frame())
    sleep = lmm.datasets.sleepstudy()
    design = lmm.design("~ Days + (1 | Subject)", sleep)
    y, weights = sleep["Reaction"].to_numpy(), 1.0 + sleep["Days"].to_numpy()
    with jax.enable_x64(True):
        theta, y = jnp.ones(1), jnp.asarray(y)
        expected = [lmm.deviance(one)(theta, y) for one in (design, design.replace(weights=weights))]
        held = jax.tree.map(jnp.asarray, design)  # as a transformation of JAX returns it
    for again in (*copies(design), sent(held)):
        changed = again if again.built_with is None else again.replace(weights=weights)
        with jax.enable_x64(True):
            assert float(lmm.deviance(again)(theta, y)) == pytest.approx(float(expected[0]), abs=1e-9)
            if changed is not again:
                assert float(lmm.deviance(changed)(theta, y)) == pytest.approx(float(expected[1]), abs=1e-9)


# ---- genotypes and scans -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pgen(tmp_path_factory):
    path = tmp_path_factory.mktemp("pgen") / "a.pgen"
    with pgenlib.PgenWriter(str(path).encode(), 6, variant_ct=4) as file:
        for marker in range(4):
            file.append_biallelic((np.arange(6, dtype=np.int8) + marker) % 3)
    lines = [f"1\t{number + 1}\tv{number}\tA\tC\n" for number in range(4)]
    path.with_suffix(".pvar").write_text("#CHROM\tPOS\tID\tREF\tALT\n" + "".join(lines))
    path.with_suffix(".psam").write_text("#IID\n" + "".join(f"s{number}\n" for number in range(6)))
    return path


def test_genotypes(people, pgen, monkeypatch):
    table = people[1]
    monkeypatch.chdir(BED.parent)
    sources = [
        lmm.genetics.genotypes(BED.name),
        lmm.genetics.genotypes(BED, coding="dominant", maf=0.05, standardize=True),
        lmm.genetics.genotypes(pgen, chromosome="1", extract=["v1", "v3"]),
        lmm.genetics.genotypes(table),
        lmm.genetics.genotypes(table.to_numpy(np.int8)),
        lmm.genetics.genotypes(pl.from_pandas(table.reset_index())),
    ]
    for genotypes in sources:
        for opened in (False, True):  # a file that is open is opened again
            found = list(copies(genotypes))
            monkeypatch.chdir("/")
            for again in found:
                np.testing.assert_array_equal(again.read(slice(0, 2)), genotypes.read(slice(0, 2)))
                np.testing.assert_array_equal(next(again.blocks()).values, next(genotypes.blocks()).values)
                same(genotypes.variants, again.variants)
                assert again.sample_ids.tolist() == genotypes.sample_ids.tolist()
            assert opened or genotypes.read().size


def test_a_file_that_is_gone_or_another_one(pgen, tmp_path):
    for ending in (".bed", ".bim", ".fam"):
        (tmp_path / f"a{ending}").write_bytes(BED.with_suffix(ending).read_bytes())
    content = pickle.dumps(lmm.genetics.genotypes(tmp_path / "a.bed"))
    (tmp_path / "a.bed").write_bytes(BED.read_bytes()[:-1])
    with pytest.raises(lmm.GenotypeError, match="cut short"):
        pickle.loads(content).read()
    (tmp_path / "a.bed").unlink()
    with pytest.raises(lmm.GenotypeError, match=r"a\.bed"):
        pickle.loads(content).read()
    content = pickle.dumps(lmm.genetics.genotypes(pgen))
    moved = pgen.rename(pgen.with_name("b.pgen"))
    with pytest.raises(lmm.GenotypeError, match=r"a\.pgen"):
        pickle.loads(content).read()
    moved.rename(pgen)
    assert pickle.loads(content).read().shape == (6, 4)


@pytest.mark.parametrize("name", ["memory", "folder", "solver", "chromosomes"])
def test_scans(scans, name, tmp_path):
    hits = scans[name]
    found = [*copies(hits)]
    expected = hits.null
    for again in (*found, sent(hits)):
        same(hits.tidy(), again.tidy())
        same(hits.top(3), again.top(3))
        assert str(hits) == str(again)
    for again in (found[0], sent(hits)):
        nulls = (expected, again.null) if isinstance(expected, dict) else ({"": expected}, {"": again.null})
        for key, one in nulls[0].items():
            same(one.tidy(), nulls[1][key].tidy())
    found[0].to_tsv(tmp_path / "hits.tsv")
    assert len(pd.read_csv(tmp_path / "hits.tsv", sep="\t")) == 30


def test_a_scan_holds_no_product_of_its_own(scans, people):
    """What is prepared for markers is of the size of the matrix, and is made again."""
    matrix = people[2]["id"].to_array().nbytes
    assert len(pickle.dumps(scans["memory"])) < 6 * matrix


# ---- other processes -----------------------------------------------------------------------------------------------


def test_a_fresh_process(fits, scans, people, tmp_path, monkeypatch):
    """Where nothing has been fitted before, JAX counts in single precision, and the working folder is another one."""
    monkeypatch.chdir(scans["folder"].table.folder.parent)
    things = {
        "fit": fits["plain"], "hits": scans["memory"], "folder": lmm.load("hits"),
        "genotypes": lmm.genetics.genotypes(os.path.relpath(BED)), "matrix": people[2]["id"],
    }  # fmt: skip
    (tmp_path / "things.pkl").write_bytes(pickle.dumps(things))
    code = """
        import pickle, sys
        with open(sys.argv[1], "rb") as file:
            things = pickle.load(file)
        fit, hits = things["fit"], things["hits"]
        new = fit.predict({"Subject": ["308"], "Days": [10]})["estimate"].iloc[0]
        refitted = fit.refit(fit.frame.y * 2).deviance
        print(repr(float(fit.ranef_sd("Subject").iloc[0, 0])), repr(float(new)), repr(refitted))
        print(repr(float(hits.top(1)["estimate"].iloc[0])), repr(float(hits.null.glance()["deviance"].iloc[0])))
        print(len(things["folder"].tidy()), things["folder"].null.responses)
        print(things["genotypes"].read(slice(0, 1)).shape, repr(float(things["matrix"].to_array()[0, 1])))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "things.pkl"],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    fit, hits = fits["plain"], scans["memory"]
    new = fit.predict({"Subject": ["308"], "Days": [10]})["estimate"].iloc[0]
    first = [fit.ranef_sd("Subject").iloc[0, 0], new, fit.refit(fit.frame.y * 2).deviance]
    second = [hits.top(1)["estimate"].iloc[0], hits.null.glance()["deviance"].iloc[0]]
    lines = ran.stdout.splitlines()
    np.testing.assert_allclose([float(word) for word in lines[0].split()], first, rtol=1e-13)
    np.testing.assert_allclose([float(word) for word in lines[1].split()], second, rtol=1e-13)
    assert lines[2] == "30 ('y',)"
    assert lines[3] == f"(60, 1) {float(people[2]['id'].to_array()[0, 1])!r}"


def test_a_pool_of_processes(fits, scans):
    """Methods and functions go out, results come back."""
    fit, genotypes = fits["plain"], lmm.genetics.genotypes(BED)
    genotypes.read(slice(0, 1))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        doubled = pool.submit(fit.refit, 2.0 * fit.frame.y)
        read = pool.submit(genotypes.read, slice(0, 3))
        best = pool.submit(scans["folder"].top, 2)
        wrong = pool.submit(fit.update, ". ~ . + nobody")
        fitted = pool.submit(lmm.fit, FORMULA, lmm.datasets.sleepstudy())
        assert doubled.result().deviance == pytest.approx(fit.refit(2.0 * fit.frame.y).deviance, abs=1e-9)
        same(doubled.result().fitted(), fit.refit(2.0 * fit.frame.y).fitted())
        np.testing.assert_array_equal(read.result(), genotypes.read(slice(0, 3)))
        same(best.result(), scans["folder"].top(2))
        with pytest.raises(lmm.FormulaError, match="nobody"):
            wrong.result()
        assert fitted.result().deviance == pytest.approx(fit.deviance, abs=1e-9)
        assert fitted.result().refit(fit.frame.y).deviance == pytest.approx(fit.deviance, abs=1e-9)
