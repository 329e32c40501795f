"""The worked examples of CONTRIBUTING.md: all of them are added to a copy of the package, and each is run there."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]


class Example(NamedTuple):
    """A block of code: a new entry of `table` in a file, or, where `table` is empty, a file or an addition to one."""

    path: str
    table: str
    code: str


def examples(page: str) -> list[Example]:
    blocks = re.findall(r"^```python\n# (\S+\.py)(?:, in ([^\n]+))?\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [Example(*block) for block in blocks]


EXAMPLES = examples((REPOSITORY / "CONTRIBUTING.md").read_text())

STUDIES: dict[str, dict[str, Any]] = {
    "tabular": {"workload": {"name": "tabular", "dataset": "moons", "model": "wide"}},
    "curves": {"workload": {"name": "curves", "dataset": "sine", "model": "small"}},
}

CHECK = """
    import json, sys

    import torch

    import epsearch

    def loss(model, x):
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    found = {"package": epsearch.__file__, "ranges": {}, "studies": {}}
    for name in sys.argv[1].split(","):
        torch.manual_seed(0)
        model, x = torch.nn.Linear(8, 1), torch.randn(64, 8)
        optimizer = epsearch.create_optimizer(name, model.parameters(), lr=1e-3)
        result = epsearch.probe(model, [x] * 8, loss, optimizer)
        found["ranges"][name] = result.range.lower, result.range.upper
    for name in sys.argv[2:]:
        outcome = epsearch.run(f"{name}.yaml", directory=name)
        found["studies"][name] = [trial.state for trial in outcome.trials]
    print(json.dumps(found))
    """


def literal(tree: ast.Module, table: str) -> ast.expr:
    """The dict or sequence that `table` names in a module, such as `ROWS` or `ROWS["key"].argument`."""

    def find(node: ast.expr) -> ast.expr:
        match node:
            case ast.Name(id=name):
                for statement in tree.body:
                    match statement:
                        case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                            return value
                        case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                            return value
            case ast.Subscript(value=inner, slice=ast.Constant(value=wanted)):
                rows = find(inner)
                assert isinstance(rows, ast.Dict)
                for key, value in zip(rows.keys, rows.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == wanted:
                        return value
            case ast.Attribute(value=inner, attr=wanted):
                call = find(inner)
                assert isinstance(call, ast.Call)
                for keyword in call.keywords:
                    if keyword.arg == wanted:
                        return keyword.value
        raise AssertionError(f"there is no {table}")

    return find(ast.parse(table, mode="eval").body)


def with_entry(source: str, table: str, entry: str) -> str:
    """The source with one more entry at the end of a table."""
    end = literal(ast.parse(source), table)
    lines = source.splitlines(keepends=True)
    assert end.end_lineno is not None
    assert end.end_col_offset is not None
    # Columns are counted in bytes.
    last = lines[end.end_lineno - 1].encode()
    before, closing = last[: end.end_col_offset - 1].decode(), last[end.end_col_offset - 1 :].decode()
    assert closing[0] in "]})"
    return "".join([*lines[: end.end_lineno - 1], before, "\n", entry, closing, *lines[end.end_lineno :]])


def apply(example: Example, root: Path) -> None:
    path = root / example.path
    if example.table:
        entry = f"{example.code.rstrip().removesuffix(',')},\n"
        path.write_text(with_entry(path.read_text(), example.table, entry))
        return
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text(example.code)
    elif example.code.lstrip().startswith("from "):
        first = "from __future__ import annotations\n"
        path.write_text(path.read_text().replace(first, f"{first}\n{example.code}", 1))
    else:
        path.write_text(f"{path.read_text()}\n\n{example.code}")


class Extended(NamedTuple):
    """What ran in the extended copy, and the folder of its runs."""

    root: Path
    found: dict[str, Any]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """All studies go through the new engine, by which they need one process in all."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(REPOSITORY / "epsearch", root / "epsearch", ignore=shutil.ignore_patterns("__pycache__"))
    for example in EXAMPLES:
        apply(example, root)
    for name, sections in STUDIES.items():
        study = {
            "name": name,
            "training": {"epochs": 1},
            "search": {"eps": "grid", "lr": [1e-3, 1e-2], "beta2": 0.9, "baselines": []},
            "engine": {"name": "sequential"},
            **sections,
        }
        (root / f"{name}.yaml").write_text(yaml.safe_dump(study))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHECK), "nadamw,rmsprop_inside", *STUDIES],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["package"] == str(root / "epsearch" / "__init__.py")
    return Extended(root, found)


def test_no_example_is_overlooked() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    assert len(EXAMPLES) == page.count("```python\n") > 0


def test_an_optimizer_can_be_probed(extended: Extended) -> None:
    for lower, upper in extended.found["ranges"].values():
        assert 0 < lower < upper


@pytest.mark.parametrize("study", STUDIES)
def test_a_workload_through_an_engine(extended: Extended, study: str) -> None:
    """A dataset and a model of a kind that exists, and another kind; both through the new engine."""
    states = extended.found["studies"][study]
    assert len(states) >= 2
    assert set(states) == {"complete"}


@pytest.mark.parametrize("study", STUDIES)
def test_a_figure_in_the_report(extended: Extended, study: str) -> None:
    assert 'id="values"' in (extended.root / study / "report.html").read_text()
    assert (extended.root / study / "figures" / "values.html").exists()


def test_names_are_listed(extended: Extended) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "epsearch", "list"],
        cwd=extended.root,
        env={**os.environ, "PYTHONPATH": str(extended.root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name in ("nadamw", "rmsprop_inside", "moons", "wide", "curves", "sequential"):
        assert re.search(rf"\b{name}\b", done.stdout), name
