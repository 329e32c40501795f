"""The run directory: one driver at a time, one study for good, and no file of the user's lost."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from sqlalchemy import make_url

from epsearch.core.errors import UserError
from epsearch.core.messages import mask_url
from epsearch.study.config import StudyConfig
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study

VISION = "workload: {name: vision, dataset: digits, model: mlp}\n"
TPE = ("engine.sampler=tpe", "engine.trials=5", "search.eps=continuous")


def study(folder: Path, *overrides: str) -> StudyConfig:
    path = folder / "s.yaml"
    path.write_text(VISION)
    return load_study(path, overrides)


def take(folder: Path, *overrides: str) -> None:
    with RunDirectory(folder / "run").taken_for(study(folder, *overrides)):
        pass


def test_the_study_is_kept(tmp_path: Path) -> None:
    place = RunDirectory(tmp_path / "new" / "run")
    config = study(tmp_path, "training.epochs=3")
    with place.taken_for(config):
        kept = place.load()
    assert kept.model_dump(exclude={"metric"}) == config.model_dump(exclude={"metric"})
    assert kept.goal == config.goal


def test_a_password_is_not_kept(tmp_path: Path) -> None:
    take(tmp_path, "engine.storage=postgresql://u:secret@h/d")
    for path in (tmp_path / "run").iterdir():
        assert "secret" not in path.read_text()


@pytest.mark.parametrize(
    ("before", "after", "differences"),
    [
        (["training.epochs=3"], ["training.epochs=4"], ["training.epochs: was 3, is 4"]),
        (
            ["optimizer.name=adam"],
            ["optimizer.name=adamw", "probe.lr=0.1"],
            ['optimizer.name: was "adam", is "adamw"', "probe.lr: was 0.001, is 0.1"],
        ),
        ([], ["probe.range=paper"], ['probe.range: was "pooled", is "paper"']),
        ([], ["probe.exclude=[a.*]"], ['probe.exclude: was [], is ["a.*"]']),
        # As a version resolved it that trained adamw without decay unless told otherwise.
        (
            ["optimizer.name=adamw", "optimizer.weight_decay=0"],
            ["optimizer.name=adamw"],
            ["optimizer.weight_decay: was 0.0, is 0.01"],
        ),
        (
            [],
            ["training.lr_decay.at=[5]"],
            ["training.lr_decay.factor: was null, is 0.1", "training.lr_decay.at: was null, is [5]"],
        ),
        ([], ["metric.name=loss"], ['metric.name: was "accuracy", is "loss"', 'goal: was "maximize", is "minimize"']),
        ([*TPE], [*TPE, "search.lr=0.1"], ["search.lr: was null, is 0.1", "search.lr.low: was 0.0001, is null"]),
        ([], [*TPE], ['engine.sampler: was "grid", is "tpe"']),
        ([], ["name=other"], ['name: was "s", is "other"']),
    ],
)
def test_a_changed_study_is_refused(
    before: list[str], after: list[str], differences: list[str], tmp_path: Path
) -> None:
    take(tmp_path, *before)
    (tmp_path / "run" / "probe.json").touch()
    kept = (tmp_path / "run" / "study.yaml").read_text()
    with pytest.raises(UserError) as error:
        take(tmp_path, *after)
    first, *changed, last = str(error.value).splitlines()
    assert first == f"{tmp_path}/run: the study in this run directory has other settings:"
    assert last == "Undo the change to resume it, or start another study with --dir DIR or a new name."
    for difference in differences:
        assert any(difference in line for line in changed)
    assert not [line for line in changed if "search." in line and "search." not in str(differences)]
    assert (tmp_path / "run" / "study.yaml").read_text() == kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["engine.workers=2", "training.device=cpu", "training.threads=2", "engine.together=3"]),
        ([], ["engine.storage=sqlite:////tmp/x.db"]),
        # Every cell of a grid stands for itself: its axes may be widened.
        ([], ["search.lr={low: 1e-5, high: 1}", "search.eps=[1e-3]", "search.baselines=[sgd_momentum]"]),
        ([*TPE], [*TPE, "engine.trials=9"]),
        ([], ["metric.goal=maximize"]),
    ],
)
def test_what_may_change(before: list[str], after: list[str], tmp_path: Path) -> None:
    take(tmp_path, *before)
    (tmp_path / "run" / "probe.json").touch()
    take(tmp_path, *after)


OLDER = "percentiles: [2, 98]\n  range: pooled\n  exclude: []\n"


@pytest.mark.parametrize("kind", ["pooled", "paper"])
def test_a_study_of_an_older_version_resumes_with_either_range(kind: str, tmp_path: Path) -> None:
    """It knew only the paper's range and had no key for it; its probe.json keeps that range."""
    take(tmp_path)
    (tmp_path / "run" / "probe.json").touch()
    recorded = tmp_path / "run" / "study.yaml"
    text = recorded.read_text()
    assert OLDER in text
    recorded.write_text(text.replace(OLDER, "percentiles: [2, 98]\n"))
    take(tmp_path, f"probe.range={kind}")
    # From then on it is as any other.
    with pytest.raises(UserError, match=r"probe\.range: was"):
        take(tmp_path, f"probe.range={'paper' if kind == 'pooled' else 'pooled'}")


def test_before_anything_was_computed_all_may_change(tmp_path: Path) -> None:
    """A first run that ended at a mistake in the study file leaves a directory; with the first trial it is taken."""
    take(tmp_path)
    take(tmp_path, "training.epochs=3")
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/run/study.db")
    take(tmp_path, "training.epochs=4")
    optuna.create_study(storage=storage, study_name="s")
    with pytest.raises(UserError, match=r"training\.epochs: was 4, is 5"):
        take(tmp_path, "training.epochs=5")


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    config = study(tmp_path)
    place = RunDirectory(tmp_path / "run")
    with place.taken_for(config):
        with pytest.raises(UserError, match="another epsearch process is running this study; wait for it or stop it"):
            take(tmp_path)
        # A report may be drawn meanwhile.
        assert place.load().name == "s"
    take(tmp_path)


def test_a_study_file_of_the_users_is_not_overwritten(tmp_path: Path) -> None:
    """`epsearch run study.yaml --dir .` would replace the commented file by the resolved one."""
    (tmp_path / "study.yaml").write_text(VISION + "# my notes\n")
    overwriting = RunDirectory(tmp_path).taken_for(load_study(tmp_path / "study.yaml"))
    with pytest.raises(UserError, match=r"study\.yaml: is a study file that this run would overwrite"), overwriting:
        pass
    assert "my notes" in (tmp_path / "study.yaml").read_text()
    with pytest.raises(UserError, match="is not a run directory"):
        RunDirectory(tmp_path).load()


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match=r"is not a run directory: it has no study\.yaml written by epsearch\.$"):
            RunDirectory(path).load()
    take(tmp_path)
    with pytest.raises(UserError, match=rf"Did you mean {tmp_path}/run\?"):
        RunDirectory(tmp_path).load()


@pytest.mark.parametrize(
    ("name", "why"), [("file", "it is a file"), ("file/x", "Not a directory"), ("x" * 300, "name")]
)
def test_where_no_directory_can_be(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = rf"cannot be used as a run directory \(.*{why}.*\); choose another with --dir DIR\.$"
    with pytest.raises(UserError, match=message), RunDirectory(tmp_path / name).taken_for(study(tmp_path)):
        pass


@pytest.mark.parametrize("name", ["plain", "a b", "50%25", "what?", "a#b", "é", "[x]"])
def test_the_storage_lies_in_the_directory(name: str, tmp_path: Path) -> None:
    place = RunDirectory(tmp_path / name)
    url = make_url(place.storage(study(tmp_path)))
    assert url.get_backend_name() == "sqlite"
    assert url.database == str(tmp_path / name / "study.db")
    other = study(tmp_path, "engine.storage=postgresql://h/d")
    assert place.storage(other) == "postgresql://h/d"


OTHER = "postgresql+psycopg://u:secret@other/d"


def resume(folder: Path, *overrides: str) -> None:
    """Run again in a directory where trials have begun."""
    with RunDirectory(folder / "run").taken_for(study(folder, *overrides)) as _:
        RunDirectory(folder / "run").begin_trials()


@pytest.mark.parametrize(
    ("first", "then", "remedy"),
    [
        ("", OTHER, "remove engine.storage and unset EPSEARCH_STORAGE"),
        (OTHER, "", "set engine.storage, or EPSEARCH_STORAGE, to that URL"),
        (OTHER, "postgresql+psycopg://u:secret@third/d", "set engine.storage, or EPSEARCH_STORAGE, to that URL"),
    ],
)
def test_the_storage_does_not_change(
    first: str, then: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = RunDirectory(tmp_path / "run")

    def runs_with(url: str) -> None:
        monkeypatch.setenv("EPSEARCH_STORAGE", url)
        resume(tmp_path)

    runs_with(first)
    runs_with(first)
    with pytest.raises(UserError) as error:
        runs_with(then)
    shown = [url.replace("secret", "***") or f"sqlite:///{place.path}/study.db" for url in (first, then)]
    assert f"the trials of this run directory are in {shown[0]}, but" in str(error.value)
    assert f"engine.storage is {shown[1]}. To resume, {remedy};" in str(error.value)
    # What was recorded counts, whatever the variable is.
    kept = place.load()
    assert mask_url(place.storage(kept)) == shown[0]
    # A study that was moved: its record is edited.
    record = place.study.read_text()
    line = next(line for line in record.splitlines() if line.startswith("  storage:"))
    place.study.write_text(record.replace(line, f"  storage: {shown[1] if then else 'null'}"))
    runs_with(then)


def test_only_the_password_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPSEARCH_STORAGE", OTHER)
    resume(tmp_path)
    place = RunDirectory(tmp_path / "run")
    assert place.storage(place.load()) == OTHER
    monkeypatch.setenv("EPSEARCH_STORAGE", OTHER.replace("secret", "changed"))
    assert place.storage(place.load()) == OTHER.replace("secret", "changed")
    monkeypatch.setenv("EPSEARCH_STORAGE", OTHER.replace("u:", "v:"))
    assert place.storage(place.load()) == OTHER.replace("secret", "***")


def test_a_wrong_storage_may_be_corrected_before_the_first_trial(tmp_path: Path) -> None:
    take(tmp_path, f"engine.storage={OTHER}")
    take(tmp_path)


def test_a_relative_path_of_sqlite_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "50% off"
    folder.mkdir()
    monkeypatch.chdir(folder)
    take(tmp_path, "engine.storage=sqlite:///all.db")
    monkeypatch.chdir("/")
    place = RunDirectory(tmp_path / "run")
    assert make_url(place.storage(place.load())).database == f"{folder}/all.db"


@pytest.mark.parametrize("what", ["garbled", "directory"])
def test_a_database_that_is_none(what: str, tmp_path: Path) -> None:
    """It is taken for one that holds results: opening it says what is wrong."""
    take(tmp_path)
    database = tmp_path / "run" / "study.db"
    if what == "garbled":
        database.write_bytes(b"no database" * 1000)
        with pytest.raises(UserError, match=r"training\.epochs: was 20, is 3"):
            take(tmp_path, "training.epochs=3")
    else:
        database.mkdir()
    take(tmp_path)
