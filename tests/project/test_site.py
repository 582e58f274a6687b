"""The site builds without a warning, from the repository alone, and has an entry for every public name."""

import json
import os
import re
import subprocess
import sys

import pytest

import jaxlmm as lmm

from pages import ROOT

RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; whoever builds it has no network."""
    out = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr
    return out


def public_names():
    names = (name for name in lmm.__all__ if name[0] != "_" and not hasattr(getattr(lmm, name), "__path__"))
    yield from (f"jaxlmm.{name}" for name in names)
    for module in (lmm.covariance, lmm.genetics, lmm.solvers):
        yield from (f"{module.__name__}.{name}" for name in module.__all__)
    for module in (lmm.plot, lmm.datasets, lmm.testing):
        own = (name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__)
        yield from (f"{module.__name__}.{name}" for name in own if not name.startswith("_"))


def test_every_public_name_has_an_entry(site):
    entries = set()
    for page in (site / "api").rglob("index.html"):
        entries |= set(re.findall(r'id="(jaxlmm[\w.]*)"', page.read_text()))
    modules = {"jaxlmm.plot", "jaxlmm.testing"}  # their functions have entries
    missing = set(public_names()) - modules - entries
    assert not missing
    for owner in (lmm.Fit, lmm.FitMany, lmm.Scan):
        methods = {name for name, value in vars(owner).items() if callable(value) and not name.startswith("_")}
        assert {f"jaxlmm.{owner.__name__}.{name}" for name in methods} <= entries


def test_benchmarks_say_where_they_were_measured(site):
    text = (site / "benchmarks" / "index.html").read_text()
    for path in RESULTS.glob("*.json"):
        assert f"benchmarks/{path.stem}.py" in text
        results = json.loads(path.read_text())
        assert results.get("jax", results.get("versions", {}).get("jax")) in text
        assert results.get("device", "") in text


def test_pages_fetch_nothing_from_elsewhere(site):
    """Fonts, styles and images are the site's own; notebooks alone name a script that they do not load."""
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:link|script|img)[^>]*>", page.read_text()):
            source = re.search(r'(?:src|href)="(https?:[^"]*)"', tag)
            assert source is None, (page, tag)


def test_ratios_of_the_readme_are_those_of_the_results():
    single = json.loads((RESULTS / "single_fit.json").read_text())["models"].values()
    many = json.loads((RESULTS / "many.json").read_text())["cases"].values()
    scan = json.loads((RESULTS / "scan.json").read_text())["cases"]["a"]
    rows = dict(
        re.findall(r"^\| ([\w-]+)[^|]*\|[^|]*\|[^|]*\| ([^|]*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    )

    def span(cases, program, what):
        ratios = [case["ratios: theirs / ours"].get(program, {}).get(what) for case in cases]
        ends = (function(ratio for ratio in ratios if ratio) for function in (min, max))
        return " to ".join(f"{end:,.0f}" if end >= 100 else f"{end:.2g}" for end in ends)

    for program in ("lme4", "mixedlm"):
        assert rows[program].startswith(span(single, program, "to formula to Fit"))
        assert f"{span(many, program, 'to the table')} (thousands)" in rows[program]
    assert rows["statsmodels"] == span(single, "statsmodels", "to formula to Fit")
    gemma, fastlmm = scan["times_faster_than_gemma"], scan["fastlmm_seconds"] / scan["scan"]["seconds"]
    assert rows["GEMMA"] == f"{gemma:.2g} (GEMMA), {fastlmm:.2g} (FaST-LMM)"


def test_counts_on_the_page_of_tests():
    text = (ROOT / "docs" / "trust.md").read_text()
    assert f"| {len(list((ROOT / 'tests' / 'reference' / 'fits').glob('*.json')))} fits of single models" in text
