"""Run the example notebook from first cell to last."""

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

STUDIES = Path(__file__).parents[1] / "studies"


def shown(notebook, kind):
    return [
        output.data[kind]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def test_the_notebook_runs_and_shows_what_it_keeps(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    shutil.copytree(STUDIES, tmp_path / "studies", ignore=shutil.ignore_patterns("runs"))
    folder = tmp_path / "studies" / "examples"
    kept = nbformat.read(folder / "notebook.ipynb", 4)
    again = nbformat.read(folder / "notebook.ipynb", 4)
    nbclient.NotebookClient(again, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    probe, outcome = shown(again, "text/html")
    assert "Range of ε: 1e-6 to 1e-2" in probe
    assert "accuracy" in outcome
    assert len(shown(kept, "text/html")) == 2
    assert shown(kept, "text/html")[0] == probe
    assert [trace["type"] for trace in shown(again, "application/vnd.plotly.v1+json")[0]["data"]]
    assert (folder / "runs" / "notebook" / "report.html").exists()
