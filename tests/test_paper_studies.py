"""The studies of the paper's rows, beside Table 1, Table 4 and Section 4.1."""

from pathlib import Path

import pytest

from epsearch.study.file import load_study

PAPER = Path(__file__).parents[1] / "studies" / "paper"

TABLE_1 = {
    "cifar10": ("vgg11", "densenet121", "resnet34", "alexnet"),
    "tiny_imagenet": ("vgg11", "alexnet"),
    "fashion_mnist": ("mlp", "alexnet"),
    "ptb": ("lstm1", "lstm2"),
}
ROWS = [(dataset, model, "adam") for dataset, models in TABLE_1.items() for model in models]
ROWS += [
    (dataset, model, optimizer)  # Table 4
    for dataset, model in (("cifar10", "vgg11"), ("ptb", "lstm1"))
    for optimizer in ("rmsprop", "adabelief", "adamomentum")
]


def test_every_row_has_its_study_and_no_other_is_there():
    studies = [load_study(path) for path in PAPER.glob("*.yaml")]
    found = [(study.workload.dataset, study.workload.model, study.optimizer.name) for study in studies]
    assert sorted(found) == sorted(ROWS)


@pytest.mark.parametrize("path", sorted(PAPER.glob("*.yaml")), ids=lambda path: path.stem)
def test_settings_are_those_of_section_4_1(path):
    study = load_study(path)
    training, language = study.training, study.workload.name == "language"
    assert study.name == path.stem
    assert study.search.eps == "grid"
    assert study.optimizer.beta1 == 0.9
    assert study.optimizer.weight_decay == (1.2e-6 if language else 5e-4)
    assert training.epochs == (200 if language else 150)
    assert training.lr_decay.factor == 0.1
    assert training.lr_decay.at == ([100, 145] if language else [100])
    if language:  # of AdaBelief's experiments, which the paper follows
        assert (training.batch_size, training.clip_norm) == (20, 0.25)
    else:
        assert training.batch_size == (32 if study.workload.dataset == "tiny_imagenet" else 128)
        augmented = study.workload.dataset != "fashion_mnist"
        assert list(study.workload.augment) == (["flip", "crop"] if augmented else [])


def test_each_runs_smaller():
    study = load_study(PAPER / "cifar10-vgg11.yaml", ["training.epochs=15", "training.lr_decay.at=[10]"])
    assert study.training.epochs == 15
