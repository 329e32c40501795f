"""The examples of users' own scripts, run as they are on a few real images."""

import ast
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from epsearch.workloads.image_data import data_folder

EXAMPLES = Path(__file__).parents[1] / "studies" / "examples"
IMAGES_OF_A_CLASS = 7


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
