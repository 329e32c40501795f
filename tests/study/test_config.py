"""The study file: the message that each mistake gets, and what a correct one becomes."""

from __future__ import annotations

import json
import random
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from epsearch.core.errors import UserError
from epsearch.core.messages import NOT_SHOWN, mask_password, mask_url
from epsearch.registry.optimizers import ADAPTIVE, BASELINES
from epsearch.registry.samplers import PRUNERS, SAMPLERS, SCHEDULERS
from epsearch.registry.workloads import AUGMENTATIONS, METRICS, WORKLOADS
from epsearch.study import mistakes
from epsearch.study.config import StudyConfig, json_schema
from epsearch.study.dump import to_yaml
from epsearch.study.file import load_study
from epsearch.study.identity import identity
from epsearch.study.schema.training import DecaySection
from epsearch.study.yaml import read_yaml
from tests.conftest import CommandLine

STUDIES = Path(__file__).parents[2] / "studies"

LINE_1 = "workload: {name: vision, dataset: digits, model: mlp}\n"

WRONG: dict[str, tuple[str, ...]] = {
    # Keys.
    "unknown key": ("foo: 1", "line 2: foo: no such key. Choose from: name, workload, optimizer"),
    "misspelt section": ("serch: {eps: grid}", 'line 2: serch: no such key. Did you mean "search"?'),
    "misspelt key": ("training:\n  epohcs: 3", 'line 3: training.epohcs: no such key. Did you mean "epochs"?'),
    "misspelt key, deeper": (
        "training: {lr_decay: {factr: 0.1, at: [5]}}",
        'line 2: training.lr_decay.factr: no such key. Did you mean "factor"?',
    ),
    "misspelt bound": (
        "search: {lr: {lo: 1e-4, high: 1e-1}}",
        "line 2: search.lr.low: this key is missing",
        'line 2: search.lr.lo: no such key. Did you mean "low"?',
    ),
    "key in the wrong place": (
        "epochs: 3",
        "line 2: epochs: no such key. Did you mean training.epochs or probe.epochs?",
    ),
    "key in the wrong section": (
        "training: {eps: 1e-8}",
        "line 2: training.eps: no such key. Did you mean probe.eps or search.eps?",
    ),
    "no space after the colon": ("training: {epochs:3}", "training.epochs:3: no such key. YAML needs a space after"),
    "dotted key": ("training.epochs: 3", "line 2: training.epochs: no such key."),
    "merge key": ("training: {<<: {epochs: 3}}", "line 2: training.<<: no such key."),
    "key that would colour the terminal": ('"\\e[31mred": 1', r"line 2: '\x1b[31mred': no such key."),
    # Names.
    "misspelt optimizer": ("optimizer: {name: adma}", "optimizer.name: no optimizer called 'adma'.", "adamw"),
    "baseline as the optimizer": (
        "optimizer: {name: sgd_momentum}",
        "optimizer.name: sgd_momentum has no ε to search; choose an adaptive optimizer, and compare it with SGD by "
        "search.baselines: [sgd_momentum].",
    ),
    "sgd as the optimizer": ("optimizer: {name: sgd}", "optimizer.name: sgd has no ε", "baselines: [sgd_momentum]"),
    "misspelt sampler": ("engine: {sampler: tpee}", "no sampler called 'tpee'. Did you mean \"tpe\"?"),
    "misspelt pruner": ("engine: {pruner: medain}", "no pruner called 'medain'. Did you mean \"median\"?"),
    "misspelt engine": ("engine: {name: optna}", "no engine called 'optna'. Did you mean \"optuna\"?"),
    "misspelt baseline": (
        "search: {baselines: [sgd_momentun]}",
        "line 2: search.baselines.0: no baseline called 'sgd_momentun'. Did you mean \"sgd_momentum\"?",
    ),
    "misspelt eps": (
        "search: {eps: gird}",
        "line 2: search.eps: expected grid, endpoints, continuous, a number, a list of numbers or {low: …, high: …}, "
        "found 'gird'. Did you mean \"grid\"?",
    ),
    "capital letters": ("search: {eps: Grid}", "found 'Grid'. Did you mean \"grid\"?"),
    "misspelt beta2": ("search: {beta2: automatic}", "search.beta2: expected auto, a number", 'Did you mean "auto"?'),
    "keyword where there is none": ("search: {sgd_lr: auto}", "search.sgd_lr: expected a number", "found 'auto'."),
    "auto without a probe": (
        "search: {lr: auto, eps: [1e-8, 1e-6]}",
        "line 2: search.lr: auto needs the probe",
        "write eps: grid, or give lr, e.g. lr: {low: 1e-4, high: 1e-1}.",
    ),
    "name over two lines": ('optimizer: {name: "ad\\nam"}', r"no optimizer called 'ad\nam'. Did you mean"),
    "endless name": (f"optimizer: {{name: {'a' * 500}}}", f"called '{'a' * 58}…. Choose from:"),
    "misspelt precision": (
        "training: {precision: fp16}",
        "precision: expected 'float32', 'tf32', 'bfloat16', 'float16' or 'float64', found 'fp16'.",
    ),
    "misspelt goal": ("metric: {goal: max}", "metric.goal: expected 'maximize' or 'minimize', found 'max'."),
    "misspelt device": ("training: {device: gpu}", "expected auto (a GPU if there is one), cpu, cuda", "found 'gpu'."),
    "unknown metric": (
        "metric: {name: f1}",
        'line 2: metric: should "f1" be maximized or minimized? Add goal: maximize or goal: minimize.',
    ),
    "metric that is not reported": (
        "metric: {name: perplexity}",
        "line 2: metric.name: the workload vision reports no 'perplexity'. Choose from: accuracy, loss.",
    ),
    # Types.
    "text for a number": ("training: {epochs: ten}", "training.epochs: expected a whole number, found 'ten'."),
    "quoted whole number": ("training: {epochs: '10'}", "found '10'. Write 10 without quotes."),
    "quoted number": ("probe: {lr: '1e-3'}", "probe.lr: expected a number, found '1e-3'. Write 0.001 without quotes."),
    "quoted number for an axis": ("search: {eps: '1e-3'}", "search.eps:", "found '1e-3'. Write 0.001 without quotes."),
    "quoted number in a list": (
        "search: {lr: [1e-2, '1e-3']}",
        "line 2: search.lr.1: expected a number, found '1e-3'.",
    ),
    "quoted bound": ("search: {lr: {low: '1e-3', high: 1}}", "search.lr.low: expected a number, found '1e-3'."),
    "decimal comma": ("probe: {lr: '0,001'}", "Write 0.001 without quotes."),
    "number with underscores": ("training: {epochs: 1_000}", "found '1_000'. Write 1000 without quotes."),
    "number for text": ("name: 5", 'line 2: name: expected text, found 5. Write "5" in quotes.'),
    "truth for a number": ("training: {epochs: true}", "training.epochs: expected a whole number, found true."),
    "truth for an axis": ("search: {lr: false}", "search.lr: expected auto, a number, a list", "found false."),
    "yes for a number": ("optimizer: {weight_decay: yes}", "weight_decay: expected a number, found 'yes'."),
    "not a number": ("probe: {lr: .nan}", "probe.lr: expected a finite number, found nan."),
    "infinity in a list": ("search: {eps: [1e-3, .inf]}", "search.eps.1: expected a finite number, found inf."),
    "number beyond floats": ("search: {lr: 1e999}", "search.lr: expected a finite number, found inf."),
    "nan as a bound": ("search: {eps: {low: .nan, high: 1}}", "search.eps.low: expected a finite number, found nan."),
    "fraction of an epoch": ("training: {epochs: 2.5}", "training.epochs: expected a whole number, found 2.5."),
    "float epochs": ("training: {epochs: 1e1}", "expected a whole number, found 10.0. Write 10."),
    "one value for a list": ("training: {seeds: 3}", "training.seeds: expected a list, found 3. Write [3]."),
    "one name for a list": ("search: {baselines: sgd_momentum}", "expected a list", "Write [sgd_momentum]."),
    "list in a list": ("search: {lr: [[1e-3]]}", "search.lr.0: expected a number, found [0.001]."),
    "section without keys": (
        "training:",
        "line 2: training: found an empty value, expected a section with the keys epochs",
    ),
    "list for a section": ("training: [1, 2]", "training: found [1, 2], expected a section with the keys epochs"),
    "number for a section": ("training: 5", "training: found 5, expected a section with the keys epochs"),
    "name for a section": ("optimizer: adam", "optimizer: found 'adam', expected a section with the keys name, beta1"),
    "nested far too deep": (
        "search: " + "[" * 150 + "]" * 150,
        "search: found [[[[[",
        "expected a section with the keys eps",
    ),
    "key without a value": ("probe: {lr: }", "probe.lr: expected a number, found an empty value. Write a value, or"),
    # Numbers out of range.
    "zero epochs": ("training: {epochs: 0}", "training.epochs: expected a number of at least 1, found 0."),
    "negative epochs": ("training: {epochs: -3}", "training.epochs: expected a number of at least 1, found -3."),
    "absurdly many epochs": (f"training: {{epochs: {10**30}}}", "expected a number of at most 1000000000, found 1000"),
    "zero trials": ("engine: {sampler: tpe, trials: 0}", "engine.trials: expected a number of at least 1, found 0."),
    "share of several GPUs": (
        "engine: {name: ray, resources: {gpu: 1.5}}",
        "line 2: engine.resources.gpu: must be a whole number above 1, or a share from 0 to 1, not 1.5.",
    ),
    "share of several cores": ("engine: {name: ray, resources: {cpu: 2.5}}", "engine.resources.cpu: must be a whole"),
    "no core": ("engine: {name: ray, resources: {cpu: 0}}", "engine.resources.cpu: expected a number of at least 0.01"),
    "fewer than no failures": ("engine: {max_failures: -1}", "expected a number of at least 0, found -1."),
    "no time for a trial": ("engine: {trial_timeout: 0}", "engine.trial_timeout: expected a number above 0, found 0."),
    "Ray Client": (
        "engine: {name: ray, address: 'ray://head:10001'}",
        "line 2: engine.address: a Ray Client would run Tune in the cluster",
        "with address: auto.",
    ),
    "trials together by Ray": (
        "engine: {name: ray, together: 4}",
        "engine.together: does not apply to the engine ray",
    ),
    "address without Ray": (
        "engine: {address: auto}",
        "line 2: engine.address: does not apply to the engine optuna; remove it, or write name: ray.",
    ),
    "resources without Ray": (
        "engine: {resources: {gpu: 1}}",
        "engine.resources: does not apply to the engine optuna",
    ),
    "scheduler without Ray": (
        "engine: {pruner: asha}",
        "line 2: engine.pruner: asha works only with the engine ray; write name: ray, or choose one of "
        "Optuna's pruners: none, median",
    ),
    "GPU that Ray does not give": (
        "training: {device: cuda}\nengine: {name: ray}",
        "engine.resources: with the engine ray, a trial sees only the GPUs that it is given here, and it is given "
        "none; for cuda write resources: {gpu: 1}, or a share of one.",
    ),
    "no workers": ("engine: {workers: 0}", "engine.workers: expected a number of at least 1, found 0."),
    "part of an example": ("training: {batch_size: 12.8}", "batch_size: expected a whole number, found 12.8."),
    "negative weight decay": ("optimizer: {weight_decay: -1}", "expected a number of at least 0, found -1."),
    "negative lr": ("search: {lr: -1e-3}", "search.lr: expected a number above 0, found -0.001."),
    "eps from zero": ("search: {eps: {low: 0, high: 1}}", "search.eps.low: expected a number above 0, found 0."),
    "beta1 of 1": ("optimizer: {beta1: 1}", "optimizer.beta1: expected a number below 1, found 1."),
    "beta2 of 1": ("search: {beta2: 1}", "search.beta2: expected a number below 1, found 1."),
    "beta2 of 1 in a list": ("search: {beta2: [0.9, 1.0]}", "search.beta2.1: expected a number below 1, found 1.0."),
    "beta2 up to 1": ("search: {beta2: {low: 0.9, high: 1}}", "search.beta2.high: expected a number below 1, found 1."),
    "beta2 of an optimizer without": (
        "optimizer: {name: adagrad}\nsearch: {beta2: 0.9}",
        "line 3: search.beta2: adagrad has no beta2; remove it.",
    ),
    "negative seed": ("training: {seeds: [-1]}", "training.seeds.0: expected a number of at least 0, found -1."),
    "percentile above 100": ("probe: {percentiles: [2, 101]}", "percentiles.1: expected a number of at most 100"),
    # Lists and ranges.
    "seed twice": ("training: {seeds: [1, 1]}", "training.seeds: lists a value twice; remove one."),
    "eps twice, written differently": ("search: {eps: [1e-3, 0.001]}", "search.eps: lists a value twice; remove one."),
    "no seeds": ("training: {seeds: []}", "training.seeds: needs at least 1 value."),
    "no eps": ("search: {eps: []}", "search.eps: needs at least 1 value."),
    "no range": ("search: {lr: {}}", "search.lr.low: this key is missing", "search.lr.high: this key is missing"),
    "half a range": ("search: {lr: {low: 1e-4}}", "line 2: search.lr.high: this key is missing. Upper end."),
    "low above high": (
        "search: {lr: {low: 1e-1, high: 1e-4}}",
        "search.lr: low (0.1) is above high (0.0001); swap them",
    ),
    "low equals high": ("search: {eps: {low: 1e-2, high: 0.01}}", "are both 0.01; for one value write 0.01 alone"),
    "percentiles reversed": (
        "probe: {percentiles: [98, 2]}",
        "percentiles: must be ascending, e.g. [2, 98], not [98",
    ),
    "no such range": ("probe: {range: algorithm2}", "probe.range: no range called 'algorithm2'.", "pooled, paper"),
    "nothing to exclude": ('probe: {exclude: [""]}', "probe.exclude.0: "),
    "one pattern": ('probe: {exclude: "*.bias"}', "probe.exclude: ", 'Write ["*.bias"].'),
    "three percentiles": ("probe: {percentiles: [2, 50, 98]}", "expected at most 2 values, found [2, 50, 98]."),
    "one percentile": ("probe: {percentiles: [2]}", "percentiles: needs at least 2 values."),
    "decay at no epoch": (
        "training: {lr_decay: {factor: 0.1}}",
        "training.lr_decay.at: this key is missing. Epochs after",
    ),
    "decay to nothing": ("training: {lr_decay: {factor: 0, at: [1]}}", "lr_decay.factor: expected a number above 0"),
    "misspelt decay": ("training: {lr_decay: cosin}", "training.lr_decay: expected cosine or {factor: 0.1, at: [15]}"),
    "lr off the grid": (
        "search: {lr: {low: 3e-4, high: 1e-1}}",
        "line 2: search.lr: the ends of a grid must be powers of ten, e.g. {low: 1e-4, high: 1e-1}, "
        "not 0.0003 and 0.1; or give a list.",
    ),
    "eps off the grid": ("search: {eps: {low: 1e-8, high: 2}}", "search.eps: the ends of a grid must be powers of ten"),
    "beta2 off the grid": (
        "search: {beta2: {low: 0.9, high: 0.95}}",
        "search.beta2: the ends of a grid must be 0.9, 0.99, 0.999 …, not 0.9 and 0.95; or give a list.",
    ),
    "baseline's lr off its grid": (
        "search: {eps: continuous, sgd_lr: {low: 0.2, high: 1}, baselines: [sgd_momentum]}\n"
        "engine: {sampler: tpe, trials: 9}",
        "line 2: search.sgd_lr: the ends of a grid must be powers of ten",
    ),
    # Combinations.
    "grid with trials": ("engine: {trials: 4}", "line 2: engine.trials: the grid runs every cell; remove trials"),
    "sampler without trials": (
        "engine: {sampler: tpe}",
        "engine.sampler: tpe needs a number of trials, e.g. trials: 40",
    ),
    "continuous grid": ("search: {eps: continuous}", "search.eps: a grid has no continuous axis; write eps: grid, or"),
    "points for cmaes": (
        "\nengine: {sampler: cmaes, trials: 4}",
        "line 3: engine.sampler: cmaes cannot choose among given values, as search.eps: grid requires; "
        "write eps: continuous, or",
    ),
    "guided without a probe": (
        "search: {eps: [1e-8, 1e-4]}\nengine: {sampler: guided, trials: 4}",
        "line 3: engine.sampler: guided searches along the ridge that the probe finds, but with eps set there is no "
        "probe; write eps: grid, or choose sampler: tpe.",
    ),
    "list for qmc": (
        "search: {eps: continuous, lr: [1e-3, 1e-2]}\nengine: {sampler: qmc, trials: 4}",
        "line 3: engine.sampler: qmc cannot choose among given values, as search.lr: [0.001, 0.01] "
        "requires; write lr: {low: …,",
    ),
    "wilcoxon with one seed": (
        "engine: {pruner: wilcoxon}",
        "wilcoxon compares trials seed by seed; it needs at least two",
    ),
    # The name becomes a directory.
    "slash in the name": ("name: a/b", "line 2: name: 'a/b' cannot be the name of a run directory: no slashes"),
    "name that leads out": (
        "name: ../x",
        "line 2: name: '../x' cannot be the name of a run",
        "use --dir DIR.",
    ),
    "name of the folder above": ("name: ..", "name: '..' cannot be the name of a run directory"),
    "line break in the name": ('name: "a\\nb"', r"name: 'a\nb' cannot be the name of a run directory"),
    "zero byte in the name": ('name: "a\\0b"', r"name: 'a\x00b' cannot be the name of a run directory"),
    "half a character in the name": ('name: "\\ud800"', r"name: '\ud800' cannot be the name of a run directory"),
    "name too long": (f"name: {'x' * 201}", "name: is too long for a file name; use at most 200 bytes."),
    "empty name": ("name: ''", "name: must not be empty, or begin or end with a space."),
    "name without a value": ("name:", "name: expected text, found an empty value. Write a value, or remove the key."),
}

WRONG_WORKLOADS: dict[str, tuple[str, ...]] = {
    "none": ("name: x", "s.yaml: workload: this key is missing. What is trained, e.g. {name: vision, dataset: digits"),
    "without keys": (
        "workload:",
        "line 1: workload: found an empty value, expected a section with the keys name, dataset",
    ),
    "a list": ("workload: [vision]", "workload: found ['vision'], expected a section with the keys"),
    "a name": ("workload: vision", "workload: found 'vision', expected a section with the keys"),
    "no form": ("workload: {dataset: digits}", "workload: needs exactly one of name, object and train, but has none"),
    "two forms": (
        "workload: {name: vision, dataset: digits, model: mlp, train: 'a:b'}",
        "but has name and train; e.g.",
    ),
    "misspelt": ("workload: {name: visoin}", "line 1: workload.name: no workload called 'visoin'. Did you mean"),
    "misspelt dataset": (
        "workload: {name: vision, dataset: digit, model: mlp}",
        "line 1: workload.dataset: no dataset called 'digit'. Did you mean \"digits\"?",
    ),
    "misspelt model": (
        "workload:\n  name: vision\n  dataset: digits\n  model: mpl",
        "line 4: workload.model: no model called 'mpl'. Did you mean \"mlp\"?",
    ),
    "no model": (
        "workload: {name: vision, dataset: digits}",
        "the workload vision needs a model. Choose from: mlp",
    ),
    "misspelt augmentation": (
        "workload: {name: vision, dataset: digits, model: mlp, augment: [crop, flop]}",
        "line 1: workload.augment.1: no augmentation called 'flop'. Did you mean \"flip\"?",
    ),
    "key of another dataset": (
        "workload: {name: vision, dataset: digits, model: mlp, bptt: 70}",
        "line 1: workload.bptt: does not apply to vision with the dataset digits; remove it.",
    ),
    "validation part that is not there": (
        "workload: {name: vision, dataset: digits, model: mlp, validation: own}",
        "line 1: workload.validation: digits has no validation set; write a share of its training data",
    ),
    "validation on most of the data": (
        "workload: {name: vision, dataset: digits, model: mlp, validation: 0.9}",
        "line 1: workload.validation: expected a share of the training data from 0 to 0.5, or own, found 0.9.",
    ),
    "clipping in one's own loop": (
        "workload: {train: 'a:b'}\ntraining: {clip_norm: 0.25}",
        "line 2: training.clip_norm: is for epsearch's training loop; do it in your train(run).",
    ),
    "autocast in one's own loop": (
        "workload: {train: 'a:b'}\ntraining: {precision: bfloat16}",
        "line 2: training.precision: bfloat16 is for epsearch's training loop; use torch.autocast in your train(run).",
    ),
    "dataset of one's own code": (
        "workload: {train: 'a:b', dataset: digits}",
        "line 1: workload.dataset: belongs to a named workload, not to train; remove it.",
    ),
    "train without a colon": (
        "workload: {train: a.b}",
        "train: 'a.b' is not of the form \"module:name\", e.g.",
        ":train.",
    ),
    "object without a colon": (
        "workload: {object: a}",
        "object: 'a' is not of the form \"module:name\"",
        ":MyWorkload.",
    ),
    "train in a file": ("workload: {train: 'a.py:b'}", 'workload.train: names a file; write the module, "a:b".'),
    "train in a folder": ("workload: {train: 'x/a:b'}", "workload.train: 'x/a:b' is not of the form \"module:name\""),
    "relative module": ("workload: {train: '.a:b'}", "workload.train: '.a:b' is not of the form \"module:name\""),
    "auto beta2 without a probe": (
        "workload: {train: 'a:b'}\nsearch: {eps: [1e-3]}",
        "line 2: search.beta2: auto counts the batches of an epoch during the probe, but with eps set there is no ",
        "; write a number, e.g. beta2: 0.999.",
    ),
}

WHOLE_FILES = {**{name: (LINE_1 + text, *parts) for name, (text, *parts) in WRONG.items()}, **WRONG_WORKLOADS}


@pytest.mark.parametrize("case", WHOLE_FILES)
def test_wrong_studies(case: str, command_line: CommandLine) -> None:
    """One line for each mistake: where, which key, what was found or is allowed."""
    text, *expected = WHOLE_FILES[case]
    (command_line.folder / "s.yaml").write_text(text)
    message = command_line.refuses("check", "s.yaml")
    for part in expected:
        assert part in message
    assert all(line.startswith("s.yaml") for line in message.splitlines())
    assert len(message) < 500
    assert message.isprintable() or "\n" in message


def test_several_mistakes_get_a_line_each(command_line: CommandLine) -> None:
    text = LINE_1 + "optimizer: {name: adma}\ntraining:\n  epochs: ten\n  seeds: []\nserch: 1\n"
    (command_line.folder / "s.yaml").write_text(text)
    lines = command_line.refuses("check", "s.yaml").splitlines()
    assert [line[: line.index(": ", 17)] for line in lines] == [
        "s.yaml, line 2: optimizer.name",
        "s.yaml, line 4: training.epochs",
        "s.yaml, line 5: training.seeds",
        "s.yaml, line 6: serch",
    ]


def written(folder: Path, text: str, *overrides: str) -> StudyConfig:
    path = folder / "s.yaml"
    path.write_text(text)
    return load_study(path, overrides)


def test_defaults(tmp_path: Path) -> None:
    config = written(tmp_path, LINE_1)
    assert config.name == "s"
    assert config.folder == tmp_path
    assert config.training.epochs == 20
    assert config.goal == "maximize"
    assert config.search.needs_probe
    assert config.needs_batches
    assert written(tmp_path, LINE_1 + "metric: {name: loss}").goal == "minimize"
    # A train function of one's own names its own default.
    assert written(tmp_path, "workload: {train: 'a:b'}").training.epochs is None


def test_overrides(tmp_path: Path) -> None:
    settings = ["training.epochs=15", "search.eps=[1e-3]", "search.lr={low: 1e-3, high: 1}", "training.lr_decay.at=[9]"]
    config = written(tmp_path, LINE_1 + "training: {epochs: 3, seeds: [7]}\n", *settings, "name=other")
    assert config.name == "other"
    assert config.training.epochs == 15
    assert config.training.seeds == [7]
    assert isinstance(config.training.lr_decay, DecaySection)
    assert config.training.lr_decay.at == [9]
    assert config.search.eps == [0.001]
    assert config.search.lr.high == 1


def test_an_override_leaves_what_an_anchor_shares_alone(tmp_path: Path) -> None:
    config = written(tmp_path, LINE_1 + "training: &both {epochs: 3}\nprobe: *both\n", "training.epochs=5")
    assert (config.training.epochs, config.probe.epochs) == (5, 3)


def test_where(tmp_path: Path) -> None:
    config = written(tmp_path, LINE_1 + "training:\n  device: cpu\n", "engine.workers=2")
    assert config.where("training.device") == f"{tmp_path}/s.yaml, line 3: training.device"
    assert config.where("training.threads") == f"{tmp_path}/s.yaml, line 2: training.threads"
    assert config.where("engine.workers") == "--set engine.workers=2: engine.workers"
    assert config.where("metric.name") == f"{tmp_path}/s.yaml: metric.name"


def test_the_environment_names_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPSEARCH_STORAGE", "postgresql://u:secret@db/x")
    config = written(tmp_path, LINE_1 + "engine: {storage: 'sqlite:///a.db'}")
    assert config.engine.storage == "postgresql://u:secret@db/x"
    assert "secret" not in to_yaml(config)
    with pytest.raises(UserError, match=r"^EPSEARCH_STORAGE: engine is not a section of .*s\.yaml\.$"):
        written(tmp_path, LINE_1 + "engine: 5")


TYPOS = [
    "postgresql+psycopg://u:secret@ss:w@rd/@h:5/d",
    "postgresql:/u:secret@h/d",
    "postgresql//u:secret@h/d",
    "postgresql://u;secret@h/d",
    "postgresql://u:secret#h/d",
    "postgresql://u/secret@h/d",
    "postgresql://u:p@secret@h/d",
    "postgres+psycopg//u:p@secret/d",
    "postgresql://u:p@h:secret/d",
]


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("redis://:p@h", "redis://:***@h"),
        ("postgresql://h/d?user=u&password=p&sslmode=require", "postgresql://h/d?password=***&sslmode=require&user=u"),
        ("mysql://h/d?passwd=p", "mysql://h/d?passwd=***"),
        ("postgresql://u@h/d?sslpassword=p&sslkey=/k", "postgresql://u@h/d?sslkey=%2Fk&sslpassword=***"),
        ("postgresql://h/d?pasword=p", "postgresql://h/d?pasword=***"),
        ("mssql://?odbc_connect=PWD%3Dp", "mssql://?odbc_connect=***"),
        ("postgresql+psycopg://user@server:p@host/db", "postgresql+psycopg://user%40server:***@host/db"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://h/d?sslmode=require", "postgresql://h/d?sslmode=require"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
        # What SQLAlchemy cannot parse, or parses into something that the user did not mean.
        *((url, NOT_SHOWN) for url in TYPOS),
    ],
)
def test_masked_passwords(url: str, masked: str) -> None:
    assert mask_url(url) == masked
    assert mask_password(url) == masked
    assert mask_url(masked) == masked
    assert mask_password(f"engine.storage={url}") == f"engine.storage={masked}"


@pytest.mark.parametrize("text", ["adam", "my_module:train", "tokenizer:Train", "http://head:8265", "search.lr=1e-3"])
def test_what_holds_no_password_is_shown(text: str) -> None:
    assert mask_password(text) == text


@pytest.mark.parametrize("url", TYPOS)
def test_a_url_with_a_typo_is_shown_nowhere(url: str, command_line: CommandLine) -> None:
    (command_line.folder / "s.yaml").write_text(LINE_1 + f"engine: {{storage: '{url}'}}\n")
    for command in ("check", "run"):
        message = command_line.refuses(command, "s.yaml")
        assert "line 2: engine.storage: a URL that cannot be parsed" in message or "cannot be opened" in message
        assert "secret" not in message
    (command_line.folder / "s.yaml").write_text(LINE_1)
    for setting in (f"engine.storage={url}", f"engine.storag={url}", f"engine={url}", f"name={url}"):
        assert "secret" not in command_line.refuses("run", "s.yaml", "--set", setting)
    for path in (command_line.folder / "runs").rglob("*"):
        assert path.is_dir() or "secret" not in path.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "engine: ['postgresql://u:secretsecretsecretsecretsecretsecretsecretsecret@h/d']",
        "engine: {storag: 'postgresql://u:secret@h/d'}",
        "engine: {storage:postgresql://u:secret@h/d}",
        "engine: {storage: {url: 'postgresql://u:secret@h/d'}}",
        "name: postgresql://u:secret@h/d",
    ],
)
def test_a_misplaced_password_is_not_repeated(line: str, command_line: CommandLine) -> None:
    (command_line.folder / "s.yaml").write_text(LINE_1 + line)
    assert "secret" not in command_line.refuses("check", "s.yaml")
    (command_line.folder / "s.yaml").write_text(LINE_1)
    for setting in (line.replace(": ", "=", 1), "engine.storage:postgresql://u:secret@h/d", "engine.x=a://u:secret@h"):
        assert "secret" not in command_line.refuses("check", "s.yaml", "--set", setting)


def test_every_name_of_the_tables_is_accepted(tmp_path: Path) -> None:
    for name in ADAPTIVE:
        assert written(tmp_path, LINE_1, f"optimizer.name={name}").optimizer.name == name
    assert written(tmp_path, LINE_1, f"search.baselines={BASELINES}").search.baselines == BASELINES
    for name, kind in WORKLOADS.items():
        for dataset, row in kind.datasets.items():
            needs = "".join(f", {key}: something" for key in row.needs)
            for model in (*kind.models, *(f"{prefix}something" for prefix in kind.families)):
                text = f"workload: {{name: {name}, dataset: {dataset}, model: {model}{needs}}}"
                study = written(tmp_path, text)
                assert study.workload.dataset == dataset
                assert study.metric.name == (row.reports or kind.reports)[0]
            for metric in row.reports or kind.reports:
                assert metric in METRICS
                assert written(tmp_path, text, f"metric={{name: {metric}}}").metric.name == metric
    assert written(tmp_path, LINE_1, f"workload.augment={list(AUGMENTATIONS)}").workload.augment == list(AUGMENTATIONS)
    for sampler in SAMPLERS:
        settings = ["search.eps=continuous", "engine.trials=3"] if sampler != "grid" else []
        assert written(tmp_path, LINE_1, f"engine.sampler={sampler}", *settings).engine.sampler == sampler
    for scheduler in SCHEDULERS:
        assert written(tmp_path, LINE_1, "engine.name=ray", f"engine.pruner={scheduler}").engine.pruner == scheduler
    for pruner in PRUNERS:
        assert written(tmp_path, LINE_1, f"engine.pruner={pruner}", "training.seeds=[0, 1]").engine.pruner == pruner


def random_study(draw: random.Random) -> dict[str, Any]:
    """A valid study: every key is there or left to its default, every form of every axis is drawn."""

    def some(**keys: Any) -> dict[str, Any]:
        return {key: value for key, value in keys.items() if draw.random() < 0.6}

    def axis(*keywords: str) -> Any:
        return draw.choice([*keywords, 0.3, draw.random(), [1e-3, 0.25, 7e-10][: draw.randint(1, 3)], bounds])

    bounds = {"low": float(f"1e{draw.randint(-9, -4)}"), "high": float(f"1e{draw.randint(-3, 2)}")}
    grid = draw.random() < 0.5
    named = {"name": "vision", "dataset": "digits", "model": draw.choice(["mlp", "cnn"])}
    named |= some(augment=["flip"], validation=0.1)
    own = draw.choice([{"train": "a.b:c"}, {"object": "a:B.c"}])
    engine: dict[str, Any] = {} if grid else {"sampler": draw.choice(["tpe", "random", "gp"]), "trials": 7}
    workload = draw.choice([named, own])
    decay: Any = draw.choice(["cosine", {"at": [3, 1], **some(factor=0.5)}])
    loop = some(lr_decay=decay, warmup=9, clip_norm=0.25, accumulate=2, compile=True, channels_last=True)
    by_ray = {"name": "ray", "resources": {"gpu": draw.choice([0.25, 2])}}
    by_ray |= some(address="auto", workers=9, pruner="asha")
    place = draw.choice([some(workers=3, together=2, pruner="median"), by_ray])
    storage = draw.choice([None, "sqlite:////tmp/a b.db", "postgresql+psycopg://u@h/d"])
    return {
        "name": draw.choice(["a", "été 2", "null", "1e-3", "yes", "a: b", "#a", "~", "'", "[x]", "😀"]),
        "workload": workload,
        "metric": {"name": "accuracy", **some(goal="minimize")},
        **some(
            optimizer=some(name="adamw", beta1=draw.random(), weight_decay=draw.choice([0, 5e-4, 1e-16])),
            training=some(
                epochs=draw.randint(1, 500),
                **({} if "train" in workload else loop),
                precision="float64",
                checkpoint_every=draw.choice([None, 0, 2.5]),
                seeds=draw.sample(range(100), 3),
                device=draw.choice(["cpu", "cuda:1"]),
            ),
            probe=some(
                epochs=3,
                lr=draw.random() + 1e-9,
                percentiles=draw.choice([[2, 98], [0, 99.5]]),
                range="paper",
                exclude=["*.bias", "[0-9].weight", "{x}"],
            ),
        ),
        "search": {
            **some(eps=axis("grid", "endpoints", *([] if grid else ["continuous"])), lr=axis()),
            **some(sgd_lr=axis(), baselines=["sgd_momentum"]),
            "beta2": draw.choice([0.999, [0.9, 0.95], {"low": 0.9, "high": 0.9999}]),
        },
        "engine": {**engine, **some(seed=5, storage=storage, max_failures=0, trial_timeout=1.5), **place},
    }


@pytest.mark.parametrize("seed", range(60))
def test_the_resolved_study_reads_back(seed: int, tmp_path: Path) -> None:
    """What `check` prints and a run directory keeps is a study file that means the same, to YAML 1.1 readers too."""
    study = random_study(random.Random(seed))
    (tmp_path / "written.yaml").write_text(json.dumps(study, ensure_ascii=False))
    config = load_study(tmp_path / "written.yaml")
    resolved = to_yaml(config)
    (tmp_path / "resolved.yaml").write_text(resolved)
    again = load_study(tmp_path / "resolved.yaml")
    assert {**again.model_dump(), "metric": None} == {**config.model_dump(), "metric": None}
    assert again.goal == config.goal
    assert to_yaml(again) == resolved
    assert identity(again) == identity(config)
    assert yaml.safe_load(resolved) == {**config.model_dump(), "metric": {"name": "accuracy", "goal": config.goal}}
    jsonschema.validate(study, json_schema())
    jsonschema.validate(yaml.safe_load(resolved), json_schema())


def test_where_trials_run_may_change(tmp_path: Path) -> None:
    """A study begun on this machine goes on in a cluster; its limits may change as well."""
    ray = ["name=ray", "address=auto", "resources={cpu: 2, gpu: 0.5}", "workers=8", "max_failures=0"]
    ray += ["trial_timeout=30"]
    here, there = written(tmp_path, LINE_1), written(tmp_path, LINE_1, *(f"engine.{setting}" for setting in ray))
    assert identity(here) == identity(there)
    assert (here.engine.concurrent, there.engine.concurrent) == (False, True)


def test_workers_mean_the_same_by_either_engine(tmp_path: Path) -> None:
    """The same file runs by Optuna and by Ray: `workers` is how many trials run at the same time."""
    studies = {
        (engine, workers): written(tmp_path, LINE_1, f"engine.name={engine}", f"engine.workers={workers}").engine
        for engine in ("optuna", "ray")
        for workers in ("null", 1, 2)
    }
    assert {key: engine.workers for key, engine in studies.items()} == {
        key: key[1] if key[1] != "null" else None for key in studies
    }
    # Without it, Ray fills its nodes and Optuna trains one trial after the other.
    concurrent = [key for key, engine in studies.items() if engine.concurrent]
    assert concurrent == [("optuna", 2), ("ray", "null"), ("ray", 2)]


@pytest.mark.parametrize(
    ("older", "workers"),
    [
        ("name: ray, workers: 1, max_concurrent: null", None),
        ("name: ray, workers: 1, max_concurrent: 3", 3),
        ("name: ray, max_concurrent: 3", 3),
        ("name: optuna, workers: 2, max_concurrent: null", 2),
        ("name: optuna, workers: 1, max_concurrent: null", 1),
    ],
)
def test_the_resolved_study_of_an_older_version_reads_back(older: str, workers: int | None, tmp_path: Path) -> None:
    """Ray had its own key for the number of trials at a time, and every resolved study has both."""
    engine = written(tmp_path, f"{LINE_1}engine: {{{older}}}\n").engine
    assert engine.workers == workers
    assert "max_concurrent" not in engine.model_dump()
    now = written(tmp_path, LINE_1, f"engine.name={engine.name}")
    assert identity(written(tmp_path, f"{LINE_1}engine: {{{older}}}\n")) == identity(now)


def test_the_packaged_schema_is_that_of_the_models() -> None:
    packaged = json.loads(files("epsearch.study").joinpath("study.schema.json").read_text(encoding="utf-8"))
    assert packaged == json_schema(), "stale; renew it: make schema"


@pytest.mark.parametrize("path", sorted(STUDIES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(STUDIES)))
def test_the_projects_own_studies(path: Path) -> None:
    load_study(path)
    jsonschema.validate(read_yaml(path).data, json_schema())


@pytest.mark.parametrize(
    "case",
    ["unknown key", "misspelt optimizer", "misspelt eps", "quoted number", "zero epochs", "eps from zero", "no seeds"],
)
def test_the_schema_refuses_what_an_editor_can_see(case: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(LINE_1 + WRONG[case][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read_yaml(tmp_path / "s.yaml").data, json_schema())


def test_every_key_is_documented() -> None:
    """The schema is what an editor shows beside each key."""

    def sections(node: dict[str, Any]) -> None:
        for key, field in node.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, key

    schema = json_schema()
    sections(schema)
    for section in schema["$defs"].values():
        assert section["description"]
        sections(section)


# --- messages stay short ---

LONG = "k" * 10_000
KEY = "k" * 1000  # YAML has none longer


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (LINE_1 + f"{KEY}: 1", (), "s.yaml, line 2: kkkkk"),
        (LINE_1 + f"training: {{{KEY}: 1}}", (), "no such key. Choose from: epochs"),
        (LINE_1 + f"{KEY}: 1\n{KEY}: 2", (), "is given twice"),
        (LINE_1 + f"optimizer: {{name: {LONG}}}", (), "optimizer.name: no optimizer called"),
        (
            LINE_1 + f"search: {{eps: {list(range(1, 2000))}, lr: {[LONG[:9000]]}}}",
            (),
            "search.lr.0: expected a number",
        ),
        (LINE_1 + f"search: {{eps: {[1, 1] * 999}}}", (), "lists a value twice"),
        (LINE_1 + f"name: a/{LONG}", (), "cannot be the name of a run directory"),
        (LINE_1 + "a: &" + LONG + " 1\nb: *" + LONG[:-1], (), "undefined alias"),
        (LINE_1, (f"{LONG}=1",), "--set kkkkk"),
        (LINE_1, (f"training.epochs={LONG}",), "expected a whole number, found 'kkkkk"),
        (LINE_1, (LONG,), "must have the form KEY=VALUE"),
        (LINE_1 + "name: x", (f"name.{LONG}=1",), "is not a section"),
        (LINE_1, (f"{LONG}=[",), "cannot be read as YAML"),
    ],
)
def test_a_message_quotes_the_beginning_and_the_end(
    text: str, settings: tuple[str, ...], expected: str, command_line: CommandLine
) -> None:
    (command_line.folder / "s.yaml").write_text(text)
    message = command_line.refuses("check", "s.yaml", *(word for each in settings for word in ("--set", each)))
    assert expected in message
    assert len(message) <= 1000


def test_long_paths(command_line: CommandLine) -> None:
    for command in ("check", "report", "run"):
        assert len(command_line.refuses(command, "/".join(["x" * 200] * 15))) <= 1000
    assert len(command_line.refuses("init", "x" * 4000)) <= 1000


def test_many_mistakes(command_line: CommandLine) -> None:
    """The first ten, or as many as there is room for, and how many more."""
    keys = "".join(f"  k{number}: 1\n" for number in range(52))
    (command_line.folder / "s.yaml").write_text(LINE_1 + "probe:\n" + keys)
    *lines, last = command_line.refuses("check", "s.yaml").splitlines()
    assert lines[0].startswith("s.yaml, line 3: probe.k0: no such key.")
    assert last == f"… and {52 - len(lines)} more."
    (command_line.folder / "s.yaml").write_text(LINE_1 + f"training: {{seeds: {['x'] * 52}}}\n")
    message = command_line.refuses("check", "s.yaml")
    *lines, last = message.splitlines()
    assert len(lines) == 10
    assert last == "… and 42 more."
    assert len(message) <= 1000


def test_a_mistake_costs_one_schema(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many mistakes look into it: it takes longer than all the rest."""
    made = []
    make = StudyConfig.model_json_schema
    monkeypatch.setattr(StudyConfig, "model_json_schema", lambda: made.append(1) or make())
    mistakes._schema.cache_clear()
    (command_line.folder / "s.yaml").write_text(LINE_1 + "trainin: 1\nmetrik: 2\nprobe: {epoch: 1}\n")
    assert len(command_line.refuses("check", "s.yaml").splitlines()) == 3
    assert made == [1]
