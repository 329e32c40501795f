"""The Ray that a study's trials run on: one started for this run on this machine, or a cluster that is there."""

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
"""Where Ray tells a submitted job's driver, in JSON, what the job was submitted with."""


@contextmanager
def connected(config: StudyConfig, watch: Watch) -> Iterator[Path]:
    """Within, Ray is there; what was started for it is ended. A Ray that this process uses already is left as it is.

    Gives where a worker finds the study's folder: the same path as here, or one that begins where Ray has unpacked
    what it brought there. `watch` looks after Ray until it is ended.

    Raises:
        UserError: no cluster is at the address, or the study's folder cannot be sent there.
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
                # Sockets are made below: a path of at most 107 bytes, and the usual TMPDIR may be long.
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
        # A submitted job: what is in its working folder is on every machine already.
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
            f"({one_line(error)}). Ray takes at most 500 MB; a .gitignore there names what stays behind."
        ) from error
    except Exception as error:
        raise UserError(
            f"{config.where('engine.address')}: {config.engine.address} is no Ray cluster that answers "
            f"({one_line(error)}). Start one with ray start --head; for one that asks for a token "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; or remove the key, and the run has a Ray of its own."
        ) from error
    try:
        watch.start(ray.get_runtime_context().gcs_address)
        yield folder
    finally:
        ray.shutdown()
        watch.end()


def _brought_along() -> bool:
    """Whether this process is a job's, whose folder Ray has packed."""
    job = json.loads(os.environ.get(JOB_VARIABLE) or "{}")
    return "working_dir" in (job.get("runtime_env") or {})


def room(config: StudyConfig) -> int:
    """How many trials the nodes have room for, if nothing else runs there."""
    asked = config.engine.resources
    return sum(_room(node["Resources"], asked.cpu, asked.gpu) for node in _nodes())


def check_room(config: StudyConfig) -> None:
    """Refuse what would wait for ever.

    Raises:
        UserError: no node has what a trial asks for; the message says what nodes there are.
    """
    if room(config):
        return
    nodes = (
        f"{node['NodeManagerAddress']}: {node['Resources'].get('CPU', 0):g} CPUs, "
        f"{node['Resources'].get('GPU', 0):g} GPUs"
        for node in _nodes()
    )
    asked = config.engine.resources
    raise UserError(
        f"{config.where('engine.resources')}: no node has room for a trial, which asks for {asked.cpu:g} CPUs and "
        f"{asked.gpu:g} GPUs. Nodes: {'; '.join(nodes)}. Ask for less, or add a node that has it."
    )


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _room(node: Mapping[str, float], cpu: float, gpu: float) -> int:
    # A share of a GPU is a share of one of them. Ray counts in ten-thousandths: three times 0.1 are 0.3.
    gpus = node.get("GPU", 0.0)
    of_gpus = math.inf if not gpu else gpus // gpu if gpu >= 1 else gpus * math.floor(1 / gpu + 1e-6)
    return int(min(math.floor(node.get("CPU", 0.0) / cpu + 1e-6), of_gpus))
