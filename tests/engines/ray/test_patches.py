"""The range of Ray releases that the patches are for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

from epsearch.engines.ray import patches  # noqa: E402

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_pyproject_requires_the_same_range() -> None:
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    oldest, below = (".".join(map(str, version)) for version in (patches.OLDEST, patches.BELOW))
    assert extras["ray"] == [f"ray[default,tune]>={oldest},<{below}"]


@pytest.mark.parametrize("version", ["2.50.0", "2.60.3", "2.60.0rc1"])
def test_supported(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", version)
    assert patches.unsupported() is None


@pytest.mark.parametrize("version", ["2.49.2", "2.61.0", "3.0.0.dev0"])
def test_outside_the_range_nothing_is_patched(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution import tune_controller

    monkeypatch.setattr(ray, "__version__", version)
    message = patches.unsupported()
    assert message is not None
    assert message.startswith(f"Ray {version} is outside the supported range (>=2.50,<2.61).")
    before = ray._private.worker.print_to_stdstream
    patches.silence_raylet_logs()
    assert ray._private.worker.print_to_stdstream is before
    with patches.out_of_memory_as_death():
        assert tune_controller.RayActorError is ray.exceptions.RayActorError


def test_within_the_range_out_of_memory_counts_as_a_death() -> None:
    from ray.tune.execution import tune_controller

    if not patches.supported():
        pytest.skip("the installed Ray is outside the range")
    with patches.out_of_memory_as_death():
        assert ray.exceptions.OutOfMemoryError in tune_controller.RayActorError
    assert tune_controller.RayActorError is ray.exceptions.RayActorError
