"""The wheel, installed outside the checkout: everything it needs is in it, and the quickstart runs."""

from __future__ import annotations

import csv
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPOSITORY / "epsearch", source / "epsearch", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip("wheel", source, "--no-build-isolation", "--wheel-dir", out)
    (built,) = out.iterdir()
    return built


def pip(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--no-deps", "--no-index", "--quiet"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, which borrows all other packages from this one."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = folder / "site"
    pip("install", wheel, "--target", packages, "--no-compile")
    # Path files are not read in a folder that a path file adds: this environment's own epsearch is not seen.
    (found,) = folder.glob("lib/python*/site-packages")
    (found / "borrowed.pth").write_text("\n".join([str(packages), *site.getsitepackages()]))
    return folder / "bin"


def run(bare: Path, folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([bare / "python", *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("epsearch/")}
    package = REPOSITORY / "epsearch"
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert packed == {str(path.relative_to(REPOSITORY)) for path in files}
    assert {"epsearch/py.typed", "epsearch/study/template.yaml", "epsearch/study/study.schema.json"} <= packed


@pytest.mark.thorough
def test_the_quickstart_runs_from_the_wheel(bare: Path, tmp_path: Path) -> None:
    where = run(bare, tmp_path, "-c", "import epsearch; print(epsearch.__file__)")
    assert where.strip() == str(bare.parent / "site" / "epsearch" / "__init__.py")
    run(bare, tmp_path, "-m", "epsearch", "init", "study.yaml")
    assert "trials" in run(bare, tmp_path, "-m", "epsearch", "check", "study.yaml")
    shutil.copy(REPOSITORY / "studies" / "quickstart.yaml", tmp_path)
    run(bare, tmp_path, "-m", "epsearch", "run", "quickstart.yaml")
    results = tmp_path / "runs" / "quickstart"
    assert (results / "report.html").stat().st_size > 1e6
    with (results / "trials.csv").open() as file:
        assert {row["state"] for row in csv.DictReader(file)} == {"complete"}
