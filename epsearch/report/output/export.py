"""Figures as files for papers (PNG, SVG, PDF), and the trials as Parquet."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from epsearch.core.commands import install
from epsearch.core.errors import UserError
from epsearch.core.files import write_atomically
from epsearch.core.messages import one_line, suggestion
from epsearch.records.outcome import Outcome
from epsearch.report.figures.gallery import figures
from epsearch.report.output.csv import COLUMNS

WIDTH, SCALE = 900, 2
"""Width in layout pixels, and PNG pixels per layout pixel."""

START_SECONDS, SECONDS = 60.0, 60.0
"""Time limits for starting the browser and for one image."""


IMAGES, PARQUET = ("png", "svg", "pdf"), "parquet"


def formats_of(names: Sequence[str]) -> list[str]:
    """The formats of these names.

    Raises:
        UserError: a name is not a format.
    """
    known = [*IMAGES, PARQUET]
    for name in names:
        if name not in known:
            raise UserError(f"--export {one_line(name, 60)}: unknown format. {suggestion(name, known)}")
    return [form for form in known if form in names]


def export(outcome: Outcome, formats: Collection[str]) -> list[Path]:
    """Write `figures/<id>.<format>` for each figure, or `trials.parquet`, into the outcome's directory.

    Returns:
        The files' paths.

    Raises:
        UserError: a package or a browser is missing, the browser failed, or a file cannot be written.
    """
    images = [form for form in IMAGES if form in formats]
    written = _images(outcome, images) if images else []
    return [*written, _parquet(outcome)] if PARQUET in formats else written


def _images(outcome: Outcome, formats: list[str]) -> list[Path]:
    """All images from one browser, since starting it takes longer than drawing."""
    try:
        import kaleido
        from kaleido.errors import ChromeNotFoundError
    except ImportError as error:
        raise UserError(f"Images of figures need an extra: {install('export')}") from error
    folder = outcome.directory / "figures"
    wanted = []
    for name, figure in figures(outcome).items():
        # Paper has no legend to click on.
        figure.update_traces(visible=False, selector={"visible": "legendonly"})
        for form in formats:
            size = {"width": WIDTH, "height": figure.layout.height, "scale": SCALE if form == "png" else 1}
            wanted.append((folder / f"{name}.{form}", figure.to_plotly_json(), {"format": form, **size}))
    try:
        # MathJax would be downloaded.
        browser = kaleido.Kaleido(mathjax=False, timeout=SECONDS)
        drawn = _drawn(browser, [(figure, options) for _, figure, options in wanted])
    except ChromeNotFoundError as error:
        raise UserError(
            "Exporting figures needs a browser, and none was found: install Chromium or Chrome, run "
            "`plotly_get_chrome`, or set BROWSER_PATH. report.html and figures/*.html were written."
        ) from error
    except Exception as error:
        # A browser that exits, hangs or sends garbage raises many kinds of errors.
        reason = " ".join(str(error.args[0] if error.args else error).split()) or type(error).__name__
        raise UserError(
            f"The browser could not draw the figures ({reason:.200}). Set BROWSER_PATH to use another one; report.html "
            "and figures/*.html were written."
        ) from error
    for (path, _, _), image in zip(wanted, drawn, strict=True):
        try:
            write_atomically(path, image)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}).") from error
    return [path for path, _, _ in wanted]


def _drawn(browser: Any, figures: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[bytes]:
    """The images of figures, each with kaleido's options, from one browser.

    Runs kaleido in a thread with a time limit, because kaleido waits forever for a browser that does not answer. On
    timeout or Ctrl-C, kills the browser, which also ends the thread.

    Raises:
        Exception: whatever kaleido raises.
        TimeoutError: the browser took too long.
    """
    images: list[bytes] = []
    raised: list[Exception] = []

    async def draw() -> None:
        async with browser:
            for figure, options in figures:
                images.append(await browser.calc_fig(figure, options))

    def work() -> None:
        try:
            asyncio.run(draw())
        except Exception as error:
            raised.append(error)
        except asyncio.CancelledError:  # how kaleido reports a browser that exited
            raised.append(RuntimeError("it exited early"))

    # It logs what it also raises.
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)
    thread = Thread(target=work, daemon=True)
    thread.start()
    limit = START_SECONDS + SECONDS * len(figures)
    try:
        thread.join(limit)
        if thread.is_alive():
            raise TimeoutError(f"no answer within {limit:g} seconds")
    finally:
        if thread.is_alive():
            # Kaleido starts it in its own process group.
            with contextlib.suppress(AttributeError, ProcessLookupError):
                os.killpg(browser.subprocess.pid, signal.SIGKILL)
            thread.join(5)
    if raised:
        raise raised[0]
    return images


def _parquet(outcome: Outcome) -> Path:
    """`trials.parquet`: the columns of trials.csv, typed, with nulls for missing values."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"Parquet needs an extra: {install('export')}") from error
    kinds = {"number": pyarrow.int64(), "epochs": pyarrow.int64(), "seed_values": pyarrow.list_(pyarrow.float64())}
    kinds |= dict.fromkeys(("optimizer", "state", "fail_reason", "error"), pyarrow.string())
    schema = pyarrow.schema([(column, kinds.get(column, pyarrow.float64())) for column in COLUMNS])
    rows = [{column: _utf8(getattr(trial, column)) for column in COLUMNS} for trial in outcome.trials]
    path = outcome.directory / "trials.parquet"
    try:
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), buffer)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return path


def _utf8(value: object) -> object:
    """Replace what UTF-8 cannot encode; file names in error messages may be any bytes."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
