"""Imports point one way: from the command line down to the core."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "epsearch"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("records",),
    ("registry",),
    ("study",),
    ("optimizers",),
    ("probing", "workloads"),
    ("training", "inspecting"),
    ("search",),
    ("report", "engines"),
    ("integrations",),
    ("redrawing",),
    ("pipeline",),
    ("cli",),
    ("__main__", "__init__"),
)
"""Each imports only from the layers before it; the folders of one layer do not import each other."""

UPWARD = {
    ("records.outcome", "report.html.notebook"),
    ("records.lr_test", "report.figures.lr_test"),
    ("records.probe", "report.html.notebook"),
    ("records.probe", "report.figures.histogram"),
    ("records.probe", "report.figures.history"),
}
"""The exceptions: a record imports the report inside its `plot()` or `_repr_html_`, when that is called."""


def imports() -> set[tuple[str, str]]:
    """Every import of one file of the package by another, by module, wherever in the file it stands."""
    files = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {f"epsearch.{name}".removesuffix(".__init__"): name for name in files}
    found = set()
    for importer, path in files.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}, line {node.lineno}: write an absolute import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in modules else node.module or "" for name in names]
            found |= {(importer, modules[name]) for name in names if name in modules}
    return found


def test_imports_point_one_way() -> None:
    layer = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
    upward = set()
    for importer, imported in imports():
        of, to = importer.partition(".")[0], imported.partition(".")[0]
        assert {of, to} <= layer.keys(), f"{importer} imports {imported}: add the new folder to LAYERS in {__file__}"
        if of != to and layer[of] <= layer[to]:
            upward.add((importer, imported))
    order = " < ".join(", ".join(folders) for folders in LAYERS)
    wrong = "\n".join(f"  {importer} imports {imported}" for importer, imported in sorted(upward - UPWARD))
    assert not wrong, f"a module imports only what is left of its folder in {order}; but:\n{wrong}"
    assert upward == UPWARD, f"remove from UPWARD, these imports are gone: {UPWARD - upward}"


def test_no_cycles_between_files() -> None:
    graph: dict[str, set[str]] = {}
    for importer, imported in imports() - UPWARD:
        graph.setdefault(importer, set()).add(imported)
    graphlib.TopologicalSorter(graph).prepare()  # a CycleError names the files
