import pkgutil
import subprocess
import sys

import pytest
from plotly.offline import get_plotlyjs

import epsearch.report
from epsearch.report.output import write as module
from tests.report import hostile, sample


def test_files(outcome):
    report = sample.write(outcome)
    assert report == outcome.directory / "report.html"
    there = sorted(str(path.relative_to(outcome.directory)) for path in outcome.directory.rglob("*") if path.is_file())
    assert there == [
        "figures/eps-range.html",
        "figures/heatmap-eps-beta2.html",
        "figures/heatmap-lr-eps.html",
        "figures/landscape.html",
        "figures/plotly.min.js",
        "figures/probe-histogram.html",
        "figures/sgd-momentum-lr.html",
        "figures/trials-in-order.html",
        "report.html",
        "trials.csv",
    ]
    figure = (outcome.directory / "figures" / "heatmap-lr-eps.html").read_text(encoding="utf-8")
    assert 'src="plotly.min.js"' in figure
    assert len(figure) < 100_000


def test_the_same_study_gives_the_same_files(outcome):
    first = sample.write(outcome).read_bytes()
    assert sample.write(outcome).read_bytes() == first


def test_an_older_plotly_is_replaced(outcome):
    library = outcome.directory / "figures" / "plotly.min.js"
    library.parent.mkdir()
    library.write_text("old")
    sample.write(outcome)
    assert library.read_text(encoding="utf-8") == get_plotlyjs()


def test_a_full_disk_leaves_the_old_report_whole(outcome, monkeypatch):
    report = sample.write(outcome)
    before = report.read_bytes()

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        sample.write(outcome.model_copy(update={"name": "other"}))
    assert report.read_bytes() == before


def test_an_empty_study_has_a_report(tmp_path):
    assert sample.write(sample.outcome(tmp_path, trials=[], probe=None)).exists()


@pytest.mark.parametrize("name", hostile.NAMES)
def test_hostile_names_can_be_written(tmp_path, name):
    sample.write(hostile.outcome(tmp_path, name))
    for path in tmp_path.rglob("*.html"):
        assert "<script>alert" not in path.read_text(encoding="utf-8")


def test_importing_the_report_loads_neither_torch_nor_optuna_nor_ray():
    walked = pkgutil.walk_packages(epsearch.report.__path__, "epsearch.report.")
    modules = [module.name for module in walked if not module.ispkg]
    assert len(modules) > 25
    code = "; ".join(f"import {name}" for name in modules)
    check = f"import sys; {code}; print({{'torch', 'optuna', 'optuna_dashboard', 'ray'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
