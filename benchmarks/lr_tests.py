"""Run the learning-rate test on the workloads of outcomes.py, and compare it with the best lr of their tables.

For each study file in `benchmarks/outcomes/` and each optimizer: a probe, and the test with three seeds at the smallest
ε of the range. The raw curves are kept in benchmarks/results/lr_tests.json, from which other ways to read them are
compared too. The best lr is that of the table at each ε up to the test's, smoothed over those ε: there the optimizer
fully adapts, so they are equal but for noise.

    EPSEARCH_DATA=… python benchmarks/lr_tests.py [NAME ...]    # runs these tests, or those that are missing
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from outcomes import EPS, HERE, RESULTS, ruled_beta2, settings

from epsearch.study.file import load_study
from epsearch.training.tasks import StudyTasks

SEEDS = (0, 1, 2)

CURVES = RESULTS / "lr_tests.json"


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


def main() -> None:
    torch.set_num_threads(1)
    kept = json.loads(CURVES.read_text())["tests"] if CURVES.exists() else []
    known = {(test["workload"], test["optimizer"]): test for test in kept}
    for name in sys.argv[1:] or sorted(path.stem for path in (HERE / "outcomes").glob("*.yaml")):
        for optimizer in EPS:
            if sys.argv[1:] or (name, optimizer) not in known:
                known[name, optimizer] = run_tests(name, optimizer)
                print(f"{name} {optimizer}: {known[name, optimizer]['seconds']} s", flush=True)
                tests = [json.dumps(known[key]) for key in sorted(known)]
                CURVES.write_text('{"tests": [\n' + ",\n".join(tests) + "\n]}\n")


if __name__ == "__main__":
    main()
