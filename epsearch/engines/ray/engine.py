"""The Ray engine: Ray Tune runs the trials of the same study, on one machine or a cluster."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from epsearch.core.errors import ProcessUnusable, StudyError, UserError
from epsearch.core.messages import one_line
from epsearch.engines.base import Steps, Task
from epsearch.engines.dispatcher import Dispatcher
from epsearch.engines.interrupts import Interrupts
from epsearch.engines.logs import Logs
from epsearch.engines.ray import cluster as ray_cluster
from epsearch.engines.ray import patches
from epsearch.engines.ray.driver import TIMED_OUT, StudyAborted, TuneDriver
from epsearch.engines.ray.metrics import Metered
from epsearch.engines.ray.tuner import run_trials
from epsearch.engines.ray.watch import Watch
from epsearch.engines.ray.worker_tasks import run_task
from epsearch.records.listener import Listener
from epsearch.search.study import SharedStudy
from epsearch.study.config import StudyConfig


class RayEngine:
    """Runs trials with Ray Tune. Starts Ray, or connects to the cluster, on first use."""

    def __init__(self, config: StudyConfig, logs: Path) -> None:
        self._config, self._logs = config, Logs(logs)
        self._study = config
        self._stack = contextlib.ExitStack()
        self._connected = False
        self._watch = Watch()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def call(self, task: Task, *arguments: Any, steps: Steps | None = None) -> Any:
        """Run a task where a trial would run, with a trial's resources.

        Raises:
            UserError, StudyError: raised by the task; or its processes died, or it exceeded the time limit.
        """
        self._connect()
        engine = self._config.engine
        remote = ray.remote(
            num_cpus=engine.resources.cpu,
            num_gpus=engine.resources.gpu,
            max_retries=engine.max_failures,
            max_calls=1,  # a new process for each task: an unusable one must not train again
        )(run_task)
        for _ in range(engine.max_failures + 1):
            result, printed = self._result(task, remote.remote(self._study, task, *arguments))
            self._logs.write(task, printed)
            if not isinstance(result, ProcessUnusable):
                break
        else:
            raise StudyError(f"the process of the {task} died: {result}")
        if isinstance(result, UserError | StudyError):
            raise result
        return result

    def _result(self, task: str, future: Any) -> Any:
        limit, began = self._config.engine.trial_timeout, time.monotonic()
        while not ray.wait([future], timeout=1)[0]:
            self._watch.check()
            if limit is not None and time.monotonic() - began > 60 * limit:
                ray.cancel(future, force=True)
                raise StudyError(f"the {task} {TIMED_OUT.format(limit)}")
        try:
            return ray.get(future)
        except ray.exceptions.RayError as error:
            raise StudyError(f"the process of the {task} died: {one_line(error)}") from error

    def search(self, studies: Sequence[SharedStudy], listener: Listener) -> None:
        """Run every trial that the studies have left."""
        earlier, left = sum(study.done for study in studies), sum(study.left for study in studies)
        if not left:
            return
        if (warning := patches.unsupported()) is not None:
            listener.stage(warning)
        self._connect()
        metered = Metered(listener, self._config, earlier, left)
        driver = TuneDriver(Dispatcher(studies, metered), self._config, self._logs, metered, self._watch)
        try:
            with Interrupts() as interrupts, tempfile.TemporaryDirectory(prefix="epsearch-tune-") as folder:
                run_trials(self._config, self._study, driver, interrupts, folder)
        except StudyAborted as aborted:
            driver.lose_all()
            raise aborted.cause from None
        except (tune.TuneError, ray.exceptions.RayError, OSError) as error:
            # epsearch's own errors arrive as StudyAborted: an OSError here comes from Ray or Tune.
            driver.lose_all()
            raise StudyError(
                f"Ray gave up: {type(error).__name__}: {one_line(error)}. Finished trials are saved; rerun the same "
                "command to resume."
            ) from error
        except BaseException:
            # Ctrl-C: best effort to mark running trials as lost.
            driver.lose_all()
            raise

    def _connect(self) -> None:
        if not self._connected:
            folder = self._stack.enter_context(ray_cluster.connected(self._config, self._watch))
            self._study = _for_workers(self._config, folder)
            self._connected = True
            ray_cluster.check_room(self._config)


def _for_workers(config: StudyConfig, folder: Path) -> StudyConfig:
    """The study with the folder's path on the workers, and without its storage."""
    workload = config.workload.model_copy(update={"folder": str(folder)})
    return config.without_storage().model_copy(update={"workload": workload})
