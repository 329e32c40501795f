"""Ray processes that must not train again, that hang or exit: the study continues in others."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from optuna.trial import TrialState

from tests.engines.ray.test_engine import RayFolder
from tests.engines.ray.test_engine import _isolation as _isolation  # noqa: PLC0414 - a fixture
from tests.engines.ray.test_engine import ray_folder as ray_folder  # noqa: PLC0414 - a fixture
from tests.engines.test_checkpoints import epochs
from tests.engines.test_interruptions import trials_of

pytestmark = [pytest.mark.thorough, pytest.mark.alone]

CUDA_ASSERT = "CUDA error: device-side assert triggered"
OUT_OF_MEMORY = "DefaultCPUAllocator: not enough memory: you tried to allocate 8000000000 bytes"

BREAKS_ONCE = """
    import os, pathlib

    broken = False
    once = pathlib.Path(__file__).with_name("once")

    def train(run):
        global broken
        with pathlib.Path(__file__).with_name("epochs").open("a") as file:
            print(f"{{run.lr:g}}", run.restore() is None, os.getpid(), file=file)
        for epoch in run.epochs():
            if run.lr == 1.0 and epoch == 2 and not once.exists():
                once.touch()
                broken = True
            if broken:
                raise RuntimeError({error!r})
            run.report(score=run.lr + epoch, checkpoint={{"epoch": epoch}})
    """


def logs_of(folder: RayFolder) -> str:
    return "".join(log.read_text() for log in (folder.run_directory / "logs").iterdir())


@pytest.mark.parametrize("error", [CUDA_ASSERT, OUT_OF_MEMORY], ids=["accelerator", "memory"])
def test_a_broken_process_trains_no_other_trial(ray_folder: RayFolder, error: str) -> None:
    """As a corrupted CUDA context does, the module fails from its first error on: the trial continues elsewhere."""
    ray_folder.write(
        BREAKS_ONCE.format(error=error),
        search={"lr": [1e-3, 1e-2, 1e-1, 1.0], "eps": 1e-8},
        training={"epochs": 4, "checkpoint_every": 0},
        engine={"workers": 1},
    )
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in trials_of(ray_folder)] == [TrialState.COMPLETE] * 4
    begun = [line.split() for line in epochs(ray_folder)]
    assert [(lr, fresh) for lr, fresh, _ in begun] == [
        ("0.01", "True"),
        ("1", "True"),
        ("1", "False"),  # from its checkpoint
        ("0.001", "True"),
        ("0.1", "True"),
    ]
    processes = [process for *_, process in begun]
    assert processes[0] == processes[1] != processes[2], "the process is reused until it breaks"
    assert f"RuntimeError: {error}" in logs_of(ray_folder)


def test_a_trial_that_breaks_every_process_ends_as_died(ray_folder: RayFolder) -> None:
    """Within the bound that `max_failures` sets, with the reason and a remedy."""
    module = f"""
        import pathlib

        def train(run):
            for epoch in run.epochs():
                if run.lr == 1e-2:
                    with pathlib.Path(__file__).with_name("tries").open("a") as file:
                        print("try", file=file)
                    raise RuntimeError({OUT_OF_MEMORY!r})
                run.report(score=run.lr)
        """
    ray_folder.write(module, search={"lr": [1e-3, 1e-2, 1e-1], "eps": 1e-8}, engine={"workers": 1, "max_failures": 1})
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    by_lr = {trial.params["lr"]: trial for trial in trials_of(ray_folder)}
    assert {lr: trial.user_attrs.get("fail_reason") for lr, trial in by_lr.items()} == {
        1e-3: None,
        1e-2: "died",
        1e-1: None,
    }
    assert by_lr[1e-2].user_attrs["error"].startswith("out of memory (")
    assert "use fewer workers" in by_lr[1e-2].user_attrs["error"]
    assert (ray_folder.path / "tries").read_text().split() == ["try"] * 2


@pytest.mark.parametrize("while_", ["loading", "probing"])
def test_memory_that_runs_out_before_the_trials(ray_folder: RayFolder, while_: str) -> None:
    """In the first process that loads the data, or probes: another one takes over."""
    module = f"""
        import pathlib, torch

        def fails(where):
            once = pathlib.Path(__file__).with_name("once")
            if where == {while_!r} and not once.exists():
                once.touch()
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        class Mine:
            def __init__(self):
                fails("loading")

            def model(self):
                return torch.nn.Linear(2, 1)

            def train_batches(self, epoch):
                yield torch.ones(4, 2)

            def loss(self, model, batch):
                fails("probing")
                return model(batch).square().mean()

            def evaluate(self, model):
                return {{"loss": float(model(torch.ones(4, 2)).square().mean())}}
        """
    search: dict[str, Any] = {"lr": [1e-3, 1e-2], "eps": 1e-8 if while_ == "loading" else "endpoints"}
    ray_folder.write(
        module,
        workload={"train": None, "object": "my_code:Mine"},
        metric={"name": "loss", "goal": "minimize"},
        search=search,
        engine={"workers": 1},
    )
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    assert {trial.state for trial in trials_of(ray_folder)} == {TrialState.COMPLETE}
    assert (ray_folder.path / "once").exists()
    assert "CUDA out of memory" in logs_of(ray_folder)


ERRORS = {
    1e-4: "SystemExit(3)",
    1e-3: "KeyboardInterrupt()",
    1e-2: "EOFError('no line')",
    1e-1: "ConnectionError('gone')",
}


def test_what_a_trial_raises_is_in_the_logs(ray_folder: RayFolder) -> None:
    """Including errors that have a meaning for Ray or epsearch."""
    module = f"""
        def train(run):
            for epoch in run.epochs():
                run.report(score=run.lr)
                if run.lr == 1e-4: raise {ERRORS[1e-4]}
                if run.lr == 1e-3: raise {ERRORS[1e-3]}
                if run.lr == 1e-2: raise {ERRORS[1e-2]}
                if run.lr == 1e-1: raise {ERRORS[1e-1]}
        """
    ray_folder.write(module, search={"lr": [1e-5, *ERRORS], "eps": 1e-8}, engine={"workers": 1})
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    by_lr = {trial.params["lr"]: trial for trial in trials_of(ray_folder)}
    assert by_lr.pop(1e-5).state == TrialState.COMPLETE
    logs = logs_of(ray_folder)
    for lr, error in ERRORS.items():
        assert by_lr[lr].user_attrs["fail_reason"] == "raised"
        assert by_lr[lr].user_attrs["error"].startswith(error.partition("(")[0])
        assert f"raise {error}" in logs
        assert f"--- trial {by_lr[lr].number}: adam, lr 1e{round(math.log10(lr))}, " in logs


@pytest.mark.parametrize("error", ["SystemExit(3)", "ConnectionError('gone')"])
def test_what_the_probe_raises_is_in_the_logs(ray_folder: RayFolder, error: str) -> None:
    ray_folder.write(f"def train(run):\n    raise {error}\n", search={"eps": "endpoints", "lr": 1e-3})
    done = ray_folder.run()
    assert done.returncode == 1, done.stderr
    assert f"\nepsearch: {error.partition('(')[0]}: " in f"\n{done.stderr}"
    assert f"raise {error}" in (ray_folder.run_directory / "logs" / "probe.log").read_text()


def test_a_child_that_the_users_code_forks(ray_folder: RayFolder) -> None:
    """It returns from train(run) as its parent does, and reports and trains nothing."""
    module = """
        import os, pathlib

        def train(run):
            child = os.fork()
            for epoch in run.epochs():
                if child:
                    os.waitpid(child, 0) if epoch == 0 else None
                    with pathlib.Path(__file__).with_name("epochs").open("a") as file:
                        print(f"{run.lr:g}", run.seed, epoch, file=file)
                    run.report(score=run.lr)
                else:
                    return
        """
    ray_folder.write(
        module,
        search={"lr": [1e-3, 1e-2], "eps": 1e-8},
        training={"seeds": [0, 1], "epochs": 2},
        engine={"workers": 1, "pruner": "median"},
    )
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    assert Counter(epochs(ray_folder)) == Counter(
        f"{lr} {seed} {epoch}" for lr in ("0.001", "0.01") for seed in (0, 1) for epoch in (0, 1)
    )
    assert [trial.value for trial in trials_of(ray_folder)] == [1e-3, 1e-2]


def test_a_trial_that_hangs_times_out(ray_folder: RayFolder) -> None:
    """Its process is killed, the next trial has another one; the next run retries it, this one does not."""
    module = """
        import os, pathlib, time

        def train(run):
            with pathlib.Path(__file__).with_name("epochs").open("a") as file:
                print(f"{{run.lr:g}}", os.getpid(), file=file)
            for epoch in run.epochs():
                run.report(score=run.lr, checkpoint={{"epoch": epoch}})
                if {hangs} and run.lr == 1e-1:
                    time.sleep(600)
        """
    search = {"lr": [1e-3, 1e-2, 1e-1], "eps": 1e-8}
    sections = {"training": {"epochs": 2, "checkpoint_every": 0}, "engine": {"workers": 1, "trial_timeout": 0.1}}
    ray_folder.write(module.format(hangs=True), search=search, **sections)
    done = ray_folder.run()
    assert done.returncode == 0, done.stderr
    by_lr = {trial.params["lr"]: trial for trial in trials_of(ray_folder)}
    assert by_lr[1e-1].user_attrs["fail_reason"] == "timed_out"
    assert "took longer than 0.1 minutes, the limit that engine.trial_timeout sets" in by_lr[1e-1].user_attrs["error"]
    assert by_lr[1e-3].state == by_lr[1e-2].state == TrialState.COMPLETE
    trained = [line.split() for line in epochs(ray_folder)]
    assert [lr for lr, _ in trained] == ["0.01", "0.1", "0.001"]
    assert trained[0][1] == trained[1][1] != trained[2][1]
    assert not list((ray_folder.run_directory / "checkpoints").glob("*.pt"))

    ray_folder.write(module.format(hangs=False), search=search, **sections)
    again = ray_folder.run()
    assert again.returncode == 0, again.stderr
    assert [line.split()[0] for line in epochs(ray_folder)[3:]] == ["0.1"]
