"""A custom model, dataset and loss trained by epsearch's loop: a regression on the diabetes data.

epsearch run studies/examples/own_workload.yaml
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn


class Diabetes:
    """Predict disease progression after one year from ten measurements of a patient."""

    def __init__(self):
        inputs, targets = (torch.tensor(values, dtype=torch.float32) for values in load_diabetes(return_X_y=True))
        # Every column has mean 0 and variance 1: predicting the mean gives a loss of 1.
        inputs, targets = ((values - values.mean(0)) / values.std(0) for values in (inputs, targets[:, None]))
        parts = train_test_split(inputs, targets, test_size=0.25, random_state=0)
        self.training, self.held_out = (parts[0], parts[2]), (parts[1], parts[3])

    def model(self):
        return nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))

    def train_batches(self, epoch):
        # Seeded per epoch: every trial sees the same batches. epsearch moves them to the study's device.
        inputs, targets = self.training
        for chosen in torch.randperm(len(inputs)).split(16):
            yield inputs[chosen], targets[chosen]

    def loss(self, model, batch):
        inputs, targets = batch
        return nn.functional.mse_loss(model(inputs), targets)

    def evaluate(self, model):
        # Called in eval mode and without gradients. Moving the data to the device is up to this method.
        device = next(model.parameters()).device
        return {"loss": self.loss(model, [part.to(device) for part in self.held_out]).item()}
