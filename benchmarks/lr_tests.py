"""Run the learning-rate test on the workloads of outcomes.py, and compare it with the best lr of their tables.

For each study file in `benchmarks/outcomes/` and each optimizer: a probe, and the test with three seeds at the smallest
ε of the range. The raw curves are kept in benchmarks/results/lr_tests.json, from which other ways to read them are
compared too. The best lr is that of the table at each ε up to the test's, smoothed over those ε: there the optimizer
fully adapts, so they are equal but for noise.

    EPSEARCH_DATA=… python benchmarks/lr_tests.py run [NAME ...]    # runs these tests, or those that are missing
    python benchmarks/lr_tests.py                                   # writes the table of docs/probe.md
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from outcomes import EPS, HERE, RESULTS, at_ruled_beta2, ruled_beta2, settings, table_of, tables
from reproduction import write

from epsearch.core.numbers import label, rounded
from epsearch.probing.lr_curve import read_curve
from epsearch.study.file import load_study
from epsearch.training.tasks import StudyTasks

SEEDS = (0, 1, 2)

CURVES = RESULTS / "lr_tests.json"

PAGE = HERE.parent / "docs" / "probe.md"


def run_tests(name: str, optimizer: str) -> dict[str, Any]:
    """Probe, and test with every seed."""
    study, chosen = HERE / "outcomes" / f"{name}.yaml", settings(name, optimizer)
    config = load_study(study, chosen)
    probe = StudyTasks(config).probe()
    beta2s = config.search.beta2 if isinstance(config.search.beta2, list) else [config.search.beta2]
    eps, beta2 = probe.range.lower, ruled_beta2(beta2s, probe.settings["batches_per_epoch"])
    seconds, tests = [], []
    for seed in SEEDS:
        tasks = StudyTasks(load_study(study, [*chosen, f"training.seeds=[{seed}]"]))
        began = time.perf_counter()
        tests.append(tasks.lr_test(eps, beta2))
        seconds.append(time.perf_counter() - began)
    curves = [[float(f"{loss:.5g}") for loss in test.losses] for test in tests]
    return {
        "workload": name,
        "optimizer": optimizer,
        "eps": eps,
        "beta2": beta2,
        "lrs": [float(f"{lr:.4g}") for lr in max((test.lrs for test in tests), key=len)],
        "losses": curves,
        "seconds": [round(each, 2) for each in seconds],
    }


def best_lr(probe: dict[str, Any], rows: Sequence[dict[str, Any]], eps: float) -> float:
    """The lr with the best median over all ε of the table up to `eps`."""
    sign = 1 if probe["goal"] == "minimize" else -1
    equal = [row for row in at_ruled_beta2(probe, rows) if row["eps"] <= eps]

    def level(lr: float) -> float:
        mine = [row for row in equal if row["lr"] == lr]
        return statistics.median(math.inf if row["diverged"] else sign * row["value"] for row in mine)

    return min({row["lr"] for row in equal}, key=level)


def errors() -> dict[tuple[str, str], tuple[dict[str, Any], float, list[float | None]]]:
    """By table: its test, the best lr, and by how many decades each seed's suggestion is off (None: no suggestion)."""
    tests = {table_of(test): test for test in json.loads(CURVES.read_text())["tests"]}
    found = {}
    for probe, rows in tables():
        if (test := tests.get(table_of(probe))) is not None:
            best = best_lr(probe, rows, test["eps"])
            lrs = [read_curve(test["lrs"][: len(losses)], losses).suggestion for losses in test["losses"]]
            found[table_of(probe)] = test, best, [None if lr is None else math.log10(lr / best) for lr in lrs]
    return found


def refitted(found: dict[tuple[str, str], list[float | None]]) -> dict[tuple[str, str], list[float | None]]:
    """The same errors if the constant were fitted to the other workloads only."""
    shifts = {}
    for left_out in {workload for workload, _ in found}:
        others = (off for (workload, _), each in found.items() if workload != left_out for off in each)
        shifts[left_out] = statistics.median(off for off in others if off is not None)
    return {key: [None if off is None else off - shifts[key[0]] for off in each] for key, each in found.items()}


def shares(found: dict[tuple[str, str], list[float | None]]) -> str:
    """How many tests are within half a decade and within one."""
    flat = [off for each in found.values() for off in each]
    suggested = [abs(off) for off in flat if off is not None]
    half, whole = (sum(off <= decades for off in suggested) for decades in (0.5, 1.0))
    return (
        f"{half} and {whole} of {len(flat)} tests ({half / len(flat):.0%} and {whole / len(flat):.0%}; of the "
        f"{len(suggested)} that suggest an lr, {half / len(suggested):.0%} and {whole / len(suggested):.0%})"
    )


def table() -> str:
    """A row per workload and optimizer, and how often the suggestion is near enough."""
    lines = ["| table | ε | best lr | suggested lr, by seed | decades off |", "|---|---|---|---|---|"]
    found = errors()
    for (workload, optimizer), (test, best, offs) in found.items():
        lrs = ", ".join("none" if off is None else rounded("lr", best * 10**off) for off in offs)
        cells = [f"{workload} {optimizer}", label("eps", test["eps"]), label("lr", best), lrs]
        lines.append(f"| {' | '.join(cells)} | {', '.join('–' if off is None else f'{off:+.2f}' for off in offs)} |")
    offs_only = {key: offs for key, (_, _, offs) in found.items()}
    lines += ["", f"Within half a decade and within one decade: {shares(offs_only)}."]
    lines += [f"With the constant fitted to the other workloads: {shares(refitted(offs_only))}."]
    return "\n".join(lines)


def run(names: Sequence[str]) -> None:
    """Run the tests of these workloads, or those that are missing, and keep their curves."""
    torch.set_num_threads(1)
    kept = json.loads(CURVES.read_text())["tests"] if CURVES.exists() else []
    known = {table_of(test): test for test in kept}
    for name in names or sorted(path.stem for path in (HERE / "outcomes").glob("*.yaml")):
        for optimizer in EPS:
            if names or (name, optimizer) not in known:
                known[name, optimizer] = run_tests(name, optimizer)
                print(f"{name} {optimizer}: {known[name, optimizer]['seconds']} s", flush=True)
                tests = [json.dumps(known[key]) for key in sorted(known)]
                CURVES.write_text('{"tests": [\n' + ",\n".join(tests) + "\n]}\n")


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2:])
    PAGE.write_text(write(PAGE.read_text(), {"learning-rate tests": table()}))


if __name__ == "__main__":
    main()
