"""Three workloads small enough for a table of hundreds of trainings on one core."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import nn

from epsearch.study.file import load_study
from epsearch.workloads.language.gpt import GPT
from epsearch.workloads.language.workload import LONGER, LanguageWorkload
from epsearch.workloads.vision.data import ImageData
from epsearch.workloads.vision.workload import VisionWorkload

STUDIES = Path(__file__).parents[2] / "studies"


class SmallVGG(VisionWorkload):
    """Four 3 × 3 convolutions, each with ReLU and 2 × 2 max-pooling, and two layers; a tenth of CIFAR-10."""

    def __init__(self) -> None:
        study = load_study(STUDIES / "paper" / "cifar10-vgg11.yaml", ["training.batch_size=64"])
        super().__init__(study, torch.device("cpu"))
        # Take every tenth image: the files may be sorted by class.
        data = self._data
        train = data.train_images[::10], data.train_labels[::10]
        self._data = ImageData.of(train, (data.test_images[::5], data.test_labels[::5]))
        self._left = torch.arange(len(train[1]))

    def model(self) -> nn.Module:
        """A network with 25,000 weights."""
        widths = (3, 8, 16, 32, 32)
        layers: list[nn.Module] = []
        for before, channels in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * widths[-1], 64), nn.ReLU(), nn.Linear(64, 10))


class SmallGPT(LanguageWorkload):
    """`gpt` with 2 blocks of 64 features, on 80,000 characters of War and Peace, from 16 positions."""

    def __init__(self) -> None:
        changes = ["workload.dataset=war_and_peace", "training.batch_size=16"]
        super().__init__(load_study(STUDIES / "characters.yaml", changes), torch.device("cpu"))
        self._train, self._judged = self._train[:5_000], self._judged[:1_500]

    def model(self) -> GPT:
        """A network with 112,000 weights."""
        return GPT(self._vocabulary, self._bptt + LONGER, blocks=2, width=64, heads=4, dropout=0.1)


class WordLSTM(LanguageWorkload):
    """`lstm_small` on 50,000 words of Penn TreeBank, from 20 positions; all but the 1,999 most frequent become one."""

    def __init__(self) -> None:
        changes = ["workload={name: language, dataset: ptb, model: lstm_small, bptt: 35}"]
        super().__init__(load_study(STUDIES / "paper" / "ptb-lstm1.yaml", changes), torch.device("cpu"))
        self._vocabulary = 2_000
        rank = self._train.flatten().bincount().argsort(descending=True, stable=True).argsort()
        rank = rank.clamp(max=self._vocabulary - 1)
        self._train, self._judged = rank[self._train[:2_500]], rank[self._judged[:1_000]]
