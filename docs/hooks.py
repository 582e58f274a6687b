"""What the site is built from besides its Markdown files: notebooks, benchmark results, formulas as MathML."""

import html
import re
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import benchmarks  # noqa: E402

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
CELL = re.compile(r"<td[^>]*>.*?</td>", re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)


def on_config(config):
    """Put the glossary and the design decisions at the end of the navigation."""
    about = next(entry["About"] for entry in config.nav if "About" in entry)
    about.append({"Glossary": "glossary.md"})
    decisions = [f"decisions/{path.name}" for path in sorted((HERE / "decisions").glob("*.md"))]
    about.append({"Design decisions": decisions})
    return config


@event_priority(100)  # before the plugin that renders notebooks looks for them
def on_files(files, config):
    """Add the notebooks of the repository, and the page of benchmarks written from their results."""
    for path in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        files.append(File(f"notebooks/{path.name}", str(HERE.parent), config.site_dir, config.use_directory_urls))
    files.append(File.generated(config, "benchmarks.md", content=benchmarks.page()))
    return files


def on_page_content(content, page, config, files):
    """Write formulas as MathML, which browsers show without a script, and bars in tables without their backslash."""
    content = CELL.sub(lambda found: found[0].replace("\\|", "|"), content)
    content = INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    return BLOCK.sub(lambda found: convert(html.unescape(found[1]), display="block"), content)
