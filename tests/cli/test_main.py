"""The command line: what it prints, and what it says of a wrong invocation."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import epsearch
from epsearch.core.imports import load_object
from epsearch.core.numbers import rounded
from epsearch.registry.engines import ENGINES
from epsearch.registry.optimizers import ADAPTIVE, BASELINES, OPTIMIZERS
from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.registry.workloads import AUGMENTATIONS, METRICS, WORKLOADS
from epsearch.study import file as study_file
from epsearch.study.directory import RunDirectory
from epsearch.study.file import load_study
from epsearch.study.yaml import Source
from tests.conftest import CommandLine
from tests.report import sample

INSTALLED = Path(sys.executable).parent / "epsearch"

VISION = "workload: {name: vision, dataset: digits, model: mlp}\n"
SMALL = VISION + "training: {epochs: 1}\nsearch: {eps: [1e-3], lr: 1e-3, beta2: 0.999}\n"

INLINE = ("--set", "engine.name=inline")
"""Where a test needs a finished study and no worker processes."""

OWN_CODE = """
def train(run):
    for epoch in run.epochs():
        run.report(score=1)

def reports_other(run):
    for epoch in run.epochs():
        run.report(loss=1)

number = 5

class Empty:
    pass

class Needy:
    def __init__(self, size):
        pass
"""


@contextlib.contextmanager
def listener(*, accepting: bool) -> Iterator[tuple[int, socket.socket]]:
    """A loopback port: one that takes connections and then says nothing, or one where nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if accepting:
            server.listen()
        yield server.getsockname()[1], server


@pytest.fixture
def small(command_line: CommandLine) -> CommandLine:
    """The command line in a folder with a study of one trial."""
    (command_line.folder / "s.yaml").write_text(SMALL)
    return command_line


@pytest.fixture
def own(command_line: CommandLine) -> CommandLine:
    """The command line in a folder with a study of one's own code, and modules that do not import."""
    folder = command_line.folder
    (folder / "s.yaml").write_text(
        "workload: {train: 'code_of_mine:train'}\nmetric: {name: score, goal: maximize}\n"
        "search: {eps: [1e-3], beta2: 0.9}\n"
    )
    (folder / "code_of_mine.py").write_text(OWN_CODE)
    (folder / "raises.py").write_text("x = 1\n1 / 0\n")
    (folder / "needs_more.py").write_text("import not_installed_at_all\n")
    (folder / "bad_syntax.py").write_text("x = 1\ndef f(:\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    return command_line


# --- wrong invocations ---


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs", "--set training.epochs: must have the form KEY=VALUE, e.g. --set training.epochs=15."),
        ("=3", "--set =3: must have the form KEY=VALUE"),
        ("a..b=3", "--set a..b=3: must have the form KEY=VALUE"),
        ("name.x=1", "--set name.x=1: name is not a section of s.yaml."),
        ("search.lr.low=1", "--set search.lr.low=1: search.lr is not a section of s.yaml."),
        ("training.seeds=[1,", "the value of --set training.seeds, line 1: cannot be read as YAML: expected the node"),
        ("search={eps: grid, eps: grid}", "the value of --set search, line 1: eps is given twice"),
        ("training.epoch=3", '--set training.epoch=3: training.epoch: no such key. Did you mean "epochs"?'),
        ("trainin.epochs=3", '--set trainin.epochs=3: trainin: no such key. Did you mean "training"?'),
        ("training.epochs=ten", "--set training.epochs=ten: training.epochs: expected a whole number, found 'ten'."),
        ("search.lr={low:1e-4,high:1}", "search.lr.low:1e-4: no such key. YAML needs a space after the colon."),
        ("engine.storage=5", "engine.storage: expected text, found 5."),
    ],
)
def test_wrong_overrides(setting: str, expected: str, small: CommandLine) -> None:
    (small.folder / "s.yaml").write_text("name: x\n" + SMALL)
    assert expected in small.refuses("check", "s.yaml", "--set", setting)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu", "s.yaml"], "No such command 'rnu'. Did you mean 'run'?"),
        (["run"], "Missing argument 'STUDY.yaml'."),
        (["run", "s.yaml", "--workers", "2"], "No such option"),
        (["check", "s.yaml", "more"], "Got unexpected extra argument"),
        (["dashboard", "runs/s", "--port", "99999"], "Invalid value for '--port'"),
    ],
)
def test_wrong_usage(arguments: list[str], expected: str, small: CommandLine) -> None:
    code, out, err = small(*arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        ("train: 'nowhere_at_all:f'", "no module named nowhere_at_all, neither beside the study file ("),
        ("train: 'code_of_mine:trian'", 'code_of_mine has no "trian". Did you mean "train"?'),
        ("train: 'code_of_mine:number'", "code_of_mine:number is not a function (got 5); it is called as train(run)."),
        ("train: 'raises:f'", "importing raises raises ZeroDivisionError: division by zero ({}/raises.py, line 2)."),
        (
            "train: 'needs_more:f'",
            "raises ModuleNotFoundError: No module named 'not_installed_at_all' ({}/needs_more.py",
        ),
        (
            "train: 'bad_syntax:f'",
            "importing bad_syntax raises SyntaxError: invalid syntax ({}/bad_syntax.py, line 2).",
        ),
        ("train: 'leaves:f'", "importing leaves raises SystemExit: 3 ({}/leaves.py, line 2)."),
        ("object: 'code_of_mine:Empty'", "code_of_mine:Empty has no model, train_batches, loss, evaluate; a workload"),
        ("object: 'code_of_mine:Needy'", "code_of_mine:Needy() raises TypeError: "),
        (
            "object: 'code_of_mine:number'",
            "code_of_mine:number has no model, train_batches, loss, evaluate; a workload",
        ),
    ],
)
def test_wrong_code(workload: str, expected: str, own: CommandLine) -> None:
    (own.folder / "s.yaml").write_text(f"name: x\nworkload: {{{workload}}}\n")
    message = own.refuses("check", "s.yaml")
    assert message.startswith(f"s.yaml, line 2: workload.{workload.split(':', maxsplit=1)[0]}: ")
    assert expected.format(own.folder) in message
    assert "\n" not in message


@pytest.mark.thorough
def test_a_metric_that_is_not_reported(own: CommandLine) -> None:
    """The first trial ends the study, not each of them: the study file is wrong, and no trial counts as done."""
    code, _, err = own("run", "s.yaml", "--set", "workload.train=code_of_mine:reports_other")
    assert code == 2
    assert err == 'epsearch: run.report() was given loss, but the study\'s metric.name is "score".\n'
    code, out, _ = own("run", "s.yaml", *INLINE, "--dir", "other")
    assert code == 0
    assert "score 1 at" in out


def test_a_gpu_that_is_not_there(small: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, _, err = small("run", "s.yaml", "--set", "training={device: cuda, epochs: 1}")
    assert code == 2
    assert "training.device: cuda is not available: torch sees 0 GPUs. Use auto or cpu." in err


STORAGES = [
    ("nonsense", "a URL that cannot be parsed (not shown: it may hold a password). Write a URL such as postgresql+"),
    ("sqlite+aiosqlite:///x.db", "(No module named 'aiosqlite'). Install its driver"),
    ("sqlite://", "is an in-memory database, which is lost when the run ends"),
    ("foo://bar", "foo://bar cannot be opened (Can't load plugin: sqlalchemy.dialects:foo). Write a URL such as"),
    ("redis://:secret@127.0.0.1/0", "redis://:***@127.0.0.1/0 cannot be opened", "Write a URL such as"),
    ("mssql+pymssql://u:secret@h/d", "(No module named 'pymssql'). Install its driver"),
    ("sqlite:////nowhere/at/all/x.db", "(unable to open database file). Its folder must exist and be writable."),
    ("sqlite:////proc/x.db", "(unable to open database file). Its folder must exist and be writable."),
    (
        "postgresql+psycopg://u:secret@127.0.0.1:{port}/d",
        "u:***@127.0.0.1:",
        "refused",
        "Check that the server is running",
    ),
    ("postgresql+psycopg://u:se%20cret@127.0.0.1:{port}/d", "u:***@127.0.0.1:", "refused"),
    ("postgresql+psycopg://127.0.0.1:{port}/d?user=u&password=secret", "d?password=***&user=u cannot be"),
    (
        "postgresql+psycopg://u:***@127.0.0.1:{port}/d",
        "Passwords are not stored in files: set EPSEARCH_STORAGE to the full",
    ),
]


@pytest.mark.parametrize("case", STORAGES, ids=lambda case: case[0])
def test_wrong_storages(case: tuple[str, ...], small: CommandLine) -> None:
    url, *expected = case
    with listener(accepting=False) as (port, _):
        (small.folder / "s.yaml").write_text(SMALL + f"engine: {{storage: '{url.format(port=port)}'}}\n")
        message = small.refuses("run", "s.yaml")
    assert message.startswith("s.yaml, line 4: engine.storage: ")
    for part in expected:
        assert part in message
    assert "\n" not in message
    assert "secret" not in message + message.replace("%20", "")
    for path in (small.folder / "runs").rglob("*"):
        assert path.is_dir() or "cret" not in path.read_text()


def test_check_refuses_a_storage_that_no_driver_can_open(small: CommandLine) -> None:
    """Without connecting: a server that is away is no mistake in the file."""
    for url, problem in [
        ("foo://bar", "(Can't load plugin: sqlalchemy.dialects:foo). Write a URL such as"),
        ("mssql+pymssql://u:secret@h/d", "(No module named 'pymssql'). Install its driver"),
        ("nonsense", "a URL that cannot be parsed"),
    ]:
        message = small.refuses("check", "s.yaml", "--set", f"engine.storage={url}")
        assert message.startswith("--set engine.storage=")
        assert problem in message
        assert "secret" not in message
    assert small("check", "s.yaml", "--set", "engine.storage=postgresql+psycopg://u@127.0.0.1:1/d").code == 0


DAMAGED = [
    ("garbled", "is damaged, or not a database: restore a copy, or move it away to start the study again."),
    ("directory", "is a directory: move it away, or name another file."),
    ("read-only", "writable."),
]


@pytest.mark.parametrize(("what", "remedy"), DAMAGED, ids=lambda text: text)
def test_a_damaged_database(what: str, remedy: str, small: CommandLine) -> None:
    assert small("run", "s.yaml", *INLINE).code == 0
    database = small.folder / "runs" / "s" / "study.db"
    report = (small.folder / "runs" / "s" / "report.html").read_bytes()
    settings = []
    if what == "garbled":
        database.write_bytes(b"no database" * 1000)
    elif what == "directory":
        database.unlink()
        database.mkdir()
    else:  # as root, too
        settings = ["--set", f"engine.storage=sqlite:///file:{database}?mode=ro&uri=true", "--dir", "other"]
    message = small.refuses("run", "s.yaml", *settings)
    assert "engine.storage: sqlite:///" in message
    assert message.endswith(remedy)
    assert "\n" not in message
    if not settings:
        assert remedy in small.refuses("report", "runs/s")
        assert (small.folder / "runs" / "s" / "report.html").read_bytes() == report


def test_a_report_does_not_replace_trials_by_nothing(small: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert small("run", "s.yaml", *INLINE).code == 0
    place = small.folder / "runs" / "s"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.suffix in (".csv", ".html")}
    # The variable does not lead elsewhere ...
    monkeypatch.setenv("EPSEARCH_STORAGE", f"sqlite:///{small.folder}/empty.db")
    assert small("report", "runs/s").code == 0
    assert (place / "trials.csv").read_bytes() == before[place / "trials.csv"]
    assert not (small.folder / "empty.db").exists()
    # ... and a storage that lost the study is no reason to forget it.
    before = {path: path.read_bytes() for path in place.rglob("*") if path.suffix in (".csv", ".html")}
    (place / "study.db").unlink()
    message = small.refuses("report", "runs/s")
    assert f"trials.csv has 1 trial, but sqlite:///{place}/study.db has none" in message
    assert {path: path.read_bytes() for path in before} == before


def test_the_study_file_is_read_once(small: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a first run and by a resumed one, which also compares it with the copy in the run directory."""
    read: list[str] = []
    parse = study_file.read_yaml

    def counted(path: Path) -> Source:
        read.append(str(path))
        return parse(path)

    monkeypatch.setattr(study_file, "read_yaml", counted)
    assert small("run", "s.yaml", *INLINE).code == 0
    assert read == ["s.yaml"]
    read.clear()
    assert small("run", "s.yaml", *INLINE).code == 0
    assert read.count("s.yaml") == 1
    assert set(read) == {"s.yaml", str(small.folder / "runs" / "s" / "study.yaml")}


def test_wrong_directories(small: CommandLine) -> None:
    refuses, folder = small.refuses, small.folder
    (folder / "file").write_text("")
    assert refuses("run", "s.yaml", "--dir", "file").endswith("(it is a file); choose another with --dir DIR.")
    assert refuses("run", "s.yaml", "--dir", "x" * 300).endswith("(File name too long); choose another with --dir DIR.")
    (folder / "s.yaml").rename(folder / "study.yaml")
    for command in ("report", "dashboard"):
        for directory in (".", "file", "nowhere"):
            assert "is not a run directory: it has no study.yaml written by epsearch." in refuses(command, directory)
    assert "is a study file that this run would overwrite" in refuses("run", "study.yaml", "--dir", ".")
    assert (folder / "study.yaml").read_text() == SMALL


def test_a_probe_of_what_needs_none(small: CommandLine) -> None:
    message = small.refuses("probe", "s.yaml")
    assert message == "s.yaml: search.eps sets the values, so there is nothing to probe; write eps: grid."


def test_probe(command_line: CommandLine) -> None:
    """The range, every layer, and the lr to try if it is auto; the figures are beside the records."""
    (command_line.folder / "s.yaml").write_text(VISION + "search: {eps: endpoints, lr: auto}\n")
    run_dir = RunDirectory(command_line.folder / "runs" / "s")
    code, given, _ = command_line("probe", "s.yaml", *INLINE, "--set", "search.lr=1e-3")
    assert code == 0
    assert "range of eps: " in given
    assert "still adaptive at eps " in given
    assert "lr test" not in given.lower()
    code, printed, _ = command_line("probe", "s.yaml", *INLINE)
    assert code == 0
    test = run_dir.load_lr_test()
    assert test is not None
    assert f"lr test: {rounded('lr', test.suggestion or 0)} suggested at eps " in printed
    ended = [line.split() for line in printed.splitlines()[-4:]]
    files = [Path(words[-1]) for words in ended]
    assert [words[:-1] for words in ended] == [["Histogram"], ["Record"], ["LR", "test"], ["Record"]]
    assert files == [run_dir.path / name for name in ("probe.html", "probe.json", "lr-test.html", "lr_test.json")]
    assert all(file.exists() for file in files)


def test_init_does_not_overwrite(small: CommandLine) -> None:
    assert small.refuses("init", "s.yaml") == "s.yaml: already exists; name another file."
    assert small.refuses("init", ".") == ".: already exists; name another file."
    assert "cannot be written (No such file or directory); name another" in small.refuses("init", "nowhere/s.yaml")
    assert "cannot be written (File name too long); name another file." in small.refuses("init", "x" * 300)
    assert (small.folder / "s.yaml").read_text() == SMALL


# --- the installed command, in a process of its own: one for each class of mistake ---


def installed(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INSTALLED, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        pytest.param("a: [1\nb: 2\n", ["check"], "s.yaml, line 2: cannot be read as YAML: expected ','", id="no YAML"),
        pytest.param(SMALL + "foo: 1", ["run"], "s.yaml, line 4: foo: no such key. Choose from", id="wrong study"),
        pytest.param(
            SMALL,
            ["run", "--set", "x"],
            "--set x: must have the form KEY=VALUE, e.g. --set",
            id="wrong override",
        ),
        pytest.param(
            SMALL, ["run", "--dir", "s.yaml"], "(it is a file); choose another with --dir DIR.", id="wrong place"
        ),
        pytest.param("workload: {train: 'a:b'}", ["run"], "line 1: workload.train: no module named a,", id="no module"),
        pytest.param(SMALL + "engine: {storage: x}", ["run"], "engine.storage: a URL that cannot", id="wrong storage"),
        pytest.param(None, ["probe"], "s.yaml: no such file. `", id="no file"),
    ],
)
def test_wrong_input_of_the_installed_command(
    text: str | None, arguments: list[str], expected: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "s.yaml").write_text(text)
    command, *options = arguments
    result = installed(tmp_path, command, "s.yaml", *options)
    assert result.returncode == 2
    assert result.stderr.startswith("epsearch: ")
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    # A study of one's own code is found wrong while its worker starts, when the stage is announced already.
    assert result.stdout == "" or result.stdout.startswith("probe: ")


def test_a_dataset_without_a_network(tmp_path: Path) -> None:
    """It says where it looked and how to get it."""
    (tmp_path / "s.yaml").write_text("workload: {name: vision, dataset: fashion_mnist, model: mlp}\n")
    with listener(accepting=False) as (port, _):
        dead = f"http://127.0.0.1:{port}"
        result = installed(
            tmp_path, "run", "s.yaml", EPSEARCH_DATA=str(tmp_path / "data"), http_proxy=dead, https_proxy=dead
        )
    assert result.returncode == 2
    missing = f"{tmp_path}/data/FashionMNIST/raw/train-images-idx3-ubyte.gz"
    assert f"epsearch: {missing} does not exist and could not be downloaded" in result.stderr
    assert "set EPSEARCH_DATA to the folder that holds FashionMNIST/. Otherwise download http://" in result.stderr
    assert f"and save it as {missing}." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.thorough
def test_a_study_that_is_running_or_was_changed(own: CommandLine) -> None:
    folder = own.folder
    (folder / "code_of_mine.py").write_text(
        "import time\n" + OWN_CODE.replace("run.report(score=1)", "time.sleep(600)")
    )
    first = subprocess.Popen([INSTALLED, "run", "s.yaml"], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("trials: ")
        message = own.refuses("run", "s.yaml")
        assert message == f"{folder}/runs/s: another epsearch process is running this study; wait for it or stop it."
    finally:
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=60) == 130
    message = own.refuses("run", "s.yaml", "--set", "optimizer.name=adamw", "--set", "training.epochs=3")
    assert message.splitlines() == [
        f"{folder}/runs/s: the study in this run directory has other settings:",
        '  optimizer.name: was "adam", is "adamw"',
        "  optimizer.weight_decay: was 0.0, is 0.01",
        "  training.epochs: was null, is 3",
        "Undo the change to resume it, or start another study with --dir DIR or a new name.",
    ]


@pytest.mark.thorough
def test_an_interrupted_run_does_not_print_the_password(small: CommandLine) -> None:
    """While it waits for a server that says nothing."""
    with listener(accepting=True) as (port, server):
        setting = f"engine.storage=postgresql+psycopg://u:secret@127.0.0.1:{port}/d"
        driver = subprocess.Popen(
            [INSTALLED, "run", "s.yaml", "--set", setting, "--set", "engine.workers=2"],
            cwd=small.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with server.accept()[0]:
            driver.send_signal(signal.SIGINT)
            output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert " run s.yaml --set 'engine.storage=postgresql+psycopg://u:***@" in output.partition("Resume with: ")[2]
    assert "--set engine.workers=2" in output
    assert "secret" not in output


# --- what is printed when all is well ---


def resolved(out: str) -> tuple[dict[str, object], list[str]]:
    """What `check` prints: the study, and the lines about it."""
    lines, study, *_ = out.split("\n\n")
    found: dict[str, object] = yaml.safe_load(study)
    return found, lines.splitlines()


def test_check(command_line: CommandLine) -> None:
    """The resolved study, and what eps costs with and without the probe."""
    path = command_line.folder / "s.yaml"
    path.write_text(VISION + "training: {epochs: 10}\nsearch: {baselines: [sgd_momentum]}\n")
    code, out, err = command_line("check", "s.yaml", "--all")
    assert (code, err) == (0, "")
    study, lines = resolved(out)
    assert study == {**load_study(path).model_dump(), "metric": {"name": "accuracy", "goal": "maximize"}}
    assert lines == [
        "This study       25 trials, 251 epochs, over 5 values of eps (estimate until probed)",
        "Without a probe  89 trials, 890 epochs, with 21 values of eps, 1e-10 to 1e10",
        "Baselines        5 of these trials",
        f"Run directory    {command_line.folder}/runs/s",
    ]
    assert not (command_line.folder / "runs").exists()


def test_check_shows_what_differs_from_the_defaults(command_line: CommandLine) -> None:
    """As a study file of the same study; values that are written and yet the default are left out."""
    path = command_line.folder / "s.yaml"
    path.write_text(
        VISION + "optimizer: {name: adamw, weight_decay: 0.01}\ntraining: {epochs: 20, seeds: [0, 1]}\n"
        "engine: {storage: 'postgresql+psycopg://u:secret@h/d'}\n"
    )
    out = command_line("check", "s.yaml", "--dir", "a b").out
    study, _ = resolved(out)
    assert study == {
        "name": "s",
        "workload": {"name": "vision", "dataset": "digits", "model": "mlp"},
        "optimizer": {"name": "adamw"},
        "metric": {"name": "accuracy", "goal": "maximize"},
        "training": {"seeds": [0, 1]},
        "engine": {"storage": "postgresql+psycopg://u:***@h/d"},
    }
    printed = out.splitlines()[-1].removeprefix("Every setting: ")
    assert printed == "epsearch check s.yaml --dir 'a b' --all"
    assert "weight_decay: 0.01" in command_line(*shlex.split(printed)[1:]).out
    short, full = command_line.folder / "short.yaml", load_study(path)
    short.write_text(out.split("\n\n")[1].replace("***", "secret"))
    assert load_study(short).model_dump() == {**full.model_dump(), "metric": {"name": "accuracy", "goal": full.goal}}


def test_check_knows_the_time_once_trials_have_run(small: CommandLine) -> None:
    """From the time of an epoch, which other seeds do not change."""
    place = small.folder / "runs" / "s"
    place.mkdir(parents=True)
    (place / "trials.csv").write_text("number,epochs,seconds\n0,1,100\n1,1,140\n2,0,\n")
    assert (
        resolved(small("check", "s.yaml").out)[1][1]
        == "Time             about 2 min 00 s, at the speed of its trials so far"
    )
    two = ("--set", "training.seeds=[0,1]", "--set", "engine.workers=1", "--set", "search.lr=[1e-3,1e-2]")
    assert "about 8 min 00 s" in small("check", "s.yaml", *two).out
    assert "about 4 min 00 s" in small("check", "s.yaml", *two, "--set", "engine.workers=2").out
    for text in ("", "number\n1\n", "number,epochs,seconds\n0,1,soon\n"):
        (place / "trials.csv").write_text(text)
        assert "\nTime" not in small("check", "s.yaml").out


def test_check_uses_a_probe_that_was_made(command_line: CommandLine) -> None:
    (command_line.folder / "s.yaml").write_text(VISION + "name: '[x]'\n")
    place = RunDirectory(command_line.folder / "runs" / "[x]")
    place.path.mkdir(parents=True)
    found = epsearch.EpsilonRange(lower=1e-4, upper=1e-2)
    probed = sample.probe().model_copy(update={"range": found})
    probed.save(place.probe)
    _, lines = resolved(command_line("check", "s.yaml").out)
    assert lines[-1] == f"Run directory    {place.path}"
    assert lines[0] == "This study       12 trials, 241 epochs, over 3 values of eps"
    for text, problem in [
        ("{", "not a valid ProbeResult"),
        (changed(probed, range={"lower": 1e-2, "upper": 1e-4}), "range: lower, 0.01, is above upper, 0.0001"),
        (changed(probed, range={"lower": 2e-4, "upper": 1e-2}), "range: lower is 0.0002, which is not a power of ten"),
        (changed(probed, range={"lower": math.nan, "upper": 1e-2}), "range.lower: Input should be"),
        (changed(probed, range={"lower": -1, "upper": math.inf}), "range.lower: Input should be greater than 0"),
        (changed(probed, range="1e-4"), "range: Input should be an object"),
        (changed(probed, layers=[]), "layers: List should have at least 1 item"),
        (changed(probed, layers=None), "layers: Input should be a valid"),
    ]:
        place.probe.write_text(text)
        message = command_line.refuses("check", "s.yaml")
        assert message.startswith(f"{place.probe}: ")
        assert problem in message
        assert message.endswith("Delete it to probe again.")


def changed(probed: epsearch.ProbeResult, **values: object) -> str:
    """The probe's record with keys edited by hand."""
    return json.dumps(json.loads(probed.model_dump_json()) | values)


def test_check_of_a_sampler_and_of_own_code(own: CommandLine) -> None:
    (own.folder / "s.yaml").write_text(
        "workload: {train: 'code_of_mine:train'}\nsearch: {eps: continuous}\nengine: {sampler: tpe, trials: 40}\n"
    )
    _, lines = resolved(own("check", "s.yaml").out)
    assert lines[:-1] == [
        "This study       40 trials, epochs set by your code, over a range of eps (estimate until probed)",
        "Without a probe  40 trials, epochs set by your code, the same over 20 decades",
    ]


@pytest.mark.parametrize(
    "name", ["study.yaml", "my study.yaml", "été.yaml", "a'b\".yml", "1e-3.yaml", "no.yaml", "😀.yaml"]
)
def test_init_then_check(name: str, command_line: CommandLine) -> None:
    code, out, _ = command_line("init", name)
    assert code == 0
    assert out.startswith(f"Wrote {name}. Next: epsearch check ")
    code, out, err = command_line("check", name)
    assert (code, err) == (0, "")
    study, lines = resolved(out)
    assert lines[-1] == f"Run directory    {command_line.folder}/runs/{study['name']}"
    assert lines[0].startswith("This study       20 trials, 201 epochs and 100 steps for the lr test")


def test_every_name_is_listed(small: CommandLine) -> None:
    code, out, _ = small("list")
    assert code == 0
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    names = [
        *ADAPTIVE,
        *BASELINES,
        *(
            name
            for kind in WORKLOADS.values()
            for name in (*kind.datasets, *kind.models, *(f"{prefix}NAME" for prefix in kind.families))
        ),
        *AUGMENTATIONS,
        *METRICS,
        *ENGINES,
        *SAMPLERS,
        *PRUNERS,
        *SCHEDULERS,
    ]
    assert listed == names
    assert set(OPTIMIZERS) == {*ADAPTIVE, *BASELINES}
    for kind in WORKLOADS:
        assert f"workload {kind}: datasets" in out


def test_a_filtered_list(small: CommandLine) -> None:
    """By a section, or by a part of a name or its text."""

    def found(wanted: str) -> list[str]:
        return [line.split()[0] for line in small("list", wanted).out.splitlines() if line.startswith("  ")]

    assert found("optimizers") == ADAPTIVE
    assert found("Datasets") == [name for kind in WORKLOADS.values() for name in kind.datasets]
    assert found("hyperband") == ["hyperband", "tune_hyperband"]
    assert found("gaussian") == ["guided", "gp"]
    message = small.refuses("list", "adma")
    assert message.startswith(
        "Nothing matches 'adma'. Give a part of a name, or one of: optimizers, baselines, datasets"
    )


@pytest.mark.parametrize(
    "path",
    [
        *(row.path for row in OPTIMIZERS.values()),
        *(row.path for row in SAMPLERS.values() if row.path),
        *(row.path for row in PRUNERS.values()),
        *(kind.make for kind in WORKLOADS.values()),
        *(row.load for kind in WORKLOADS.values() for row in kind.datasets.values()),
        *(row.make for kind in WORKLOADS.values() for row in (*kind.models.values(), *kind.families.values())),
        *AUGMENTATIONS.values(),
    ],
)
def test_every_path_of_the_tables_loads(path: str) -> None:
    assert callable(load_object(path))


def test_schema_and_version(small: CommandLine) -> None:
    code, out, _ = small("schema")
    assert code == 0
    assert json.loads(out)["required"] == ["name", "workload"]
    assert small("--version") == (0, f"epsearch {epsearch.__version__}\n", "")


def test_a_run_from_beginning_to_end(small: CommandLine) -> None:
    """Run, run again, report; the run's study.yaml is itself a study file of that run."""
    code, out, err = small("run", "s.yaml", *INLINE)
    assert (code, err) == (0, "")
    assert "[1/1] adam: lr 1e-3, eps 1e-3, beta2 0.999: accuracy 0." in out
    assert "Report        runs/s/report.html" in out
    code, out, _ = small("run", "runs/s/study.yaml")
    assert code == 0
    assert "nothing to do: 1 trial has finished" in out
    code, out, _ = small("report", "runs/s")
    assert (code, out) == (0, f"{small.folder}/runs/s/report.html\n")
    assert f"Did you mean {small.folder}/runs/s?" in small.refuses("report", "runs")
    printed = small("report", "runs/s", "--json").out
    assert printed.isascii()
    (found,) = json.loads(printed)
    assert found["best"]["lr"] == 1e-3
    assert found["verdict"]["kind"] == "undecided"

    assert small("run", "s.yaml", *INLINE, "--set", "search.lr=0.01", "--dir", "runs/other").code == 0
    assert small("report", "runs/s", "runs/other") == (0, "comparison.html\n", "")
    assert "2 runs side by side" in (small.folder / "comparison.html").read_text()
    both = json.loads(small("report", "runs/s", "runs/other", "--json").out)
    assert [run["directory"] for run in both] == [f"{small.folder}/runs/s", f"{small.folder}/runs/other"]
    assert both[0] == found
    (small.folder / "comparison.html").unlink()
    (small.folder / "comparison.html").mkdir()
    assert "comparison.html: cannot be written (" in small.refuses("report", "runs/s", "runs/other")
