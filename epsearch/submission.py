"""A study as a job of a Ray cluster, through the job API that its dashboard serves (http://head:8265).

The job is `epsearch run` on the head node. Its run directory stays there, below EPSEARCH_RUNS or ~/epsearch-runs, by
the study's name: submitted again, a study goes on. The job API has no way to read a file, so a directory is fetched
through the log of a small job that writes it there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import re
import secrets
import shlex
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from epsearch.commands import command as epsearch
from epsearch.config import StudyConfig
from epsearch.engines.ray_package import needs_folder, runtime_environment
from epsearch.errors import StudyError, UserError
from epsearch.studyfile import load_study
from epsearch.wording import mask_password

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""Environment variable of Ray's own, for the address of the job API."""

RUNS = '"${EPSEARCH_RUNS:-$HOME/epsearch-runs}"'
"""Where run directories are on the cluster, in words of its shell."""

STUDY = "epsearch_study"
"""Key of a job's metadata: the study's name."""

FETCHED_FROM = ".job"
"""File of a fetched run directory: the job that it is a copy of, which may be fetched again."""

BEGIN, END = "-----BEGIN RUN DIRECTORY-----", "-----END RUN DIRECTORY-----"
LOOK_SECONDS = 0.5


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
        with self._trouble():
            self._client = JobSubmissionClient(address)
            self._client.get_version()

    def submit(self, study: Path, settings: Sequence[str]) -> str:
        """Send a study, with the code beside it, and start it; the job's name.

        `settings` are `key=value` overrides, as for a run.

        Raises:
            UserError: the study is wrong, is for another engine, or would show a password.
        """
        config = load_study(study, settings)
        _check(config, study, settings)
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", config.name).strip("-") or "study"
        job = f"{slug}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        words = [word for setting in settings for word in ("--set", setting)]
        # The cluster is the one that the job runs on, and its storage may be told by its environment alone.
        command = shlex.join(["run", study.name, *words, "--set", "engine.address=auto"])
        with _packed(config, study) as folder, self._trouble():
            self._client.submit_job(
                entrypoint=f"exec python3 -m epsearch.cli {command} --dir {RUNS}/{shlex.quote(config.name)}",
                submission_id=job,
                runtime_env=runtime_environment(folder),
                metadata={STUDY: config.name},
            )
        return job

    def details(self, job: str) -> JobDetails:
        """What the cluster knows of a job."""
        with self._trouble(job):
            return self._client.get_job_info(job)

    def logs(self, job: str) -> str:
        """What a job has printed."""
        with self._trouble(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, write: Callable[[str], object]) -> JobDetails:
        """Pass on what a job prints until it ends; how it ended.

        Raises:
            StudyError: the connection broke; the job goes on.
        """

        async def tail() -> None:
            async for text in self._client.tail_job_logs(job):
                write(text)

        with self._trouble(job):
            self._client.get_job_info(job)
            try:
                asyncio.run(tail())
            except RuntimeError as error:
                raise StudyError(
                    f"the connection broke ({_one_line(error)}); the job goes on: {again(job, self._address)}"
                ) from error
            return self._ended(job)

    def stop(self, job: str) -> bool:
        """End a job, as Ctrl-C would; False if it had ended already."""
        with self._trouble(job):
            if self._client.get_job_info(job).status.is_terminal():
                return False
            self._client.stop_job(job)
            self._ended(job)
            return True

    def fetch(self, job: str, directory: Path | None) -> Path:
        """Copy a job's run directory, as it is now, to `directory` or runs/<name of the study>; where it is.

        Raises:
            UserError: the job is no study's, has no run directory yet, or another run is in the way here.
        """
        name = (self.details(job).metadata or {}).get(STUDY)
        if name is None:
            raise UserError(f"{job}: is no job of epsearch's; there is nothing to fetch.")
        place = local_copy(name, directory)
        with self._trouble(job):
            copier = self._client.submit_job(
                entrypoint=f"exec python3 -m epsearch.submission {RUNS}/{shlex.quote(name)}",
                submission_id=f"{job}-fetch-{secrets.token_hex(2)}",
            )
            self._ended(copier)
            printed = str(self._client.get_job_logs(copier))
            with contextlib.suppress(RuntimeError):  # no more than tidiness
                self._client.delete_job(copier)
        head, begin, rest = printed.partition(BEGIN)
        archive, end, _ = rest.partition(END)
        if not (begin and end):
            raise UserError(f"{job}: its run directory could not be read: {_one_line(head)[-300:]}")
        _unpack(base64.b64decode(archive), place)
        (place / FETCHED_FROM).write_text(f"{job}\n", encoding="utf-8")
        return place

    def _ended(self, job: str) -> JobDetails:
        while not (details := self._client.get_job_info(job)).status.is_terminal():
            time.sleep(LOOK_SECONDS)
        return details

    @contextmanager
    def _trouble(self, job: str = "") -> Iterator[None]:
        """What goes wrong in between is the user's to mend, and is said in one line."""
        try:
            yield
        except StudyError:  # said already, and a RuntimeError too
            raise
        except AuthenticationError as error:
            raise UserError(
                f"{self._address}: this cluster asks for a token ({_one_line(error)}). Set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its head node (or save that as "
                "~/.ray/auth_token)."
            ) from error
        except OSError as error:  # ConnectionError, and what requests raises
            raise UserError(
                f"{self._address}: nothing answers there ({_one_line(error)}). It is the head node's dashboard, "
                "started by `ray start --head`, or a tunnel to it."
            ) from error
        except RuntimeError as error:
            if job and "404" in str(error):
                raise UserError(f"{job}: no such job at {self._address}. {self._known()}") from error
            raise UserError(f"{self._address}: {_one_line(error)}") from error

    def _known(self) -> str:
        jobs = sorted(
            (job for job in self._client.list_jobs() if STUDY in (job.metadata or {})),
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
    place = directory or Path("runs") / name
    if place.exists() and not (place / FETCHED_FROM).exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{place}: is there already, and is no copy of a job's; name another directory with --dir DIR.")
    return place


def describe(job: str, details: JobDetails, logs: str) -> str:
    """A job in a few lines: its state, for how long, and the last thing it said."""
    began, ended = (when and when / 1000 for when in (details.start_time, details.end_time))
    lines = [f"{job}  {details.status.value.lower()}"]
    if began:
        minutes = ((ended or time.time()) - began) / 60
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(began))
        lines[0] += f", {'took' if ended else 'for'} {minutes:.1f} min since {when}"
    if details.status in (JobStatus.FAILED, JobStatus.PENDING) and details.message:
        lines.append(_one_line(details.message)[-500:])
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
    texts = [*settings, study.read_text(encoding="utf-8")]
    if any(mask_password(text) != text for text in texts):
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


def _one_line(error: object) -> str:
    return f"{' '.join(str(error).split()):.500}"


def _write_out(directory: Path) -> None:
    """Print a run directory as a tar file in base64: what `fetch` reads.

    Left out are checkpoints, which only the cluster can go on from. The database is copied by SQLite's own backup: it
    may be written meanwhile.
    """
    if not (directory / "study.yaml").exists():
        sys.exit(f"{directory} is not there yet; the job's log says why.")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar, tempfile.TemporaryDirectory() as scratch:
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            if name.parts[0] in ("checkpoints", ".lock") or path.suffix == ".tmp" or not path.is_file():
                continue
            if name.suffix == ".db":
                copy = Path(scratch) / name.name
                with (
                    contextlib.closing(sqlite3.connect(path, timeout=60)) as here,
                    contextlib.closing(sqlite3.connect(copy)) as there,
                ):
                    here.backup(there)
                path = copy  # noqa: PLW2901 - the copy stands for it
            elif "db-" in name.suffix:
                continue
            # A trial may end meanwhile, and what was its file be gone.
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, arcname=str(name))
    print(BEGIN, base64.encodebytes(archive.getvalue()).decode(), END, sep="\n", flush=True)


def _unpack(archive: bytes, directory: Path) -> None:
    """Write an archive's files below `directory`, and nowhere else."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = (directory / member.name).resolve()
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None and path.is_relative_to(directory.resolve()):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


if __name__ == "__main__":
    _write_out(Path(sys.argv[1]))
