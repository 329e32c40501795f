"""What a measurement of ẑ means for the ε in use, on one page."""

from __future__ import annotations

from epsearch.core.messages import one_line
from epsearch.core.numbers import label
from epsearch.records.advice import CLASS_COLUMNS, advice, class_rows
from epsearch.records.probe import ProbeResult
from epsearch.report.figures.histogram import histogram_info, plot_histogram
from epsearch.report.html.page import document
from epsearch.report.html.tables import layer_table


def inspection(result: ProbeResult, title: str) -> str:
    """The page as HTML: advice, the table by class, the histogram of ẑ, and the table by layer."""
    return document(
        "inspection.html.j2",
        one_line(title, limit=200),
        {"histogram": plot_histogram(histogram_info(result, result.eps, eps_name="ε in use"))},
        optimizer=one_line(result.optimizer, 60),
        low=label("eps", result.range.lower),
        high=label("eps", result.range.upper),
        advice=advice(result),
        columns=CLASS_COLUMNS,
        rows=class_rows(result),
        layers=layer_table(result),
    )
