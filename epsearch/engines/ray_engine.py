"""The Ray engine: Ray Tune runs the trials, on one machine or many; what it asks and tells is the same study.

Tune wants a searcher, which says what to try, and a scheduler, which hears every result and says whether to go on.
Both live in the driver and speak to one `_Dialogue`, so the storage has one writer, as with every engine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import ray
from ray import tune
from ray.air.execution._internal import actor_manager
from ray.tune.execution import tune_controller
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from epsearch.config import StudyConfig
from epsearch.engines import ray_cluster
from epsearch.engines.arms import Arms, Member
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.ray_metrics import Metered
from epsearch.engines.ray_trial import MESSAGE, Message, RayTrial, carry_out
from epsearch.engines.study import SharedStudy
from epsearch.engines.table import SCHEDULERS
from epsearch.errors import StudyError, UserError
from epsearch.loading import load_object
from epsearch.progress import Listener
from epsearch.records import Ending

TUNE_SETTINGS = {
    # Ctrl-C is ours to handle.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's result files, and the state it would restore from, are nobody's: the study is in its storage.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # The new output cannot be told to be quiet; the old one can.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
"""What Tune takes from the environment alone."""

ROOM_SECONDS = 5
"""How long a look at the cluster's nodes is believed."""


class RayEngine:
    """Trials by Ray Tune. Ray is started, or the cluster reached, when it is first needed."""

    def __init__(self, config: StudyConfig, logs: Path) -> None:
        self._config, self._logs = config, _Logs(logs)
        self._study = config
        self._stack = contextlib.ExitStack()
        self._connected = False

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def call(self, task: Literal["probe", "batches"]) -> Any:
        """Carry out a task where a trial would run, with what a trial is given.

        Raises:
            UserError, StudyError: that the task met, or its process died.
        """
        self._connect()
        asked = self._config.engine.resources
        remote = ray.remote(num_cpus=asked.cpu, num_gpus=asked.gpu, max_retries=self._config.engine.max_failures)
        future = remote(carry_out).remote(self._study, task)
        try:
            result, printed = ray.get(future)
        except ray.exceptions.RayError as error:
            raise StudyError(f"the process of the {task} died: {_one_line(error)}") from error
        self._logs.write(task, printed)
        if isinstance(result, UserError | StudyError):
            raise result
        return result

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left."""
        settled, left = sum(study.settled for study in studies), sum(study.left for study in studies)
        if not left:
            return
        self._connect()
        arms = Arms(studies, Metered(listener, self._config, settled, left))
        dialogue = _Dialogue(arms, self._config, self._logs)
        try:
            with Interrupts() as interrupts, tempfile.TemporaryDirectory(prefix="epsearch-tune-") as folder:
                _tune(self._config, self._study, dialogue, interrupts, folder)
        except _Abandoned as abandoned:
            dialogue.lose_all()
            raise abandoned.cause from None
        except (tune.TuneError, ray.exceptions.RayError) as error:
            dialogue.lose_all()
            raise StudyError(f"Ray gave up: {_one_line(error)}. What was settled is kept; run it again.") from error
        except BaseException:
            # Ctrl-C: say in the storage, if it still listens, that these trials are under way no more.
            dialogue.lose_all()
            raise

    def _connect(self) -> None:
        if not self._connected:
            folder = self._stack.enter_context(ray_cluster.connected(self._config))
            self._study = _for_workers(self._config, folder)
            self._connected = True
            ray_cluster.check_room(self._config)


def _tune(config: StudyConfig, study: StudyConfig, dialogue: _Dialogue, interrupts: Interrupts, folder: str) -> None:
    """Let Ray Tune run until the dialogue has nothing more to try."""
    deaths: dict[str, str] = {}
    # Pickled by value, once for the whole study.
    trainable = type("RayTrial", (RayTrial,), {"study": study})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a trial that failed is its listener's to tell
    tuner = tune.Tuner(
        tune.with_resources(trainable, config.engine.resources.model_dump()),
        tune_config=tune.TuneConfig(
            search_alg=_Asking(dialogue, deaths),
            scheduler=_Hearing(dialogue, config, deaths),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=folder,
            verbose=0,
            callbacks=[_Pausing(dialogue, interrupts)],
            failure_config=tune.FailureConfig(max_failures=config.engine.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    # As many workers at once as the searcher asks for: by default they start one after the other.
    with _environment(TUNE_SETTINGS | {"TUNE_MAX_PENDING_TRIALS_PG": str(dialogue.limit)}), _deaths_of_memory():
        tuner.fit()
    dialogue.raise_trouble()


Judge = Callable[[int, float], bool]
"""`judge(step, metric) -> whether Ray's scheduler lets the trial go on`."""


class _Abandoned(BaseException):
    """Ends Tune at once for `cause`; an Exception would have it wait until every trial has stopped."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class _Dialogue:
    """The trials under way, by Tune's names for them, and what passes between them and the study.

    What goes wrong in it is kept, and raised between two of Tune's steps: inside one, Tune would take it for the
    trial's failure.
    """

    def __init__(self, arms: Arms, config: StudyConfig, logs: _Logs) -> None:
        self._arms, self._config, self._logs = arms, config, logs
        self._members: dict[str, Member] = {}
        self._trouble: Exception | None = None
        self._room, self._looked = 0, -float(ROOM_SECONDS)

    @property
    def limit(self) -> int:
        """How many trials may be under way: `workers`, or as many as the nodes have room for now.

        A trial that waits for room would choose its parameters knowing less than it could.
        """
        if self._config.engine.workers is not None:
            return self._config.engine.workers
        if time.monotonic() - self._looked > ROOM_SECONDS:
            self._room, self._looked = max(1, ray_cluster.room(self._config)), time.monotonic()
        return self._room

    def ask(self, name: str) -> dict[str, Any] | str | None:
        """What Tune shall try next: its configuration, None for nothing now, or that there is no more."""
        if len(self._members) >= self.limit:
            return None
        member = None
        if self._trouble is None:
            try:
                member = self._arms.ask()
            except Exception as error:
                self._trouble = error
        if member is None:
            return str(Searcher.FINISHED)
        self._members[name] = member
        return {"cell": member[1].cell.model_dump(), "checkpoint": None}

    def hear(self, name: str, result: dict[str, Any], judge: Judge) -> bool:
        """Take in what a trial says, and answer whether it goes on."""
        if self._trouble is not None or name not in self._members:
            return True
        try:
            return self._take_in(name, result, judge)
        except Exception as error:
            self._trouble = error
            return True

    def _take_in(self, name: str, result: dict[str, Any], judge: Judge) -> bool:
        message: Message = result[MESSAGE]
        member = study, asked = self._members[name]
        self._logs.write(f"worker-{result['node_ip']}-{result['pid']}", message.printed)
        if message.trouble is not None:
            raise message.trouble
        if message.checkpoint is not None and asked.checkpoint is not None:
            _keep(asked.checkpoint, message.checkpoint)
        if message.first == 0:
            study.begin_again(asked)
        go_on = True
        for seed_index, value in message.reports:
            go_on = self._arms.report(member, seed_index, value) and go_on
            if asked.steps > asked.known_steps:
                go_on = judge(asked.steps, value) and go_on
        if message.ending is not None or not go_on:
            self._end(name, message.ending or Ending(kind="pruned"))
            return False
        return True

    def bury(self, name: str, error: str) -> None:
        """A trial's process died, and Tune tries it no more."""
        if self._trouble is None and name in self._members:
            try:
                self._end(name, Ending(kind="died", error=error))
            except Exception as trouble:
                self._trouble = trouble

    def checkpoint(self, name: str) -> Any:
        """Reference to the bytes of the checkpoint that a trial can go on from."""
        _, asked = self._members[name]
        if self._config.training.checkpoint_every is None or asked.checkpoint is None:
            return None
        try:
            return ray.put(asked.checkpoint.read_bytes())
        except OSError:
            return None

    def raise_trouble(self) -> None:
        """Raise what has gone wrong, past Tune."""
        if self._trouble is not None:
            raise _Abandoned(self._trouble)

    def lose_all(self) -> None:
        """Nobody waits for the trials under way any more."""
        with contextlib.suppress(Exception):
            for study, asked in self._members.values():
                study.tell(asked, Ending(kind="lost"))

    def _end(self, name: str, ending: Ending) -> None:
        member = self._members[name]
        self._arms.tell(member, ending)
        del self._members[name]


class _Mine:
    """An object of the driver's: Tune pickles its Tuner, for a restore that nobody will ask for."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Asking(_Mine, Searcher):  # type: ignore[misc]
    """Tune's searcher: the study is asked what to try."""

    def __init__(self, dialogue: _Dialogue, deaths: dict[str, str]) -> None:
        super().__init__()
        self._dialogue, self._deaths = dialogue, deaths

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self._dialogue.ask(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Of any other end the scheduler has heard."""
        if error:
            self._dialogue.bury(trial_id, self._deaths.get(trial_id, "its worker process died"))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is in its storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as with `save`."""


class _Hearing(_Mine, FIFOScheduler):  # type: ignore[misc]
    """Tune's scheduler: the study is told, and its pruner stops trials, or one of Ray's schedulers for each arm."""

    def __init__(self, dialogue: _Dialogue, config: StudyConfig, deaths: dict[str, str]) -> None:
        super().__init__()
        self._dialogue, self._config, self._deaths = dialogue, config, deaths
        self._schedulers: dict[str, TrialScheduler] = {}
        self._last: dict[str, dict[str, float]] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is to start, or, since its process died, to start again."""
        trial.set_config({**trial.config, "checkpoint": self._dialogue.checkpoint(trial.trial_id)})
        if trial.trial_id not in self._last and (scheduler := self._scheduler(trial)) is not None:
            scheduler.on_trial_add(tune_controller, trial)
        self._last.setdefault(trial.trial_id, {})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        scheduler = self._scheduler(trial)

        def judge(step: int, value: float) -> bool:
            if scheduler is None:
                return True
            self._last[trial.trial_id] = said = {"training_iteration": step, "value": value}
            return bool(scheduler.on_trial_result(tune_controller, trial, said) != TrialScheduler.STOP)

        if self._dialogue.hear(trial.trial_id, result, judge):
            return str(TrialScheduler.CONTINUE)
        # Tune remembers every trial; the bytes of a checkpoint shall not stay with it.
        trial.set_config({**trial.config, "checkpoint": None})
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if (scheduler := self._scheduler(trial)) is not None and (last := self._last[trial.trial_id]):
            scheduler.on_trial_complete(tune_controller, trial, last)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Its process died; whether it starts again, Tune knows."""
        self._deaths[trial.trial_id] = _death(trial)

    def _scheduler(self, trial: Any) -> TrialScheduler | None:
        """Ray's scheduler of the trial's arm: baselines are not stopped for what the searched optimizer reaches."""
        row = SCHEDULERS.get(self._config.engine.pruner)
        arm = trial.config["cell"]["optimizer"]
        if row is not None and arm not in self._schedulers:
            arguments = dict(row.arguments)
            if "stop_last_trials" in arguments and self._config.trial_epochs is not None:
                arguments["max_t"] = self._config.trial_epochs
            self._schedulers[arm] = load_object(row.path)(
                time_attr="training_iteration", metric="value", mode=self._config.goal[:3], **arguments
            )
        return self._schedulers.get(arm)


class _Pausing(tune.Callback):  # type: ignore[misc]
    """Between two steps of Tune: signals take effect, and so does what has gone wrong."""

    def __init__(self, dialogue: _Dialogue, interrupts: Interrupts) -> None:
        self._dialogue, self._interrupts = dialogue, interrupts

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._interrupts.point():
            self._dialogue.raise_trouble()


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Within, the environment has these settings."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaths_of_memory() -> Iterator[None]:
    """Within, Tune takes a worker that Ray kills to save its node's memory for one that died.

    By itself (Ray 2.60) it knows two kinds of error, of which OutOfMemoryError is neither, and ends the whole study.
    """
    dead = ray.exceptions.RayActorError
    modules = (actor_manager, tune_controller)
    for module in modules:
        module.RayActorError = (dead, ray.exceptions.OutOfMemoryError)
    try:
        yield
    finally:
        for module in modules:
            module.RayActorError = dead


class _Logs:
    """What workers print, in files of the run directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        """Add to the file of this name. A disk that is full costs the log, not the study."""
        if text:
            with contextlib.suppress(OSError):
                self._folder.mkdir(exist_ok=True)
                with (self._folder / f"{name}.log").open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text)


def _for_workers(config: StudyConfig, folder: Path) -> StudyConfig:
    """The study with its folder as the workers have it, and without its storage: the password is the driver's alone."""
    workload = config.workload.model_copy(update={"folder": str(folder)})
    engine = config.engine.model_copy(update={"storage": None})
    bare = config.model_copy(update={"workload": workload, "engine": engine})
    bare._source = replace(config._source, data={})
    return bare


def _keep(path: Path, bytes_: Any) -> None:
    """Write a checkpoint's bytes to its file, whole or not at all; what is lost on the way costs the checkpoint."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError, ray.exceptions.RayError):
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(ray.get(bytes_))
        temporary.replace(path)
    temporary.unlink(missing_ok=True)


def _death(trial: Any) -> str:
    """Why a trial's process died, in one line, from the file that Tune keeps of it."""
    try:
        told = Path(trial.error_file).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    except (OSError, TypeError):
        told = ""
    # Before that are the names that Ray has for the process.
    _, because, reason = told.partition("The actor is dead because ")
    return f"its worker process died: {_one_line(reason if because else told)}"


def _one_line(error: object) -> str:
    return f"{' '.join(str(error).split()):.300}"
