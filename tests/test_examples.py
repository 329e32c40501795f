"""The examples of users' own code, run as they are: a script on a few real images, and studies, made shorter."""

import ast
import csv
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from torch.utils.data import Subset

from epsearch import ProbeResult
from epsearch.core.errors import DriverGone
from epsearch.records.trial import Cell
from epsearch.study.file import load_study
from epsearch.training.tasks import StudyTasks
from epsearch.workloads.data_folder import data_folder
from tests.conftest import EPSEARCH

EXAMPLES = Path(__file__).parents[1] / "studies" / "examples"
IMAGES_OF_A_CLASS = 7

STUDIES = {
    "own_loop": ["training.epochs=2", "search.lr=1e-2"],
    "own_workload": ["training.epochs=4", "search.lr=1e-2", "search.sgd_lr=1e-2"],
    "own_lightning": ["training.epochs=2", "search.lr=1e-2", "search.eps=endpoints"],
    "own_transformers": ["training.epochs=3", "search.lr=1e-3", "search.eps=endpoints", "engine.sampler=grid"],
}
"""Each with what makes it shorter; one process trains."""
SHORTER = ["engine.workers=1", "engine.pruner=none", "engine.trials=null"]


@pytest.fixture
def cifar10(tmp_path):
    """A folder with `cifar10/train`: real images, a few of each class."""
    images = data_folder() / "cifar10" / "train"
    if not images.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"no folder of CIFAR-10 images at {images}")
    for kind in images.iterdir():
        folder = tmp_path / "cifar10" / "train" / kind.name
        folder.mkdir(parents=True)
        for image in islice(sorted(kind.iterdir()), IMAGES_OF_A_CLASS):
            (folder / image.name).symlink_to(image)
    return tmp_path


@pytest.mark.thorough
def test_probe_resnet(cifar10):
    script = EXAMPLES / "probe_resnet.py"
    done = subprocess.run([sys.executable, str(script)], cwd=cifar10, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    tried = [float(eps) for eps in re.findall(r"'eps': ([\d.e-]+)", done.stderr)]
    assert len(tried) >= 5
    assert all(1e-12 <= eps <= 10 for eps in tried)


def test_probe_resnet_is_short():
    source = (EXAMPLES / "probe_resnet.py").read_text()
    lines = {line for node in ast.parse(source).body[1:] for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    assert len([line for line in lines if source.splitlines()[line - 1].strip()]) < 15


def epsearch(command, name, folder):
    """The study of that name, from a folder that is not its own."""
    if name in ("own_lightning", "own_transformers"):
        pytest.importorskip(name.removeprefix("own_"))
    changes = [argument for change in STUDIES[name] + SHORTER for argument in ("--set", change)]
    arguments = [command, str(EXAMPLES / f"{name}.yaml"), "--dir", "run", *changes]
    return subprocess.run([*EPSEARCH, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.thorough
@pytest.mark.parametrize("name", STUDIES)
def test_study(name, tmp_path):
    before = {path for path in EXAMPLES.rglob("*") if "__pycache__" not in path.parts}
    for command in ("probe", "run"):
        done = epsearch(command, name, tmp_path)
        assert done.returncode == 0, done.stderr
        probe = ProbeResult.load(tmp_path / "run" / "probe.json")
        assert 1e-6 <= probe.range.lower < probe.range.upper <= 1
        # The steps of one epoch are counted, whoever's loop makes them.
        assert 20 <= probe.settings["batches_per_epoch"] == probe.settings["steps"] <= 43
    with (tmp_path / "run" / "trials.csv").open() as file:
        trials = list(csv.DictReader(file))
    assert len(trials) >= 2
    assert {trial["state"] for trial in trials} == {"complete"}
    values = [float(trial["value"]) for trial in trials]
    # A tenth of the digits are right by chance; who predicts the mean has a loss of 1.
    assert min(values) < 0.7 if name == "own_workload" else max(values) > 0.4
    # Nothing is left beside the run directory.
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path for path in EXAMPLES.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.mark.thorough
@pytest.mark.parametrize("name", STUDIES)
def test_learning_rates_are_tested(name, monkeypatch):
    """In each loop as it is, with its own schedule, callbacks and evaluation."""
    if name in ("own_lightning", "own_transformers"):
        pytest.importorskip(name.removeprefix("own_"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    test = StudyTasks(load_study(EXAMPLES / f"{name}.yaml", ["training.device=cpu"])).lr_test(1e-5)
    assert 50 < len(test.lrs) <= 100
    assert 1e-4 < test.suggestion < 1e-1


@pytest.mark.thorough
def test_own_loop_goes_on_after_a_lost_machine(tmp_path, monkeypatch):
    def values(path, lost_at=None):
        reported = []

        def report(index, seed_index, value):
            reported.append(value)
            if len(reported) == lost_at:
                raise DriverGone
            return True

        (ending,) = tasks.trials([Cell(optimizer="adam", lr=1e-2, eps=1e-4, beta2=0.99)], report, [path])
        assert ending.kind == "finished"
        return reported

    monkeypatch.setattr(sys, "path", [*sys.path])
    changes = ["training.epochs=3", "training.checkpoint_every=0", "training.device=cpu"]
    tasks = StudyTasks(load_study(EXAMPLES / "own_loop.yaml", changes))
    own_loop = sys.modules["own_loop"]
    monkeypatch.setattr(own_loop, "TRAINING", Subset(own_loop.TRAINING, range(320)))
    whole = values(tmp_path / "whole.pt")
    with pytest.raises(DriverGone):
        values(tmp_path / "lost.pt", lost_at=3)
    trained = []
    evaluate = own_loop.accuracy
    monkeypatch.setattr(own_loop, "accuracy", lambda *given: trained.append(given) or evaluate(*given))
    assert values(tmp_path / "lost.pt") == whole
    assert len(trained) == 1, "the first two epochs are not trained again"
