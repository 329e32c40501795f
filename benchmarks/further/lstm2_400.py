"""The 2-layer LSTM of Penn TreeBank with both layers 400 wide, where studies/paper has 1150 and 400."""

from pathlib import Path

import torch

from epsearch.study.file import load_study
from epsearch.workloads.language.models import LSTM
from epsearch.workloads.language.workload import LanguageWorkload

STUDY = Path(__file__).parents[2] / "studies" / "paper" / "ptb-lstm2.yaml"


class Narrow(LanguageWorkload):
    """The same data and loss."""

    def __init__(self) -> None:
        super().__init__(load_study(STUDY), torch.device("cpu"))

    def model(self) -> LSTM:
        """Like `lstm2`, except for the width."""
        return LSTM(self._vocabulary, (400, 400, 400), (0.4, 0.25, 0.4))
