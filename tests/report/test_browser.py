"""The page in a real browser: it draws, says nothing in the console and runs nobody's script."""

import shutil
import subprocess

import pytest

from epsearch.report import write_report

from . import hostile, sample

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def opened(path, profile):
    """The DOM after the scripts ran, and the lines of the console."""
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=10000",
        "--dump-dom",
    ]
    done = subprocess.run([CHROMIUM, *flags, path.as_uri()], capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("study", [sample.outcome, lambda path: hostile.outcome(path, hostile.SCRIPT)])
def test_the_page_draws_all_figures(tmp_path, study):
    dom, console = opened(write_report(study(tmp_path)), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 4
    assert dom.count('class="main-svg"') >= 4


def test_the_progress_of_a_recorded_training_is_drawn(tmp_path):
    study = sample.outcome(tmp_path, progress=sample.history())
    dom, console = opened(write_report(study), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 6
    assert "epoch 10 ·" in dom


def test_a_figure_alone_finds_its_library(tmp_path):
    write_report(sample.outcome(tmp_path))
    dom, console = opened(tmp_path / "figures" / "heatmap-lr-eps.html", tmp_path / "profile")
    assert console == []
    assert "0.9120" in dom


def test_the_console_is_really_read(tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<script>throw Error('seen')</script>", encoding="utf-8")
    assert "seen" in "".join(opened(broken, tmp_path / "profile")[1])
