"""Notebooks are code: each is executed, and its own assertions must hold."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("assert " in source for source in sources)
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_there_are_notebooks():
    assert list(FOLDER.glob("*.ipynb"))
