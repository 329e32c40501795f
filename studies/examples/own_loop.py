"""A custom training loop as `train(run)`: a small convolutional network on handwritten digits.

epsearch run studies/examples/own_loop.yaml
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load_data():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    parts = train_test_split(images, torch.tensor(labels), test_size=0.25, random_state=0)
    return TensorDataset(parts[0], parts[2]), TensorDataset(parts[1], parts[3])


# Loaded once per worker process, not once per trial.
TRAINING, HELD_OUT = load_data()


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 10)),
    )


def train(run):
    # Python, NumPy and torch are already seeded: every trial starts from the same weights.
    model = network().to(run.device)
    optimizer = run.optimizer(model)
    batches = DataLoader(TRAINING, batch_size=32, shuffle=True)
    state = run.restore()  # None unless this trial was interrupted
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for _ in run.epochs(default=5):
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.to(run.device)), labels.to(run.device))
            loss.backward()
            optimizer.step()
        # Reporting the loss as well ends a trial that diverges.
        run.report(
            accuracy=accuracy(model, run.device),
            loss=loss.item(),
            checkpoint={"model": model.state_dict(), "optimizer": optimizer.state_dict()},
        )


@torch.no_grad()
def accuracy(model, device):
    model.eval()
    hits = [model(images.to(device)).argmax(1).cpu() == labels for images, labels in DataLoader(HELD_OUT, 256)]
    return torch.cat(hits).float().mean().item()
