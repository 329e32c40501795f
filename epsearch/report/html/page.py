"""The study on one page: `report.html`, a single file that opens offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from epsearch.core.commands import command as epsearch
from epsearch.core.messages import one_line
from epsearch.core.numbers import count, label, number, percent, rounded
from epsearch.core.version import __version__
from epsearch.records.outcome import Outcome
from epsearch.records.probe import Layer
from epsearch.records.text import place
from epsearch.records.trial import Trial
from epsearch.report.analysis.advice import command
from epsearch.report.analysis.summary import sentences
from epsearch.report.analysis.verdict import verdict
from epsearch.report.figures.history import fraction_info
from epsearch.report.figures.literature import LITERATURE
from epsearch.report.figures.style import DARK, LIGHT, TITLE_ROOM
from epsearch.report.html.look import SCRIPT, STYLE

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""The page may load nothing: neither a mistake here nor a name in a study can make it call anywhere."""


FORMAT = 2
"""Counted up whenever figures or sections change between two versions of the package."""

GENERATOR = f'<meta name="generator" content="epsearch {__version__}, format {FORMAT}">'
"""What a page carries that this version drew."""


def page(outcome: Outcome, drawn: Mapping[str, go.Figure]) -> str:
    """The report as HTML: summary, the `figures` that were `drawn`, tables, and how to go on.

    plotly.js is inside, once; whatever the user named is escaped. Partial studies get the sections they can.
    """
    sections = [
        _head(outcome),
        _verdict(outcome),
        *(place_of(name, figure) for name, figure in drawn.items()),
        _absent(outcome, drawn),
        _layers(outcome),
        _progress(outcome),
        _trials(outcome.trials),
        _go_on(outcome),
    ]
    return document(outcome.name, sections, drawn)


def document(title: str, sections: Sequence[str], drawn: Mapping[str, go.Figure]) -> str:
    """A page of these sections, which are HTML and have a `place_of` each figure."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(one_line(title, limit=200))} · epsearch</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(sections)}
</main>
<script type="application/json" id="data">{_data(drawn)}</script>
<script>{get_plotlyjs()}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _data(drawn: Mapping[str, go.Figure]) -> str:
    """The figures and both templates as JSON that no text inside can end early."""
    bare = {name: _untitled(json.loads(figure.to_json())) for name, figure in drawn.items()}
    data = {"figures": bare, "light": LIGHT.to_plotly_json(), "dark": DARK.to_plotly_json()}
    return json.dumps(data).replace("<", "\\u003c")


def _untitled(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure without its title: on a phone Plotly would cut it, where the page's own text wraps. Nor a template."""
    layout = figure["layout"]
    margin = layout.get("margin", {})
    margin = {**margin, "t": margin.get("t", LIGHT.layout.margin.t) - TITLE_ROOM}
    kept = {name: value for name, value in layout.items() if name not in ("title", "template")}
    return {**figure, "layout": {**kept, "margin": margin, "height": layout["height"] - TITLE_ROOM}}


def _head(outcome: Outcome) -> str:
    goal = "maximized" if outcome.goal == "maximize" else "minimized"
    facts = []
    if outcome.probe is not None:
        found = outcome.probe.range
        reach = f"{label('eps', found.lower)} to {label('eps', found.upper)}"
        powers = count(len(found.grid()), "power")
        facts.append(("Range of ε", reach, f"{powers} of ten; the literature tries up to {LITERATURE}"))
    if outcome.best is not None:
        facts.append((f"Best {one_line(outcome.metric, 60)}", number(outcome.best.value or 0.0), place(outcome.best)))
    complete = sum(trial.state == "complete" for trial in outcome.trials)
    facts.append(("Trials complete", f"{complete} of {len(outcome.trials)}", ""))
    cards = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_unbroken(escape(fact))} <small>{_unbroken(escape(more))}</small></dd></div>"
        for name, fact, more in facts
    )
    summary = _unbroken(escape(" ".join(sentences(outcome))))
    return (
        f"<h1>{escape(one_line(outcome.name, limit=200))}</h1>"
        f'<p class="soft">{escape(outcome.optimizer)}, {escape(one_line(outcome.metric, 200))} {goal}</p>'
        f"<dl>{cards}</dl><p>{summary}</p>"
        "<noscript><p>The figures need JavaScript; the tables do not.</p></noscript>"
    )


def _verdict(outcome: Outcome) -> str:
    """What the study says, why, and what to run next."""
    if not outcome.trials:
        return ""
    found = verdict(outcome)
    reasons = "".join(f"<li>{_unbroken(escape(reason))}</li>" for reason in found.reasons)
    advice = "".join(
        f"<p>{_unbroken(escape(step.text))}</p>"
        + (f"<pre>{escape(command(outcome, step, anywhere=True))}</pre>" if step.settings is not None else "")
        for step in found.advice
    )
    return f'<section id="verdict"><h2>{escape(found.headline)}</h2><ul>{reasons}</ul>{advice}</section>'


def _unbroken(html: str) -> str:
    """`html` with no line break inside 1e-2, as a browser would make after the hyphen."""
    return re.sub(r"\d[\d.]*e-\d+", r"<span>\g<0></span>", html)


def place_of(name: str, figure: go.Figure) -> str:
    """A figure's place on the page, under its title; the titles are escaped where they are made."""
    title = figure.layout.title
    return (
        f'<section><h2 id="{name}-title">{title.text}</h2>'
        f'<p class="soft">{_unbroken(title.subtitle.text)}</p>'
        f'<div class="figure" id="{name}" role="img" aria-labelledby="{name}-title"></div></section>'
    )


def _absent(outcome: Outcome, drawn: Mapping[str, go.Figure]) -> str:
    """One sentence for each map that a reader would look for in vain."""
    reasons = []
    if "heatmap-lr-eps" not in drawn:
        reasons.append("There is no map of α and ε yet: no trial of the adaptive optimizer has been planned.")
    elif "heatmap-eps-beta2" not in drawn:
        values = {trial.beta2 for trial in outcome.trials} - {None}
        fixed = f" It was {rounded('beta2', values.pop() or 0)} in every trial." if values else ""
        reasons.append(f"There is no map of ε and β₂: β₂ was not varied.{fixed}")
    return "".join(f"<p>{reason}</p>" for reason in reasons)


def _layers(outcome: Outcome) -> str:
    if outcome.probe is None:
        return ""
    low, high = outcome.probe.percentiles
    columns = [
        "layer",
        "elements",
        "exact zeros",
        "not finite",
        f"{low:g} % of ẑ below",
        f"{high:g} % of ẑ below",
    ]
    layers = table(columns, (_layer(layer) for layer in outcome.probe.layers), text={0})
    skipped = outcome.probe.skipped
    note = f"<p>Without a gradient, so not measured: {escape(', '.join(skipped))}.</p>" if skipped else ""
    return _folded(f"What the probe saw in {count(len(outcome.probe.layers), 'layer')}", layers + note)


def _layer(layer: Layer) -> list[str]:
    return [
        layer.name,
        str(layer.numel),
        str(layer.zeros),
        str(layer.nonfinite),
        "" if layer.p2 is None else f"{layer.p2:.2e}",
        "" if layer.p98 is None else f"{layer.p98:.2e}",
    ]


def _progress(outcome: Outcome) -> str:
    """Table 2 for every epoch of the best trial."""
    if outcome.progress is None:
        return ""
    info = fraction_info(outcome.progress)
    columns = ["epochs trained", *(f"ε {rounded('eps', eps)}" for eps in info.eps)]
    rows = ([str(epoch), *map(percent, shares)] for epoch, shares in zip(info.epochs, info.shares, strict=True))
    return _folded("Share of ẑ above ε after each epoch of the best trial", table(columns, rows, text=set()))


def _trials(trials: Sequence[Trial]) -> str:
    columns = [
        "trial",
        "optimizer",
        "state",
        "α (lr)",
        "ε (eps)",
        "β₂",
        "value",
        "spread",
        "epochs",
        "seconds",
        "why",
    ]
    rows = table(columns, (_trial(trial) for trial in trials), text={1, 2, 10})
    return _folded(f"All {count(len(trials), 'trial')}", rows) if trials else ""


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


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], text: set[int]) -> str:
    """A table of numbers with the columns in `text` aligned as text."""

    def line(tag: str, fields: Sequence[str]) -> str:
        kinds = (' class="text"' if index in text else "" for index in range(len(fields)))
        cells = (f"<{tag}{kind}>{escape(field)}</{tag}>" for kind, field in zip(kinds, fields, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", columns)}</thead><tbody>{body}</tbody></table></div>'


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _go_on(outcome: Outcome) -> str:
    folder = outcome.directory
    commands = f"""# go on, after an interruption too; trials that are done are not repeated
{epsearch("run", folder / "study.yaml", "--dir", folder, anywhere=True)}
# draw this page again
{epsearch("report", folder, anywhere=True)}
# look at single trials and their curves
{epsearch("dashboard", folder, anywhere=True)}"""
    return (
        "<h2>Reproduce, or go on</h2>"
        "<p><code>study.yaml</code> holds every setting, <code>probe.json</code> the probe, "
        f"<code>trials.csv</code> all trials.</p><pre>{escape(commands)}</pre>"
    )
