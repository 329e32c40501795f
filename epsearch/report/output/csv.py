"""All trials as `trials.csv`, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from epsearch.records.trial import Trial

COLUMNS = (
    "number",
    "optimizer",
    "state",
    "lr",
    "eps",
    "beta2",
    "value",
    "spread",
    "seed_values",
    "epochs",
    "seconds",
    "fail_reason",
    "error",
)
"""In this order in every version; new ones are added at the end."""


def trials_csv(trials: Sequence[Trial]) -> str:
    """One row for each trial: numbers in full, missing ones empty, `seed_values` joined by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trial in trials:
        writer.writerow([_field(getattr(trial, column)) for column in COLUMNS])
    return text.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, str):
        # A lone carriage return is a line's end to readers, but not to the writer, which leaves it unquoted.
        value = "\n".join(value.splitlines())
        if value.startswith(("=", "+", "-", "@", "\t", "\n")):
            # A spreadsheet would run it as a formula; the apostrophe makes it text.
            return f"'{value}"
    return str(value)
