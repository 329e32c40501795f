"""Names and error messages that try to break pages, files and terminals."""

import numpy as np

from epsearch.records.outcome import Outcome

from . import sample
from .sample import trial

SCRIPT = "</script><script>alert(1)</script>"

NAMES = [
    SCRIPT,
    "\"quotes\" & 'apostrophes' <b>bold</b>",
    "long" * 50,
    "two\nlines",
    "学習率の探索 Ωμέγα עברית",
    "broken \udcff unicode",
    "%{x} $x^2$ {curly}",
    "\x1b[31mred\x1b[0m \x1b]0;title\a \x9b2J",
    "zero \0 byte",
]

ERRORS = [*NAMES, "megabytes " * 500_000, "\n\r\n", "=cmd|' /C calc'!A0", "\ud800" * 10_000, "\u202egnirts"]
"""Messages of exceptions: the names above, and very long or malformed ones."""


def outcome(directory, name: str, error: str | None = None) -> Outcome:
    """A study in which everything a user can name is `name`, with a failed trial whose message is `error`."""
    probe = sample.probe(3).model_copy(update={"skipped": [name]})
    layers = [layer.model_copy(update={"name": f"{name} {index}"}) for index, layer in enumerate(probe.layers)]
    # A tensor of noise, which sentences name.
    noise = {"p2": 1e-15, "p98": 1e-14, "histogram": sample.histogram(np.geomspace(1e-15, 1e-14, 40)), "numel": 40}
    layers[0] = layers[0].model_copy(update=noise)
    trials = [
        trial(0, 0.5, beta2=0.9, optimizer=name),
        trial(1, 0.6, beta2=0.99, optimizer=name, lr=1e-2),
        trial(2, optimizer=name, state="failed", fail_reason="raised", error=error or name),
        *sample.baseline_trials(3),
    ]
    return sample.outcome(
        directory,
        name=name,
        metric=name,
        optimizer=name,
        probe=probe.model_copy(update={"layers": layers}),
        trials=trials,
    )
