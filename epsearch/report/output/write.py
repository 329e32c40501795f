"""The report's files in the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from epsearch.core.errors import UserError
from epsearch.core.files import write_atomically
from epsearch.records.outcome import Outcome
from epsearch.report.html.comparison import comparison
from epsearch.report.html.page import GENERATOR, page
from epsearch.report.output.csv import trials_csv


def write_report(outcome: Outcome, figures: Mapping[str, go.Figure]) -> Path:
    """Write `trials.csv`, `report.html` and `figures/<id>.html` into the outcome's directory.

    `figures` are the outcome's, by id. Files are replaced atomically. Also works while the study is running.

    Returns:
        The path of `report.html`.

    Raises:
        OSError: a file could not be written; earlier ones are new, later ones unchanged.
    """
    folder = outcome.directory / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(outcome.directory / "trials.csv", trials_csv(outcome.trials))
    report = outcome.directory / "report.html"
    write_atomically(report, page(outcome, figures))
    # 4.8 MB shared by all figures; changes only with Plotly's version.
    library, script = folder / "plotly.min.js", get_plotlyjs()
    if not library.exists() or library.stat().st_size != len(script.encode()):
        write_atomically(library, script)
    for name, figure in figures.items():
        html = figure.to_html(include_plotlyjs="directory", div_id=name, config={"displaylogo": False})
        write_atomically(folder / f"{name}.html", html)
    return report


def is_current(report: Path) -> bool:
    """Whether this version drew the page."""
    try:
        with report.open("rb") as file:
            return GENERATOR.encode() in file.read(1000)
    except OSError:
        return False


def write_comparison(outcomes: Sequence[Outcome], path: Path) -> Path:
    """Write the page that compares several runs.

    Raises:
        UserError: the runs cannot be compared, or the file cannot be written.
    """
    html = comparison(outcomes)
    try:
        write_atomically(path, html)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); run the command in a folder you can write to."
        ) from error
    return path
