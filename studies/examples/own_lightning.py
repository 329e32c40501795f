"""Lightning's Trainer as `train(run)`: a LightningModule on handwritten digits.

epsearch run studies/examples/own_lightning.yaml    (pip install 'epsearch[lightning]')
"""

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from epsearch.integrations.lightning import RunReporter


class Digits(pl.LightningModule):
    def __init__(self, run):
        super().__init__()
        self.run = run
        self.network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, index):
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch, index):
        images, labels = batch
        scores = self.network(images)
        self.log("val_accuracy", (scores.argmax(1) == labels).float().mean())
        # Logging the loss as well ends a trial that diverges.
        self.log("val_loss", nn.functional.cross_entropy(scores, labels))

    def configure_optimizers(self):
        return self.run.optimizer(self)  # with this trial's lr, eps and beta2


def train(run):
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    parts = train_test_split(images, labels, test_size=0.25, random_state=0)
    trainer = pl.Trainer(
        max_epochs=run.planned_epochs(default=20),  # one while probing
        callbacks=[RunReporter(run)],  # reports each epoch, and stops the trainer when the trial is pruned
        accelerator="cpu" if run.device.type == "cpu" else "gpu",
        devices=[run.device.index or 0] if run.device.type == "cuda" else 1,
        # Hundreds of trials should leave no log folders and checkpoints behind.
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    training = DataLoader(TensorDataset(parts[0], parts[2]), batch_size=32, shuffle=True)
    trainer.fit(Digits(run), training, DataLoader(TensorDataset(parts[1], parts[3]), batch_size=256))
