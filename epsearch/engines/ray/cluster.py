"""Connect to the Ray that runs a study's trials: started on this machine for the run, or an existing cluster."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from epsearch.core.environment import no_storage_variable
from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import one_line
from epsearch.engines.ray import patches
from epsearch.engines.ray.package import needs_folder, runtime_environment
from epsearch.engines.ray.watch import Watch, check_reachable
from epsearch.study.config import StudyConfig
from epsearch.workloads.data_folder import DATA_VARIABLE

CONNECT_SECONDS = 10

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Environment variable in which Ray passes a submitted job's settings, as JSON, to its driver."""


@contextmanager
def connected(config: StudyConfig, watch: Watch) -> Iterator[Path]:
    """Within, this process is connected to Ray; a Ray that was started here is stopped. An existing connection is kept.

    Yields the path of the study's folder on a worker: the same as here, or relative to where Ray unpacks the code.
    `watch` checks Ray meanwhile.

    Raises:
        UserError: no cluster answers at the address, or the study's folder cannot be sent to it.
        StudyError: Ray does not start on this machine.
    """
    if ray.is_initialized():
        yield config.folder
        return
    patches.silence_raylet_logs()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.engine.address is None:
        with contextlib.ExitStack() as stack:
            try:
                # Socket paths are limited to 107 bytes, and TMPDIR may be long.
                temporary = tempfile.TemporaryDirectory(prefix="epsearch-", dir="/tmp", ignore_cleanup_errors=True)
                session = stack.enter_context(temporary)
                stack.callback(watch.end)
                stack.callback(ray.shutdown)
                with no_storage_variable():
                    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                    ray.init(address="local", include_dashboard=False, _temp_dir=session, **quiet)
            except Exception as error:
                raise StudyError(
                    f"Ray did not start on this machine: {type(error).__name__}: {one_line(error)}. It needs a network "
                    "interface, some 1 GB of memory, and space in /tmp. Fix the cause and rerun the same command, or "
                    "add --set engine.name=optuna."
                ) from error
            watch.start(ray.get_runtime_context().gcs_address)
            yield config.folder
        return
    environment: dict[str, Any] = {"env_vars": {key: os.environ[key] for key in (DATA_VARIABLE,) if key in os.environ}}
    folder = config.folder
    if _brought_along():
        # A submitted job: its working directory is already on every machine.
        folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    elif needs_folder(config):
        environment |= runtime_environment(folder)
        folder = Path()
    try:
        check_reachable(config.engine.address, CONNECT_SECONDS)
        ray.init(address=config.engine.address, runtime_env=environment, **quiet)
    except ray.exceptions.RuntimeEnvSetupError as error:
        raise UserError(
            f"{config.where('workload')}: the study's folder, {config.folder}, could not be sent to the cluster "
            f"({one_line(error)}). Ray takes at most 500 MB; list files to exclude in a .gitignore there."
        ) from error
    except Exception as error:
        raise UserError(
            f"{config.where('engine.address')}: no Ray cluster answers at {config.engine.address} "
            f"({one_line(error)}). Start one with ray start --head; for one that asks for a token "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; or remove the key to start Ray on this machine."
        ) from error
    try:
        watch.start(ray.get_runtime_context().gcs_address)
        yield folder
    finally:
        ray.shutdown()
        watch.end()


def _brought_along() -> bool:
    """Whether this process is a job whose folder Ray has packed."""
    job = json.loads(os.environ.get(JOB_VARIABLE) or "{}")
    return "working_dir" in (job.get("runtime_env") or {})


def room(config: StudyConfig) -> int:
    """How many trials fit on the nodes if nothing else runs there."""
    needed = config.engine.resources
    return sum(_room(node["Resources"], needed.cpu, needed.gpu) for node in _nodes())


def check_room(config: StudyConfig) -> None:
    """Refuse resources that no node has: the trials would wait forever.

    Raises:
        UserError: no node has a trial's resources; the message lists the nodes.
    """
    if room(config):
        return
    nodes = (
        f"{node['NodeManagerAddress']}: {node['Resources'].get('CPU', 0):g} CPUs, "
        f"{node['Resources'].get('GPU', 0):g} GPUs"
        for node in _nodes()
    )
    needed = config.engine.resources
    raise UserError(
        f"{config.where('engine.resources')}: no node has room for a trial, which needs {needed.cpu:g} CPUs and "
        f"{needed.gpu:g} GPUs. Nodes: {'; '.join(nodes)}. Request less, or add a larger node."
    )


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _room(node: Mapping[str, float], cpu: float, gpu: float) -> int:
    # A share of a GPU is a share of one GPU. Ray counts in ten-thousandths: three times 0.1 is 0.3.
    gpus = node.get("GPU", 0.0)
    of_gpus = math.inf if not gpu else gpus // gpu if gpu >= 1 else gpus * math.floor(1 / gpu + 1e-6)
    return int(min(math.floor(node.get("CPU", 0.0) / cpu + 1e-6), of_gpus))
