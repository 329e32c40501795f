"""What was run and how sure its verdict is, in a few words for the first screen. Pure functions."""

from __future__ import annotations

from epsearch.core.messages import listed, one_line
from epsearch.core.numbers import count, label
from epsearch.core.version import __version__
from epsearch.records.outcome import Outcome
from epsearch.report.analysis.values import amount
from epsearch.report.analysis.verdict import Verdict


def what_was_run(outcome: Outcome) -> str:
    """`mlp · digits · adam · 10 epochs × 35 trials × 2 seeds · 54 s of training · 2026-11-26 · epsearch 0.1.0`."""
    setup = outcome.setup
    times = [count(len(outcome.trials), "trial")]
    parts = [one_line(outcome.optimizer, 60)]
    if setup is not None:
        parts = [one_line(name, 60) for name in (setup.model, setup.data) if name] + parts
        epochs = [] if setup.epochs is None else [count(setup.epochs, "epoch")]
        times = [*epochs, *times, count(setup.seeds, "seed")]
    seconds = sum(trial.seconds or 0.0 for trial in outcome.trials)
    parts += [" × ".join(times), f"{_duration(seconds)} of training"] if outcome.trials else []
    parts += [setup.day.isoformat()] if setup is not None and setup.day is not None else []
    return " · ".join([*parts, f"epsearch {__version__}"])


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def certainty(outcome: Outcome, found: Verdict) -> list[str]:
    """The paper's class or why there is none, the seeds and their noise, unfinished trials, and edges."""
    seeds = max((len(trial.seed_values) for trial in outcome.trials), default=0)
    complete = sum(trial.state == "complete" for trial in outcome.trials)
    lines = [found.sure]
    if found.sigma is not None:
        lines.append(f"{count(seeds, 'seed')}; one training varies by ± {amount(found.sigma, outcome)}.")
    lines.append(f"{complete} of {count(len(outcome.trials), 'trial')} complete.")
    if found.rows:
        edges = [label("eps", row.eps) for row in found.rows if row.state == "edge"]
        lines.append(
            f"Best α at an edge of those tried (○) at ε {listed(edges)}."
            if edges
            else f"Best α inside those tried at {'all' if len(found.rows) > 1 else 'the'} "
            f"{len(found.rows)} powers of ten of ε."
        )
    return lines
