"""Writes the page of benchmarks from ``benchmarks/results/*.json``; no number of that page is typed anywhere."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
TEXT = ("model", "case", "parameter", "scan", "part", "other program / ours")
HEAD = """# Benchmarks

Written from the files in `benchmarks/results/` when this site is built. Each section names the script that makes its
numbers, and the machine they were measured on. Times are medians of warm runs; "cold" is the first call of a new
process without a compilation cache. A ratio is the other program's time divided by ours: above 1, ours is faster.
"""


def load(name: str) -> dict[str, Any]:
    """The results of one script."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table: text to the left in the first column and in those of other programs, else to the right."""
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "".join("---|" if name in TEXT else "---:|" for name in head)]
    return "\n".join(
        [*lines, *("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)]
    )


def seconds(value: float | None) -> str:
    """A time with a unit and two or three digits."""
    if value is None:
        return "–"
    if value < 0.1:
        return f"{1e3 * value:.3g}&nbsp;ms"
    return f"{value:.3g}&nbsp;s"


def ratio(value: float | None) -> str:
    """A ratio of times with two or three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def median(entry: dict[str, Any] | None) -> float | None:
    """The median of an entry of results, None where a program was left out."""
    return (entry or {}).get("median")


def machine(results: dict[str, Any], script: str) -> str:
    """One line that says where the numbers are from."""
    versions = {**results.get("versions", {}), **results.get("R", {})}
    cases = results["cases"].values() if isinstance(results.get("cases"), dict) else ()
    said = {
        "device": results.get("device", next((case["device"] for case in cases if "device" in case), None)),
        "cores": results.get("cores"),
        "Python": results.get("python"),
        "jaxlmm": results.get("jaxlmm", versions.get("jaxlmm")),
        "jax": results.get("jax", versions.get("jax")),
        "R": versions.get("R", "").removeprefix("R version "),
        "lme4": versions.get("lme4"),
        "mixedlm": versions.get("mixedlm"),
    }
    return f"`benchmarks/{script}.py`: " + ", ".join(f"{name} {value}" for name, value in said.items() if value) + "."


def single() -> str:
    """One response."""
    results = load("single_fit")
    rows = []
    for name, model in results["models"].items():
        ours = model["jaxlmm"]
        peers = [model["ratios: theirs / ours"].get(peer, {}) for peer in ("lme4", "mixedlm", "statsmodels")]
        rows.append(
            [
                f"{name}: `{model['formula']}` ({model['method']}, {model['rows']:,} rows)",
                seconds(median(ours["formula to Fit"])),
                seconds(median(ours["cold"])),
                *(ratio(peer.get("to formula to Fit")) for peer in peers),
            ]
        )
    return f"""## One response

Ours is timed from the formula to the whole fit: standard errors, degrees of freedom, modes and certificate. lme4 is
timed inside R with its defaults. A dash: the model is outside that program's range.

{table(["model", "ours", "cold", "lme4 / ours", "mixedlm / ours", "statsmodels / ours"], rows)}

{machine(results, "single_fit")}
"""


KINDS = ("nothing compiled", "second process")


def first_call() -> str:
    """A new process."""
    results = load("first_call")
    rows = [
        [
            label.strip(),
            *(
                f"{results[script][kind][label]['wall']:.2g}&nbsp;GB"
                if "memory" in label
                else seconds(results[script][kind][label]["wall"])
                for kind in KINDS
            ),
        ]
        for script in ("one", "crossed", "many", "estimate", "balanced", "ratings", "scan")
        for label in results[script]["nothing compiled"]
        if (script == "one" or not label.startswith(("import", "whole")))
        and (script == "ratings" or "memory" not in label)
    ]
    return f"""## The first call of a process

Seconds of a new process in which nothing was ever compiled on the machine, and of the next one, which reads what the
first has compiled. A line that begins with "then" follows the one above in the same process; the whole process is the
one of sleepstudy.

{table(["step", "nothing compiled", "second process"], rows)}

{machine(results, "first_call")}
"""


def inference() -> str:
    """What comes after a fit."""
    results = load("inference")
    rows = [
        [
            case["what"],
            seconds(median(case)),
            seconds(case["cold"]),
            ratio(case["R"] / case["median"] if case["R"] else None),
        ]
        for case in results["cases"].values()
    ]
    return f"""## After the fit

R's times are those of lme4's `confint`, `bootMer` and `influence`, of pbkrtest, lmerTest and emmeans. Of a comparison
of marginal means nearly all is Tukey's distribution in SciPy.

{table(["part", "ours", "cold", "R / ours"], rows)}

{machine(results, "inference")}
"""


def coverage() -> str:
    """How often intervals hold the truth."""
    results = load("coverage")
    rows = [
        [design, case, f"{100.0 * entry['share']:.2f}&nbsp;%", f"{entry['sets']:,}"]
        for design, cases in results["designs"].items()
        for case, entry in cases.items()
    ]
    error = 100.0 * (0.95 * 0.05 / results["sets"]) ** 0.5
    return f"""## Coverage

How often 95&nbsp;% intervals hold the truth, and tests at 5&nbsp;% reject a null hypothesis that is true, in
{results["sets"]:,} data sets drawn from known models. 95&nbsp;% has a Monte Carlo standard error of {error:.2f}&nbsp;%.

{table(["model", "case", "share", "data sets"], rows)}

{machine(results, "coverage")}
"""


WAYS, PROVEN = ("laplace", "quadrature"), ("interior", "boundary")


def off(one: dict[str, Any] | None) -> str:
    """A bias with its Monte Carlo standard error."""
    return "–" if one is None else f"{one['bias']:+.3f} ± {one['error_of_bias']:.3f}".replace("-", "−")


def recovery() -> str:
    """What generalized models find in data drawn from them, where it was tried."""
    if not (RESULTS / "recovery.json").exists():
        return ""
    results = load("recovery")
    rows, fits = [], []
    for name, case in results["cases"].items():
        for parameter, first in case["laplace"]["parameters"].items():
            both = [case[way]["parameters"][parameter] if way in case else None for way in WAYS]
            rows.append(
                [
                    name, f"`{parameter}`", f"{first['truth']:g}".replace("-", "−"), *(off(one) for one in both),
                    *("–" if one is None else f"{one['rmse']:.3f}" for one in both),
                    *("–" if one is None else f"{100.0 * one['coverage']:.1f}&nbsp;%" for one in both),
                ]
            )  # fmt: skip
        statuses = [case[way]["statuses"] if way in case else {} for way in WAYS]
        of_laplace = sum(statuses[0].values())
        fits.append(
            [
                name, f"{of_laplace:,}", f"{case['groups']} × {case['rows']}",
                *(
                    f"{100.0 * own[status] / sum(own.values()):.1f}&nbsp;%" if own.get(status) else "–"
                    for own in statuses
                    for status in ("interior", "boundary")
                ),
                sum(count for own in statuses for status, count in own.items() if status not in PROVEN),
            ]
        )  # fmt: skip
    head = ["bias, Laplace", "bias, quadrature", "RMSE, Laplace", "RMSE, quadrature"]
    head = ["case", "parameter", "truth", *head, "95 %, Laplace", "95 %, quadrature"]
    of_fits = [f"{status}, {way}" for way in ("Laplace", "quadrature") for status in PROVEN]
    of_fits = ["case", "data sets", "groups × rows", *of_fits, "neither"]
    return f"""## Recovery

Generalized linear mixed models of data that were drawn from them: a random intercept, a covariate within groups and one
between them; all sets of a case are fitted by one `fit_many`, by Laplace's approximation and by quadrature with
{results["nodes"]} nodes. Bias is the mean of the estimates less the truth ± its Monte Carlo standard error, RMSE their
root mean square error, and "95&nbsp;%" how often Wald's interval holds the truth, of the sets that have one: there is
none of a variance at its boundary.

{table(head, rows)}

Coefficients are found without bias, and z with these numbers of groups is a little too sure of them, in the Gaussian
model too. Standard deviations are small as maximum likelihood's are; beyond that Laplace's approximation makes them
smaller for binary data and for the inverse Gaussian distribution, where its intervals hold the truth too rarely, of the
intercept also. Where a standard deviation is hardly seen in the data, some estimates are zero and quadrature cannot
mend that either.

Which statuses the fits have, in percent of the data sets:

{table(of_fits, fits)}

{machine(results, "recovery")}
"""


def many() -> str:
    """Thousands of responses."""
    results = load("many")
    rows, of_peers = [], {"lme4": 0, "mixedlm": 0}
    for name, case in results["cases"].items():
        of_peers = {peer: max(most, case[peer].get("responses", 0)) for peer, most in of_peers.items()}
        peers = case["ratios: theirs / ours"]
        rows.append(
            [
                f"{name.rstrip('.')}: `{case['formula']}`",
                f"{case['responses']:,}",
                seconds(case["to the table"]["seconds"]),
                ratio(peers.get("lme4", {}).get("to the table")),
                ratio(peers.get("mixedlm", {}).get("to the table")),
            ]
        )
    short = sum(
        case.get("lme4", {}).get("its loglik below ours by more than 1e-3", 0) for case in results["cases"].values()
    )
    timed = sum(case.get("lme4", {}).get("responses", 0) for case in results["cases"].values())
    return f"""## Many responses

Ours is `fit_many(...).tidy()`: every response with standard errors, Satterthwaite's degrees of freedom, q-values and a
certificate. lme4 is timed in a loop inside R on the first {of_peers["lme4"]} responses and mixedlm on the first
{of_peers["mixedlm"]}; their times for all are extrapolated from these. A dash: a loop would stop at the first
response that cannot be fitted.

{table(["case", "responses", "ours", "lme4 / ours", "mixedlm / ours"], rows)}

In {short} of the {timed:,} fits by lme4 its log-likelihood was lower than ours by more than 0.001.

{machine(results, "many")}
"""


def kinship() -> str:
    """Known matrices."""
    results = load("kinship")
    one, crowd, two = results["one"], results["many"], results["two"]
    rows = [
        [
            f"one genomic matrix, {one['rows']:,} people",
            seconds(one["warm"]),
            f"GEMMA `-vc 2`, whole process: {ratio(one['gemma -vc 2, whole process'] / one['warm'])}",
        ],
        [
            f"the same of {crowd['rows']:,} people, {crowd['responses']:,} responses",
            seconds(crowd["warm"]),
            f"SciPy optima one by one: {ratio(crowd['optima in SciPy, one by one'] / crowd['warm'])}",
        ],
        [
            f"two genomic matrices, {two['n']:,} people",
            seconds(median(two["jaxlmm"]["warm"])),
            f"GEMMA `-vc 2`: {ratio(two['GEMMA -vc 2']['as a multiple of ours'])}; "
            f"SciPy, optimum alone: {ratio(two['SciPy, optimum alone']['as a multiple of ours'])}",
        ],
    ]
    for name, case in results["families"].items():
        peer = case["SciPy, optimum alone"]["as a multiple of ours"]
        rows.append(
            [
                f"pedigree and household, {name}, {case['n']:,} people",
                seconds(median(case["jaxlmm"]["warm"])),
                f"SciPy, optimum alone: {ratio(peer)}",
            ]
        )
    for name, case in results["gaw"].items():
        rows.append([f"GAW pedigrees, {name}", seconds(median(case["jaxlmm"]["warm"])), "–"])
    return f"""## Kinship

Ours is `lmm.fit` from the formula to the whole fit. GEMMA's time contains reading its files; SciPy's is the optimum
alone, written as one would by hand.

{table(["model", "ours", "other program / ours"], rows)}

{machine(results, "kinship")}
"""


def scan() -> str:
    """Genome scans."""
    results = load("scan")
    cases = results["cases"]
    a, b, c, d = (cases[name] for name in "abcd")
    rows = [
        [
            f"one trait, {a['samples']:,} samples × {a['markers']:,} markers, variances refitted",
            seconds(a["scan"]["seconds"]),
            ratio(a["times_the_product"]),
            f"GEMMA `-lmm 1`: {ratio(a['times_faster_than_gemma'])}; "
            f"FaST-LMM: {ratio(a['fastlmm_seconds'] / a['scan']['seconds'])}",
        ],
        [
            f"the same, {b['markers']:,} markers, whole process from files to a table",
            seconds(b["process"]["seconds"]),
            "–",
            f"GEMMA, whole process: {ratio(b['times_faster_than_gemma'])}",
        ],
        [
            f"{c['traits']:,} traits, {c['samples']:,} samples × {c['markers']:,} markers, null variances",
            seconds(c["scan"]["seconds"]),
            ratio(c["scan"]["seconds"] / c["product"]["seconds"]),
            "–",
        ],
        [
            f"one trait with four covariates, {d['markers']:,} markers, variances refitted",
            seconds(d["scan"]["seconds"]),
            ratio(d["times_the_product"]),
            "–",
        ],
    ]
    return f"""## Genome scans

"Matrix product" is the time of the scan as a multiple of the matrix products that it cannot do without, by the same
library in the same process.

{table(["scan", "ours", "matrix product", "other program / ours"], rows)}

{machine(results, "scan")}
"""


def nested() -> str:
    """Nested factors."""
    results = load("nested")
    rows = [
        [
            f"{size['rows']:,}",
            f"{size['schools']:,}",
            f"{size['classes']:,}",
            seconds(size["warm"]),
            seconds(size["cold"]),
            f"{size['peak memory, MiB']:,.0f} MiB",
        ]
        for size in results["sizes"]
    ]
    return f"""## Nested factors

`y ~ x + (1 | school/class)`: time and memory grow linearly.

{table(["rows", "schools", "classes", "ours", "cold", "peak memory"], rows)}

{machine(results, "nested")}
"""


def of_peer(result: dict[str, Any] | None, ours: float) -> str:
    """A peer's one time and its ratio to ours, or the words of what became of it."""
    if result is None:
        return "–"
    if "error" in result:
        return str(result["error"])
    value = result["seconds"] if isinstance(result["seconds"], float) else sum(result["seconds"])
    failed = "" if all(result.get("optimum by its own word", [True])) else ", not converged by its own word"
    return f"{seconds(value)} ({ratio(value / ours)}{failed})"


def structures() -> str:
    """Residual structures of trials, a kernel across sites, and series along a chain, where they were measured."""
    if not all((RESULTS / f"{name}.json").exists() for name in ("structures", "chains")):
        return ""
    results, chains = load("structures"), load("chains")
    rows = [
        [
            name, f"{case['rows']:,}", seconds(case["median"]), seconds(case["cold"]),
            *(of_peer(case.get(peer), case["median"]) for peer in ("nlme", "glmmTMB")),
        ]
        for name, case in results["trials"].items()
    ]  # fmt: skip
    kernel, small = results["kernel across 400 sites"], results["small trials"]
    own = [f"{kernel['rows']:,}", seconds(kernel["median"]), seconds(kernel["cold"])]
    rows.append(["a Gaussian kernel across 400 sites", *own, "–", "–"])
    peers = {"jaxlmm": small, **{peer: small[peer] for peer in ("nlme", "glmmTMB") if peer in small}}
    found = [
        [
            name, case.get("trials", "–"), case.get("with an optimum", case.get("error", "–")),
            case.get("as ours", "–"), case.get("lower than ours", "–"),
            case.get("higher than ours", "–"),
            seconds(case["seconds"] / case["trials"]) if "seconds" in case else "–",
        ]
        for name, case in peers.items()
    ]  # fmt: skip
    along = [
        [
            case["what"], f"{case['rows']:,}", seconds(case["median"]), seconds(case["cold"]),
            of_peer(case["nlme"], case["median"]),
        ]
        for case in chains["cases"]
    ]  # fmt: skip
    return f"""## Covariance structures

Trials of ten visits with an unstructured covariance and 23 coefficients, 14 % of the visits missing or half of the
subjects dropping out, and a Gaussian process across sites. Cold is the first fit of that case in one process. Peers are
timed once; their times over ours, warm, stand in parentheses.

{table(["case", "rows", "ours", "cold", "nlme", "glmmTMB"], rows)}

Trials of 100 subjects and six visits, of whom half drop out, with an unstructured covariance: fits
with an optimum by their own word, and how many have, whatever that says, the deviance of ours to 1e-4, one below or one
above.

{table(["part", "trials", "with an optimum", "as ours", "lower", "higher", "a fit"], found)}

{machine(results, "structures")}

One series along a Markov chain; nlme's `gls` with `corCAR1` needs n × n matrices.

{table(["case", "rows", "ours", "cold", "nlme"], along)}

{machine(chains, "chains")}
"""


def glmm() -> str:
    """Generalized models, where they were measured."""
    if not (RESULTS / "glmm.json").exists():
        return ""
    results = load("glmm")
    many = results["many"]
    each = many["per response"]
    rows = [
        [
            f"{many['responses']:,} taxa, nbinom2, each", seconds(each), seconds(many["cold"]),
            *(of_peer(many.get(peer), each) for peer in ("glmmTMB", "glmer", "gpboost")),
        ],
        *(
            [
                f"{name}: `{case['formula']}`, {case['family']}", seconds(case["median"]), seconds(case["cold"]),
                *(of_peer(case.get(peer), case["median"]) for peer in ("glmmTMB", "glmer", "gpboost")),
            ]
            for name, case in results["single"].items()
        ),
    ]  # fmt: skip
    return f"""## Generalized models

By Laplace's approximation, from formula to result; the taxa have 320 rows of 80 subjects, and ours are fitted in one
call, with standard errors and a certificate for each, {many["median"]:.3g} seconds in all. Peers fit one after the
other, of the taxa the first twenty; their times over ours stand in parentheses. Cold is the first call of all, with
everything compiled.

{table(["case", "ours", "cold", "glmmTMB", "glmer", "gpboost"], rows)}

Our log-likelihoods of the twenty taxa are {many["glmmTMB"]["ours above"][0]:.1e} to
{many["glmmTMB"]["ours above"][1]:.1e} above glmmTMB's.

{machine(results, "glmm")}
"""


def gpu() -> str:
    """Large models on a GPU, where they were measured."""
    if not (RESULTS / "gpu.json").exists():
        return ""
    results = load("gpu")
    rows = [
        [
            name,
            ", ".join(f"{case[size]:,} {size}" for size in list(case)[: list(case).index("cold")]),
            seconds(case["warm"]),
            seconds(case["cold"]),
            ratio(case["times the floor"]),
        ]
        for name, case in results["cases"].items()
    ]
    return f"""## On a GPU

Beside a floor: operations that no method can do without, and what has to be sent, at the device's own measured rates.

{table(["case", "size", "ours", "cold", "ours / floor"], rows)}

{machine(results, "gpu")}
"""


def page() -> str:
    """The whole page."""
    sections = (single, first_call, inference, coverage, recovery, many, kinship, scan, nested, structures, glmm, gpu)
    return "\n".join([HEAD, *(section() for section in sections)])


if __name__ == "__main__":
    print(page())
