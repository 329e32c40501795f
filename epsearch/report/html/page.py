"""The study on one page: `report.html`, a single file that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from epsearch.core.commands import command as epsearch
from epsearch.core.messages import one_line
from epsearch.core.numbers import count, number, percent, rounded
from epsearch.core.version import __version__
from epsearch.records.outcome import Outcome
from epsearch.records.trial import Trial
from epsearch.report.analysis.advice import command, repeat
from epsearch.report.analysis.certainty import certainty, what_was_run
from epsearch.report.analysis.summary import sentences
from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.gallery import GALLERY, MAIN
from epsearch.report.figures.history import fraction_info
from epsearch.report.figures.style import DARK, LIGHT, TITLE_ROOM
from epsearch.report.html.rendering import asset, render
from epsearch.report.html.tables import Table, layer_table

FORMAT = 4
"""Incremented when figures or sections change between two versions of the package."""

GENERATOR = f'<meta name="generator" content="epsearch {__version__}, format {FORMAT}">'
"""Marks a page as drawn by this version."""


def page(outcome: Outcome, drawn: Mapping[str, go.Figure]) -> str:
    """The report as HTML: the verdict beside the main figure on the first screen; the rest of `drawn`, tables folded.

    plotly.js is embedded once; all text from users is escaped. A partial study gets the sections it has data for.
    """
    found = verdict(outcome) if outcome.trials else None
    advised = (found.advice or tuple(filter(None, [repeat(outcome)]))) if found else ()
    steps = [
        (
            _sentence(f"{step.text} {step.cost}".strip()),
            command(outcome, step, anywhere=True) if step.settings is not None else "",
        )
        for step in advised
    ]
    folder = outcome.directory
    layers = layer_table(outcome.probe) if outcome.probe is not None else None
    return document(
        "report.html.j2",
        one_line(outcome.name, limit=200),
        drawn,
        setup=what_was_run(outcome),
        tested=outcome.lr_test is not None,
        sentences=sentences(outcome),
        verdict=found,
        sure=certainty(outcome, found) if found else [],
        next=steps[:1],
        steps=steps[1:],
        main=MAIN if MAIN in drawn else None,
        absent=[
            reason
            for entry in GALLERY
            if entry.id not in drawn and entry.absent is not None and (reason := entry.absent(outcome))
        ],
        tables=[table for table in (layers, _history(outcome), _trials(outcome.trials)) if table is not None],
        commands={
            "run": epsearch("run", folder / "study.yaml", "--dir", folder, anywhere=True),
            "report": epsearch("report", folder, anywhere=True),
            "dashboard": epsearch("dashboard", folder, anywhere=True),
        },
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def document(template: str, title: str, drawn: Mapping[str, go.Figure], **values: object) -> str:
    """A page with figures, from a template that extends `page.html.j2`."""
    return render(
        template,
        title=title,
        generator=Markup(GENERATOR),
        style=asset("page.css"),
        script=asset("page.js"),
        plotlyjs=Markup(get_plotlyjs()),
        data=_data(drawn),
        figures=drawn,
        **values,
    )


def _data(drawn: Mapping[str, go.Figure]) -> Markup:
    """The figures and both templates as JSON in which no text can end the script element."""
    bare = {name: _untitled(json.loads(figure.to_json())) for name, figure in drawn.items()}
    data = {"figures": bare, "light": LIGHT.to_plotly_json(), "dark": DARK.to_plotly_json()}
    return Markup(json.dumps(data).replace("<", "\\u003c"))


def _untitled(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure without its title, which Plotly would cut on a phone and the page's text wraps; nor its template."""
    layout = figure["layout"]
    margin = layout.get("margin", {})
    margin = {**margin, "t": margin.get("t", LIGHT.layout.margin.t) - TITLE_ROOM}
    kept = {name: value for name, value in layout.items() if name not in ("title", "template")}
    return {**figure, "layout": {**kept, "margin": margin, "height": layout["height"] - TITLE_ROOM}}


def _history(outcome: Outcome) -> Table | None:
    """Table 2 for every epoch of the best trial."""
    if outcome.history is None:
        return None
    info = fraction_info(outcome.history)
    return Table(
        "Share of ẑ above ε after each epoch of the best trial",
        ["epochs trained", *(f"ε {rounded('eps', eps)}" for eps in info.eps)],
        ([str(epoch), *map(percent, shares)] for epoch, shares in zip(info.epochs, info.shares, strict=True)),
    )


def _trials(trials: Sequence[Trial]) -> Table | None:
    if not trials:
        return None
    return Table(
        f"All {count(len(trials), 'trial')}",
        ["trial", "optimizer", "state", "α (lr)", "ε (eps)", "β₂", "value", "spread", "epochs", "seconds", "why"],
        (_trial(trial) for trial in trials),
        text=(1, 2, 10),
    )


def _trial(trial: Trial) -> list[str]:
    cell = trial.cell
    return [
        str(trial.number),
        trial.optimizer,
        trial.state,
        *(rounded(name, cell[name]) if name in cell else "" for name in ("lr", "eps", "beta2")),
        "" if trial.value is None else number(trial.value),
        "" if trial.spread is None else f"{trial.spread:.2g}",
        str(trial.epochs),
        "" if trial.seconds is None else f"{trial.seconds:.1f}",
        one_line(" ".join(filter(None, [trial.fail_reason, trial.error])), limit=200),
    ]
