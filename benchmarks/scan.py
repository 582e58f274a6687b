"""Genome scans beside GEMMA and FaST-LMM: one trait with variances refitted, and a thousand traits.

Usage: python benchmarks/scan.py [SIZE] [--cases abcd] [--peers / --no-peers] [--out FILE]

(a) the mice's trait 1, 9,100 markers, refitted for each; (b) ten times as many markers (the same with noise), the whole
process from files to a table; (c) 1,000 samples × 20,000 markers × 1,000 traits at null variances, those with
p ≤ 1e-5 kept; (d) (a) with four covariates. SIZE (0 to 1) takes a share of markers, samples and traits for a trial;
only the whole, all cases and SIZE 1, writes ``results/scan.json``.
Times are medians of five runs, with their range, after a first one; the matrix products alone, by the same library in
the same process, are timed in turn with the scans. GEMMA is run with ``-lmm 1`` on the same files, FaST-LMM on the same
arrays, if they are installed; they are run once.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

MOUSE = Path(__file__).parent.parent / "tests" / "reference" / "genetics" / "mouse"


def measured(repeats=5, **functions):
    """Seconds of functions that are run in turn, after a first run of each: medians and ranges by name."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {
        name: {"seconds": statistics.median(found), "min": min(found), "max": max(found)}
        for name, found in times.items()
    }


def product(n, markers, extra=0):
    """Return the product that rotates markers (and ``extra`` more rows), in blocks as the scan has them."""
    import jax

    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        matrix, block = jax.device_put((rng.normal(size=(n + extra, n)), rng.normal(size=(1024, n))))
        program = jax.jit(lambda a, b: a @ b.T)

    def run():
        with jax.enable_x64(True):
            for _ in range(-(-markers // 1024)):
                program(matrix, block).block_until_ready()

    return run


def mice(share):
    import jaxlmm as lmm

    pheno = pd.read_csv(MOUSE / "mouse.pheno.csv", dtype={"id": str}).dropna(subset="trait1").reset_index(drop=True)
    source = lmm.genetics.genotypes(MOUSE / "mouse.bed", maf=0.01)
    K = lmm.genetics.grm(source)
    (block,) = source.blocks(pheno["id"], size=len(source.variants))
    values = block.values[:, block.keep]
    values = values[:, : max(int(values.shape[1] * share), 64)]
    return pheno, K, np.ascontiguousarray(values.T)


def warm_scan(pheno, K, values, formula):
    """Return a scan of markers that are in memory, after the decomposition, and the seconds that took."""
    import jax

    import jaxlmm as lmm
    from jaxlmm.scanning.kernels.filter import PairFilter
    from jaxlmm.scanning.kernels.null_models import NullModels
    from jaxlmm.scanning.kernels.rotate import ScanRows
    from jaxlmm.scanning.kernels.scanner import EigenScanner

    design = lmm.design(formula, pheno, kinship={"id": K}).unpadded()
    n = len(pheno)
    with jax.enable_x64(True):
        start = time.perf_counter()
        rows = ScanRows.of(design, np.arange(n), n)
        decomposed = time.perf_counter() - start
        traits = NullModels.of(rows, pheno[["trait1"]].to_numpy(), reml=True, ml=False)
        scanner = EigenScanner(traits, np.arange(1), refit=True, reml=True, tests=("wald",), size=1024)
        markers, frequency = np.arange(len(values)), values.mean(axis=1) / 2

    def run():
        with jax.enable_x64(True):
            keeper = PairFilter("wald", None, None, False)
            scanner.scan(values.T, markers, frequency, keeper)
            keeper.finish()

    return run, decomposed


def case_a(share, peers, formula="~ 1 + (1 | id)", covariates=0):
    pheno, K, values = mice(share)
    rng = np.random.default_rng(1)
    names = [f"c{number}" for number in range(covariates)]
    pheno[names] = rng.normal(size=(len(pheno), covariates))
    scan, decomposed = warm_scan(pheno, K, values, formula)
    found = {
        "samples": len(pheno), "markers": len(values), "decomposition_seconds": decomposed,
        **measured(scan=scan, product=product(len(pheno), len(values))),
    }  # fmt: skip
    seconds = found["scan"]["seconds"]
    found["times_the_product"] = seconds / found["product"]["seconds"]
    if peers and shutil.which("gemma") and not covariates:
        found["gemma_lmm1_seconds"] = gemma_seconds(pheno, values)
        found["times_faster_than_gemma"] = found["gemma_lmm1_seconds"] / seconds
    return found


def case_d(share, peers):
    return case_a(share, False, "~ c0 + c1 + c2 + c3 + (1 | id)", 4)


def write_bed(folder, values, ids):
    """Write markers (s, n) as a PLINK 1 file, rounded to counts."""
    codes = np.array([3, 2, 0], np.uint8)[np.clip(np.rint(values), 0, 2).astype(int)]
    padded = np.zeros((len(codes), -(-codes.shape[1] // 4) * 4), np.uint8)
    padded[:, : codes.shape[1]] = codes
    four = padded.reshape(len(codes), -1, 4)
    packed = four[..., 0] | (four[..., 1] << 2) | (four[..., 2] << 4) | (four[..., 3] << 6)
    (folder / "g.bed").write_bytes(bytes([0x6C, 0x1B, 0x01]) + packed.tobytes())
    names = [f"1\tv{number}\t0\t{number + 1}\tA\tG" for number in range(len(codes))]
    (folder / "g.bim").write_text("\n".join(names) + "\n")
    return [f"{sample} {sample} 0 0 0 " for sample in ids]


def gemma_seconds(pheno, values):
    """Seconds that GEMMA says it spends on the tests alone (time on optimization and on UtX)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_gemma(folder, pheno, values)
        log = (folder / "output" / "out.log.txt").read_text()
    minutes = [
        float(line.split("=")[1].split()[0]) for line in log.splitlines() if "UtX =" in line or "optimiz" in line
    ]
    return 60.0 * sum(minutes)


def run_gemma(folder, pheno, values):
    lines = write_bed(folder, values, pheno["id"])
    fam = "\n".join(line + str(y) for line, y in zip(lines, pheno["trait1"], strict=True))
    (folder / "g.fam").write_text(fam + "\n")
    options = {"cwd": folder, "check": True, "capture_output": True}
    start = time.perf_counter()
    subprocess.run(["gemma", "-bfile", "g", "-gk", "1", "-o", "k"], **options)
    subprocess.run(["gemma", "-bfile", "g", "-k", "output/k.cXX.txt", "-lmm", "1", "-o", "out"], **options)
    return time.perf_counter() - start


def case_b(share, peers):
    pheno, _, values = mice(share)
    rng = np.random.default_rng(2)
    more = np.concatenate([values] * 10)
    flip = rng.random(more.shape) < 0.02
    more[flip] = rng.integers(0, 3, flip.sum())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {"samples": len(pheno), "markers": len(more)}
        lines = write_bed(folder, more, pheno["id"])
        (folder / "g.fam").write_text("\n".join(line + "-9" for line in lines) + "\n")
        pheno.to_csv(folder / "pheno.csv", index=False)
        command = [
            sys.executable, "-m", "jaxlmm.cli", "scan", "trait1 ~ (1 | id)", "pheno.csv", "--genotypes", "g.bed",
            "--kinship", "auto", "--maf", "0.01", "--out", "out.tsv", "--force", "--no-progress",
        ]  # fmt: skip
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        first, *later = seconds
        found |= {
            "first_process_seconds": first,
            "process": {"seconds": statistics.median(later), "min": min(later), "max": max(later)},
        }
        if peers and shutil.which("gemma"):
            found["gemma_process_seconds"] = run_gemma(folder, pheno, more)
            found["times_faster_than_gemma"] = found["gemma_process_seconds"] / found["process"]["seconds"]
    return found


def case_c(share, peers):
    import jaxlmm as lmm

    n, s, m = (max(int(size * share), least) for size, least in ((1000, 100), (20_000, 256), (1000, 8)))
    rng = np.random.default_rng(3)
    ids = [f"s{number}" for number in range(n)]
    G = rng.binomial(2, rng.uniform(0.1, 0.5, s), size=(n, s)).astype(np.int8)
    centered = G - G.mean(axis=0)
    K = pd.DataFrame(centered @ centered.T / s, index=ids, columns=ids)
    root = np.linalg.cholesky(K.to_numpy() + 1e-6 * np.eye(n))
    Y = pd.DataFrame(root @ rng.normal(size=(n, m)) + rng.normal(size=(n, m)), index=ids).add_prefix("y")
    data = pd.DataFrame({"id": ids}, index=ids)
    genotypes = lmm.genetics.genotypes(pd.DataFrame(G, index=ids))

    def run():
        lmm.scan(
            "~ (1 | id)", data, genotypes=genotypes, responses=Y, kinship={"id": K}, variances="null", p_max=1e-5
        )  # fmt: skip

    times = measured(scan=run, product=product(n, s, m))
    seconds = times["scan"]["seconds"]
    return {
        "samples": n, "markers": s, "traits": m, **times,
        "share_of_the_product_rate": times["product"]["seconds"] / seconds, "pairs_per_second": s * m / seconds,
    }  # fmt: skip


def fastlmm_seconds(pheno, values):
    """Seconds of FaST-LMM's ``single_snp`` on the same markers, or None where it is not installed."""
    try:
        from fastlmm.association import single_snp
        from pysnptools.snpreader import SnpData
    except ImportError:
        return None
    ids = np.array([[sample, sample] for sample in pheno["id"]])
    snps = SnpData(iid=ids, sid=[f"v{number}" for number in range(len(values))], val=values.T)
    trait = SnpData(iid=ids, sid=["trait1"], val=pheno[["trait1"]].to_numpy())
    start = time.perf_counter()
    single_snp(test_snps=snps, pheno=trait, K0=snps, leave_out_one_chrom=False, count_A1=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", type=float, default=1.0)
    parser.add_argument("--cases", default="abcd")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    import jax

    import jaxlmm

    results = {
        "jaxlmm": jaxlmm.__version__, "jax": jax.__version__, "device": str(jax.devices()[0]),
        "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "size": asked.size, "cases": {},
    }  # fmt: skip
    for case in asked.cases:
        results["cases"][case] = globals()[f"case_{case}"](asked.size, asked.peers)
        print(case, json.dumps(results["cases"][case], indent=1), flush=True)
    if asked.peers and "a" in asked.cases:
        pheno, _, values = mice(asked.size)
        results["cases"]["a"]["fastlmm_seconds"] = fastlmm_seconds(pheno, values)
    cases = results["cases"]
    if {"a", "d"} <= set(cases):
        cases["d"]["times_without_covariates"] = cases["d"]["scan"]["seconds"] / cases["a"]["scan"]["seconds"]
    whole = asked.size == 1.0 and set(cases) == set("abcd")
    out = asked.out or (Path(__file__).parent / "results" / "scan.json" if whole else None)
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
