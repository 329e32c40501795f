"""The report's figures and summary inside an Optuna study, for Optuna's dashboard."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from epsearch.records.outcome import Outcome
from epsearch.report.analysis.summary import sentences
from epsearch.report.analysis.verdict import Verdict, verdict
from epsearch.report.figures.gallery import GALLERY

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

CARD = 480
"""Height in pixels of the dashboard's cards; taller figures are cut off."""

HEADING = "## Found by epsearch"
"""The first line of notes that may be replaced."""


def publish(study: optuna.Study, outcome: Outcome, figures: Mapping[str, go.Figure]) -> None:
    """Store the figures and a note with the summary in `study`, replacing those of an earlier call.

    `figures` are the outcome's, by id; their heights are reduced to that of the dashboard's cards. A note that somebody
    else wrote is kept. Without optuna-dashboard, only the attributes are written.
    """
    found = verdict(outcome)
    _attributes(study, outcome, found)
    try:
        import optuna_dashboard
    except ImportError:
        return
    for entry in GALLERY:
        if entry.id not in figures or not entry.in_dashboard:
            continue
        figure = entry.card(outcome, CARD) if entry.card else figures[entry.id]
        assert figure is not None, "it was drawn before"
        figure.update_layout(height=min(figure.layout.height, CARD))
        optuna_dashboard.save_plotly_graph_object(study, figure, graph_object_id=entry.id)
    written = optuna_dashboard.get_note(study)
    steps = [f"{step.text} {step.cost}".strip() for step in found.advice if step.text not in found.reasons]
    points = [found.sure, *(text for text in found.reasons if text != found.sure), *steps, *sentences(outcome)]
    head = [HEADING, "", f"**{_markdown(found.headline)}** {_markdown(found.action)}".rstrip(), ""]
    head += [f"    {found.line}", ""] if found.line else []
    note = "\n".join([*head, *(f"- {_markdown(text)}" for text in points)])
    if note != written and (not written or written.startswith(HEADING)):
        optuna_dashboard.save_note(study, note)


def _attributes(study: optuna.Study, outcome: Outcome, found: Verdict) -> None:
    """Write the range and the verdict as user attributes of the study, if they have changed."""
    attributes: dict[str, object] = {"epsearch:verdict": found.kind}
    if outcome.probe is not None:
        attributes["epsearch:eps_range"] = [outcome.probe.range.lower, outcome.probe.range.upper]
    for name, value in attributes.items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)


def _markdown(text: str) -> str:
    """Plain text escaped for Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(text, quote=False))
