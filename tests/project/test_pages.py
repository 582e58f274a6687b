"""The examples of the README and of the site's pages run in their order, and print what stands below them."""

import re

import matplotlib.pyplot as plt
import pytest

from jaxlmm._util.programs import forget, made_ready

from pages import PAGES, ROOT, examples, name_of, run

COMMANDS = """```
python -m pip install . && jaxlmm demo            # fits the twin study and the sleep study, prints both summaries, saves a picture of the family effects
python -m pip install -e ".[test]" && python -m pytest -n 2 --dist loadfile
```"""  # noqa: E501
LARGEST_README = 8192
"""Bytes: the manual is the site."""

MOST_PROGRAMS = 14
"""Compiled programs of the README's examples in one process: 3 of a fit, 4 of many responses, 4 of a scan,
3 of counts."""


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=name_of)
def test_examples_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = run(page)
    plt.close("all")
    assert shown
    for printed, expected in shown:
        assert printed == expected


def test_the_readme_is_short_and_begins_with_its_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= LARGEST_README
    assert text.startswith(f"# jaxlmm\n\n{COMMANDS}\n")
    assert sum(bool(expected) for _, expected in examples(ROOT / "README.md")) >= 2


def test_the_readme_makes_few_programs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forget()
    before = made_ready()
    run(ROOT / "README.md")
    assert made_ready() - before <= MOST_PROGRAMS


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(file):
    text = (ROOT / file).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
