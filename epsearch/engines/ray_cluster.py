"""The Ray that a study's trials run on: one started for this run on this machine, or a cluster that is there."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from epsearch.config import StudyConfig
from epsearch.engines.ray_package import needs_folder, runtime_environment
from epsearch.errors import UserError
from epsearch.studyfile import STORAGE_VARIABLE
from epsearch.workloads.data_folder import DATA_VARIABLE

CONNECT_SECONDS = 10

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells a submitted job's driver, in JSON, what the job was submitted with."""


@contextmanager
def connected(config: StudyConfig) -> Iterator[Path]:
    """Within, Ray is there; what was started for it is ended. A Ray that this process uses already is left as it is.

    Gives where a worker finds the study's folder: the same path as here, or one that begins where Ray has unpacked
    what it brought there.

    Raises:
        UserError: no cluster is at the address.
    """
    if ray.is_initialized():
        yield config.folder
        return
    _hush()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.engine.address is None:
        # Sockets are made below: a path of at most 107 bytes, and the usual TMPDIR may be long.
        with tempfile.TemporaryDirectory(prefix="epsearch-", dir="/tmp", ignore_cleanup_errors=True) as session:
            with _without_storage():
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                ray.init(address="local", include_dashboard=False, _temp_dir=session, **quiet)
            try:
                yield config.folder
            finally:
                ray.shutdown()
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
        _knock(config.engine.address)
        ray.init(address=config.engine.address, runtime_env=environment, **quiet)
    except Exception as error:
        raise UserError(
            f"{config.where('engine.address')}: {config.engine.address} is no Ray cluster that answers "
            f"({' '.join(str(error).split()):.300}). Start one with ray start --head; for one that asks for a token "
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; or remove the key, and the run has a Ray of its own."
        ) from error
    try:
        yield folder
    finally:
        ray.shutdown()


def _brought_along() -> bool:
    """Whether this process is a job's, whose folder Ray has packed."""
    job = json.loads(os.environ.get(JOB_VARIABLE) or "{}")
    return "working_dir" in (job.get("runtime_env") or {})


def _hush() -> None:
    """What raylets say of a worker's death, paragraphs of it, the driver prints whatever `log_to_driver` is."""
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _knock(address: str) -> None:
    """Raise an OSError where nothing listens; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


@contextmanager
def _without_storage() -> Iterator[None]:
    """The processes of a local Ray inherit the environment; the storage's password is no business of theirs."""
    storage = os.environ.pop(STORAGE_VARIABLE, None)
    try:
        yield
    finally:
        if storage is not None:
            os.environ[STORAGE_VARIABLE] = storage


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
