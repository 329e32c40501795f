"""A study as a job of a Ray cluster, through the job API that its dashboard serves (http://head:8265).

The job is `epsearch run` on the head node. Its run directory stays there, below EPSEARCH_RUNS or ~/epsearch-runs, by
the study's name: submitted again, a study goes on. The job API has no way to read a file, so a directory is fetched
through the log of a small job that writes it there.
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
"""Environment variable of Ray's own, for the address of the job API."""

RUNS = '"${EPSEARCH_RUNS:-$HOME/epsearch-runs}"'
"""Where run directories are on the cluster, in words of its shell."""

STUDY = "epsearch_study"
"""Key of a job's metadata: the study's name."""

FETCHED_FROM = ".job"
"""File of a fetched run directory: the job that it is a copy of, which may be fetched again."""

POLL_SECONDS = 0.5


class Cluster:
    """The job API of a Ray cluster.

    Raises:
        UserError: by every method too: nothing answers at the address, or it asks for a token; no such job is there.
    """

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"https?://\S+", address):
            raise UserError(
                f"{address}: is no address of a Ray cluster's dashboard, whose job API takes studies; "
                "it looks like http://head:8265."
            )
        self._address = address
        # Ray prefers this to the address that it is given.
        os.environ[ADDRESS_VARIABLE] = address
        with self._one_line_errors():
            self._client = JobSubmissionClient(address)
            self._client.get_version()

    def submit(self, study: Path, settings: Sequence[str]) -> str:
        """Send a study, with the code beside it, and start it; the job's name.

        `settings` are `key=value` overrides, as for a run.

        Raises:
            UserError: the study is wrong, is for another engine, or would show a password.
        """
        with no_storage_variable():  # the cluster has its own
            config = load_study(study, settings)
        _check(config, study, settings)
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", config.name).strip("-") or "study"
        job = f"{slug}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        words = [word for setting in settings for word in ("--set", setting)]
        # The cluster is the one that the job runs on, and its storage may be told by its environment alone.
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
        """What a job has printed."""
        with self._one_line_errors(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, write: Callable[[str], object]) -> JobDetails:
        """Pass on what a job prints until it ends; how it ended.

        Raises:
            StudyError: the connection broke; the job goes on.
        """

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        self.details(job)
        try:
            asyncio.run(tail())
            return self._ended(job)
        except BrokenPipeError:  # of our own output
            raise
        except Exception as error:  # of requests, aiohttp and Ray, and what a proxy's answer leads to
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise StudyError(
                f"{self._address}: the connection broke ({reason}); the job goes on: {again(job, self._address)}"
            ) from error

    def stop(self, job: str) -> bool:
        """End a job, as Ctrl-C would; False if it had ended already."""
        with self._one_line_errors(job):
            if self._client.get_job_info(job).status.is_terminal():
                return False
            self._client.stop_job(job)
            self._ended(job)
            return True

    def fetch(self, job: str, directory: Path | None, note: Callable[[str], object] = print) -> Path:
        """Copy a job's run directory, as it is now, to `directory` or runs/<name of the study>; where it is.

        What is left out of it goes to `note`.

        Raises:
            UserError: the job is no study's, has no run directory yet, or another run is in the way here; the job's
                name or its files would end up elsewhere.
            StudyError: the files cannot be written here.
        """
        name = (self.details(job).metadata or {}).get(STUDY)
        if name is None:
            raise UserError(f"{job}: is no job of epsearch's; there is nothing to fetch.")
        try:
            check_name(name)
        except PydanticCustomError as error:
            raise UserError(f"{job}: the name of its study is refused: {error.message()}") from error
        run_dir = local_copy(name, directory)
        with self._one_line_errors(job):
            copier = self._client.submit_job(
                entrypoint=f"exec python3 -m epsearch.engines.ray.archive {RUNS}/{shlex.quote(name)}",
                submission_id=f"{job}-fetch-{secrets.token_hex(2)}",
            )
            self._ended(copier)
            printed = str(self._client.get_job_logs(copier))
            with contextlib.suppress(RuntimeError):  # no more than tidiness
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
                f"{run_dir}: the run directory of {job} could not be written there ({one_line(error)}); fix that and "
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
        """What goes wrong in between is the user's to mend, and is said in one line."""
        try:
            yield
        except (StudyError, UserError):  # said already, and a RuntimeError and a ValueError too
            raise
        except AuthenticationError as error:
            raise UserError(
                f"{self._address}: this cluster asks for a token ({one_line(error)}). Set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its head node (or save that as "
                "~/.ray/auth_token)."
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # An answer that is no JSON, or another JSON than Ray's. (That of requests is an OSError as well.)
            raise UserError(
                f"{self._address}: what answers there is not a Ray cluster's dashboard ({type(error).__name__}: "
                f"{one_line(error)})."
            ) from error
        except OSError as error:  # ConnectionError, and what requests raises
            raise UserError(
                f"{self._address}: nothing answers there ({one_line(error)}). It is the head node's dashboard, "
                "started by `ray start --head`, or a tunnel to it."
            ) from error
        except RuntimeError as error:
            if job and "404" in str(error):
                raise UserError(f"{job}: no such job at {self._address}. {self._known()}") from error
            raise UserError(f"{self._address}: {one_line(error)}") from error

    def _known(self) -> str:
        try:
            listed = self._client.list_jobs()
        except Exception:  # there is a message already
            return ""
        jobs = sorted(
            (job for job in listed if STUDY in (job.metadata or {})),
            key=lambda job: job.start_time or 0,
            reverse=True,
        )
        known = ", ".join(f"{job.submission_id} ({job.status.value.lower()})" for job in jobs[:10])
        return f"There are: {known}." if known else "No study has been submitted there."


def local_copy(name: str, directory: Path | None) -> Path:
    """Where a fetched run directory goes: `directory`, or runs/<name>.

    Raises:
        UserError: a run of this machine's own is there.
    """
    run_dir = directory or Path("runs") / name
    if run_dir.exists() and not (run_dir / FETCHED_FROM).exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(
            f"{run_dir}: is there already, and is no copy of a job's; name another directory with --dir DIR."
        )
    return run_dir


def describe(job: str, details: JobDetails, logs: str) -> str:
    """A job in a few lines: its state, for how long, and the last thing it said."""
    began, ended = (when and when / 1000 for when in (details.start_time, details.end_time))
    lines = [f"{job}  {details.status.value.lower()}"]
    if began:
        minutes = ((ended or time.time()) - began) / 60
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(began))
        lines[0] += f", {'took' if ended else 'for'} {minutes:.1f} min since {when}"
    if details.status in (JobStatus.FAILED, JobStatus.PENDING) and details.message:
        lines.append(one_line(details.message, 500))
    # What is recommended at the end is no news.
    said = [line for line in logs.partition("\nReport  ")[0].splitlines() if line.strip()]
    return "\n".join([*lines, *said[-1:]])


def again(job: str, address: str) -> str:
    """The command for a job that one has left."""
    return f"{epsearch('status', job, '--address', mask_password(address))}    # or logs, stop, fetch"


def _check(config: StudyConfig, study: Path, settings: Sequence[str]) -> None:
    """Refuse what would not work there, or be seen by whoever sees the cluster's jobs."""
    if config.engine.name != "ray":
        raise UserError(
            f"{config.where('engine.name')}: a cluster is for the engine ray; add --set engine.name=ray "
            f"(instead of {config.engine.name} and the keys that are its own)."
        )
    url, text = config.engine.storage, study.read_text(encoding="utf-8")
    if (
        # The value as well as the text, where YAML's escapes may hide it.
        (url is not None and mask_url(url) != url)
        or mask_urls_in(text) != text
        or any(mask_password(setting) != setting for setting in settings)
    ):
        raise UserError(
            f"{config.where('engine.storage')}: the password would be shown to everyone who sees the cluster's jobs; "
            "set EPSEARCH_STORAGE to the URL in the environment of the head node instead."
        )
    if needs_folder(config) and not config.folder.is_relative_to(study.resolve().parent):
        raise UserError(
            f"{config.where('workload.folder')}: {config.folder} is not below the study file's folder, which is what "
            "is sent; move the study file, or install the module on the cluster."
        )


@contextmanager
def _packed(config: StudyConfig, study: Path) -> Iterator[Path]:
    """The folder to send: the study file's own, or of a study that is its file alone, one that holds no more."""
    folder = study.resolve().parent
    if needs_folder(config):
        yield folder
        return
    with tempfile.TemporaryDirectory() as alone:
        shutil.copy(study, alone)
        yield Path(alone)
