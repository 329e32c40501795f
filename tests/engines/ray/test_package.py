"""What is packed for the machines of a cluster."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest

from epsearch.engines.ray.package import runtime_environment

packaging = pytest.importorskip("ray._private.runtime_env.packaging")


def test_a_package_is_not_packed_into_itself(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ray writes it below its session's folder or TMPDIR, which may be in the study file's folder."""
    (tmp_path / "mine.py").write_text("x = 1\n")
    for own in ("session_of_mine", "runs", ".venv"):
        (tmp_path / own).mkdir()
        (tmp_path / own / "notes.txt").write_text("kept, or not")
    for place in (tmp_path / "ray" / "session_2026-11-24_11-17-33_123456_42" / "runtime_resources", tmp_path / "tmp"):
        place.mkdir(parents=True)
        for name in ("_ray_pkg_0123.zip", "1700_42__ray_pkg_0123.zip"):  # as the job API and a driver name it
            (place / name).write_bytes(bytes(1000))
    excludes = runtime_environment(tmp_path)["excludes"]
    # Elsewhere: were it packed into itself, it would fill the disk.
    package = tmp_path_factory.mktemp("elsewhere") / "package.zip"
    packaging.create_package(str(tmp_path), package, include_gitignore=True, excludes=excludes)
    with ZipFile(package) as content:
        files = {name for name in content.namelist() if not name.endswith("/")}
    assert files == {"mine.py", "session_of_mine/notes.txt"}
