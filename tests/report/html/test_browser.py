"""The page in a real browser: figures are drawn, the console stays empty, injected scripts do not run."""

import shutil
import subprocess

import optuna
import pytest

from epsearch.report.html.inspection import inspection
from tests.report import hostile, sample, test_extremes
from tests.report.served import served

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def opened(address, profile):
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
    done = subprocess.run([CHROMIUM, *flags, address], capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def unfolded(report):
    """A copy of the page with every part open, as after clicks on them."""
    path = report.with_name("unfolded.html")
    opening = "<script>document.querySelectorAll('details').forEach((fold) => { fold.open = true; })</script>"
    path.write_text(report.read_text(encoding="utf-8").replace("</body>", f"{opening}</body>"), encoding="utf-8")
    return path.as_uri()


def test_only_the_first_screen_is_drawn_at_once(tmp_path):
    dom, console = opened(sample.write(sample.outcome(tmp_path)).as_uri(), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 1


@pytest.mark.parametrize(
    "study",
    [
        sample.outcome,
        pytest.param(lambda path: hostile.outcome(path, hostile.SCRIPT), marks=pytest.mark.thorough, id="hostile"),
    ],
)
def test_the_page_draws_all_figures(tmp_path, study):
    dom, console = opened(unfolded(sample.write(study(tmp_path))), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 7
    assert dom.count('class="main-svg"') >= 7


@pytest.mark.thorough
def test_the_progress_of_a_recorded_training_is_drawn(tmp_path):
    study = sample.outcome(tmp_path, history=sample.history())
    dom, console = opened(unfolded(sample.write(study)), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 9
    assert "epoch 10 ·" in dom


@pytest.mark.thorough
@pytest.mark.parametrize("at", [test_extremes.GRID, test_extremes.DRAWN], ids=["grid", "drawn"])
def test_values_near_the_limit_of_floats_are_drawn(tmp_path, at):
    trials = test_extremes.trials_of(test_extremes.VALUES, *at)
    dom, console = opened(unfolded(sample.write(sample.outcome(tmp_path, trials=trials))), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 7


@pytest.mark.thorough
def test_a_figure_alone_finds_its_library(tmp_path):
    sample.write(sample.outcome(tmp_path))
    dom, console = opened((tmp_path / "figures" / "heatmap-lr-eps.html").as_uri(), tmp_path / "profile")
    assert console == []
    assert "0.9120" in dom


@pytest.mark.thorough
def test_optunas_dashboard_draws_the_heatmaps(tmp_path):
    pytest.importorskip("optuna_dashboard")
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="study", storage=url)
    outcome = sample.outcome(tmp_path)
    space = {"lr": optuna.distributions.FloatDistribution(1e-5, 1, log=True)}
    study.add_trials(
        optuna.create_trial(value=trial.value, params={"lr": trial.lr}, distributions=space)
        for trial in outcome.trials
        if trial.state == "complete"
    )
    sample.publish(study, outcome)
    with served(url) as address:
        dom, console = opened(f"{address}dashboard/studies/{study._study_id}", tmp_path / "profile")
    assert console == []
    assert dom.count("0.9120") >= 2  # the best cell of both heatmaps
    assert "not run yet" in dom


@pytest.mark.thorough
def test_the_console_is_really_read(tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<script>throw Error('seen')</script>", encoding="utf-8")
    assert "seen" in "".join(opened(broken.as_uri(), tmp_path / "profile")[1])


def test_the_page_of_an_inspection_draws_its_figure(tmp_path):
    result = sample.outcome(tmp_path).probe
    page = tmp_path / "inspection.html"
    page.write_text(inspection(result, "checkpoint-500"))
    dom, console = opened(page.as_uri(), tmp_path / "profile")
    assert console == []
    assert dom.count("figure js-plotly-plot") == 1
    assert "checkpoint-500" in dom
