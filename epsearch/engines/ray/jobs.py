"""Run a study as a job of a Ray cluster, through the job API of its dashboard (http://head:8265).

The job is `epsearch run` on the head node. Its run directory stays there, in EPSEARCH_RUNS or ~/epsearch-runs, under
the study's name: resubmit a study to resume it. The job API cannot read files, so a directory is fetched through the
log of a small job that prints it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic_core import PydanticCustomError
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from epsearch.core.commands import command as epsearch
from epsearch.core.environment import no_storage_variable
from epsearch.core.errors import StudyError, UserError
from epsearch.core.messages import mask_password, mask_url, mask_urls_in, one_line
from epsearch.engines.ray.archive import BEGIN, END, unpack
from epsearch.engines.ray.package import needs_folder, runtime_environment
from epsearch.study.config import StudyConfig
from epsearch.study.file import load_study
from epsearch.study.schema.base import check_name

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""Ray's environment variable for the address of the job API."""

RUNS = '"${EPSEARCH_RUNS:-$HOME/epsearch-runs}"'
"""Where run directories are on the cluster, as a shell expression."""

STUDY = "epsearch_study"
"""Key of a job's metadata: the study's name."""

FETCHED_FROM = ".job"
"""File in a fetched run directory that names its job; such a directory may be overwritten."""

POLL_SECONDS = 0.5


class Cluster:
    """The job API of a Ray cluster.

    Raises:
        UserError: also by every method: nothing answers at the address, it requires a token, or the job does not exist.
    """

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"https?://\S+", address):
            raise UserError(
                f"{address}: is not the address of a Ray cluster's dashboard; it looks like http://head:8265."
            )
        self._address = address
        # Ray prefers this variable to the address passed.
        os.environ[ADDRESS_VARIABLE] = address
        with self._one_line_errors():
            self._client = JobSubmissionClient(address)
            self._client.get_version()

    def submit(self, study: Path, settings: Sequence[str]) -> str:
        """Send a study with the code beside it, start it, and return the job's name.

        `settings` are `key=value` overrides, as for a run.

        Raises:
            UserError: the study is wrong, uses another engine, or would expose a password.
        """
        with no_storage_variable():  # the cluster uses its own
            config = load_study(study, settings)
        _check(config, study, settings)
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", config.name).strip("-") or "study"
        job = f"{slug}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        words = [word for setting in settings for word in ("--set", setting)]
        # Inside the job, the cluster is the one that it runs on.
        command = shlex.join(["run", study.name, *words, "--set", "engine.address=auto"])
        with _packed(config, study) as folder, self._one_line_errors():
            self._client.submit_job(
                entrypoint=f"exec python3 -m epsearch {command} --dir {RUNS}/{shlex.quote(config.name)}",
                submission_id=job,
                runtime_env=runtime_environment(folder),
                metadata={STUDY: config.name},
            )
        return job

    def details(self, job: str) -> JobDetails:
        """What the cluster knows of a job."""
        with self._one_line_errors(job):
            return self._client.get_job_info(job)

    def logs(self, job: str) -> str:
        """A job's output."""
        with self._one_line_errors(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, write: Callable[[str], object]) -> JobDetails:
        """Pass on a job's output until it ends; return its details.

        Raises:
            StudyError: the connection broke; the job continues.
        """

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        self.details(job)
        try:
            asyncio.run(tail())
            return self._ended(job)
        except BrokenPipeError:  # our own output
            raise
        except Exception as error:  # from requests, aiohttp, Ray, or a proxy's answer
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise StudyError(
                f"{self._address}: the connection broke ({reason}); the job continues: {again(job, self._address)}"
            ) from error

    def stop(self, job: str) -> bool:
        """Stop a job, as Ctrl-C would; False if it had already ended."""
        with self._one_line_errors(job):
            if self._client.get_job_info(job).status.is_terminal():
                return False
            self._client.stop_job(job)
            self._ended(job)
            return True

    def fetch(self, job: str, directory: Path | None, note: Callable[[str], object] = print) -> Path:
        """Copy a job's current run directory to `directory` or runs/<name of the study>; return its path.

        `note` receives a line about files that are left out.

        Raises:
            UserError: the job is not a study, has no run directory yet, or a local run uses the directory; or the
                study's name or a file's path is unsafe.
            StudyError: the files cannot be written.
        """
        name = (self.details(job).metadata or {}).get(STUDY)
        if name is None:
            raise UserError(f"{job}: is not an epsearch job; there is nothing to fetch.")
        try:
            check_name(name)
        except PydanticCustomError as error:
            raise UserError(f"{job}: the study's name is not allowed: {error.message()}") from error
        run_dir = local_copy(name, directory)
        with self._one_line_errors(job):
            copier = self._client.submit_job(
                entrypoint=f"exec python3 -m epsearch.engines.ray.archive {RUNS}/{shlex.quote(name)}",
                submission_id=f"{job}-fetch-{secrets.token_hex(2)}",
            )
            self._ended(copier)
            printed = str(self._client.get_job_logs(copier))
            with contextlib.suppress(RuntimeError):  # only for tidiness
                self._client.delete_job(copier)
        head, begin, rest = printed.partition(BEGIN)
        archive, end, _ = rest.partition(END)
        if not (begin and end):
            raise UserError(f"{job}: its run directory could not be read: {one_line(head[-1000:])[-300:]}")
        try:
            left_out = unpack(archive, run_dir)
            (run_dir / FETCHED_FROM).write_text(f"{job}\n", encoding="utf-8")
        except OSError as error:
            raise StudyError(
                f"{run_dir}: could not write the run directory of {job} ({one_line(error)}); fix that and "
                f"run: {epsearch('fetch', job, '--address', self._address)}"
            ) from error
        if left_out:
            note(f"{job}: checkpoints are not fetched ({len(left_out)} left out): resuming from one runs code in it.")
        return run_dir

    def _ended(self, job: str) -> JobDetails:
        while not (details := self._client.get_job_info(job)).status.is_terminal():
            time.sleep(POLL_SECONDS)
        return details

    @contextmanager
    def _one_line_errors(self, job: str = "") -> Iterator[None]:
        """Within, errors of the connection become one-line messages with a remedy."""
        try:
            yield
        except (StudyError, UserError):  # already messages; also a RuntimeError and a ValueError
            raise
        except AuthenticationError as error:
            raise UserError(
                f"{self._address}: this cluster requires a token ({one_line(error)}). Set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its head node (or save that as "
                "~/.ray/auth_token)."
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # The answer is not JSON, or not Ray's JSON. (The error of requests is also an OSError.)
            raise UserError(
                f"{self._address}: the server is not a Ray cluster's dashboard ({type(error).__name__}: "
                f"{one_line(error)})."
            ) from error
        except OSError as error:  # ConnectionError, and errors of requests
            raise UserError(
                f"{self._address}: nothing answers there ({one_line(error)}). Give the address of the head node's "
                "dashboard, which `ray start --head` starts, or of a tunnel to it."
            ) from error
        except RuntimeError as error:
            if job and "404" in str(error):
                raise UserError(f"{job}: there is no such job at {self._address}. {self._known()}") from error
            raise UserError(f"{self._address}: {one_line(error)}") from error

    def _known(self) -> str:
        try:
            listed = self._client.list_jobs()
        except Exception:  # the message is complete without it
            return ""
        jobs = sorted(
            (job for job in listed if STUDY in (job.metadata or {})),
            key=lambda job: job.start_time or 0,
            reverse=True,
        )
        known = ", ".join(f"{job.submission_id} ({job.status.value.lower()})" for job in jobs[:10])
        return f"Jobs: {known}." if known else "No study has been submitted there."


def local_copy(name: str, directory: Path | None) -> Path:
    """Where a fetched run directory goes: `directory`, or runs/<name>.

    Raises:
        UserError: the directory holds a local run.
    """
    run_dir = directory or Path("runs") / name
    if run_dir.exists() and not (run_dir / FETCHED_FROM).exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(
            f"{run_dir}: already exists and is not a copy of a job; choose another directory with --dir DIR."
        )
    return run_dir


def describe(job: str, details: JobDetails, logs: str) -> str:
    """Describe a job in a few lines: its state, duration, and last line of output."""
    began, ended = (when and when / 1000 for when in (details.start_time, details.end_time))
    lines = [f"{job}  {details.status.value.lower()}"]
    if began:
        minutes = ((ended or time.time()) - began) / 60
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(began))
        lines[0] += f", {'took' if ended else 'for'} {minutes:.1f} min since {when}"
    if details.status in (JobStatus.FAILED, JobStatus.PENDING) and details.message:
        lines.append(one_line(details.message, 500))
    # Omit the final suggestions.
    said = [line for line in logs.partition("\nReport  ")[0].splitlines() if line.strip()]
    return "\n".join([*lines, *said[-1:]])


def again(job: str, address: str) -> str:
    """The command to look at a job later."""
    return f"{epsearch('status', job, '--address', mask_password(address))}    # or logs, stop, fetch"


def _check(config: StudyConfig, study: Path, settings: Sequence[str]) -> None:
    """Reject studies that would not run on the cluster, or would expose a password in its list of jobs."""
    if config.engine.name != "ray":
        raise UserError(
            f"{config.where('engine.name')}: a cluster runs only the engine ray; add --set engine.name=ray "
            f"(and remove the keys of {config.engine.name})."
        )
    url, text = config.engine.storage, study.read_text(encoding="utf-8")
    if (
        # Check the value as well as the text: YAML escapes may hide it.
        (url is not None and mask_url(url) != url)
        or mask_urls_in(text) != text
        or any(mask_password(setting) != setting for setting in settings)
    ):
        raise UserError(
            f"{config.where('engine.storage')}: everyone who can list the cluster's jobs would see the password; "
            "set EPSEARCH_STORAGE to the URL in the environment of the head node instead."
        )
    if needs_folder(config) and not config.folder.is_relative_to(study.resolve().parent):
        raise UserError(
            f"{config.where('workload.folder')}: {config.folder} is not inside the study file's folder, and only that "
            "is sent; move the study file, or install the module on the cluster."
        )


@contextmanager
def _packed(config: StudyConfig, study: Path) -> Iterator[Path]:
    """The folder to send: the study file's folder, or a temporary one with the file alone if that is enough."""
    folder = study.resolve().parent
    if needs_folder(config):
        yield folder
        return
    with tempfile.TemporaryDirectory() as alone:
        shutil.copy(study, alone)
        yield Path(alone)
