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
"""The order is the same in every version; new columns go at the end."""


def trials_csv(trials: Sequence[Trial]) -> str:
    """One row for each trial: numbers in full, missing values empty, `seed_values` joined by spaces."""
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
        # Readers take a lone carriage return as a line end, but the writer does not quote it.
        value = "\n".join(value.splitlines())
        if value.startswith(("=", "+", "-", "@", "\t", "\n")):
            # The apostrophe keeps spreadsheets from running it as a formula.
            return f"'{value}"
    return str(value)
