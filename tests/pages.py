"""The README and the pages of the site: their examples, run in their order, and what these print."""

import contextlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts)]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def examples(page: Path) -> list[tuple[str, str]]:
    """Each block of Python and what the block below it says that it prints (empty where there is none)."""
    return BLOCK.findall(page.read_text())


def run(page: Path) -> list[tuple[list[str], list[str]]]:
    """Run a page's examples in one namespace: for each that shows output, the printed and the expected lines."""
    names: dict = {}
    shown = []
    for code, expected in examples(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name_of(page), "exec"), names)
        if expected:
            shown.append(tuple(lines(text) for text in (printed.getvalue(), expected)))
    return shown


def lines(text: str) -> list[str]:
    """The lines of a text without spaces at their ends."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]
