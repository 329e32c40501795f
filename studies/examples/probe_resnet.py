"""Find the range of ε for a ResNet on CIFAR-10 and search it with Optuna. Needs a folder `cifar10/train/<class>`."""

import optuna
import torch
import torchvision as tv

import epsearch

batches = torch.utils.data.DataLoader(tv.datasets.ImageFolder("cifar10/train", tv.transforms.ToTensor()), 64, True)
loss_fn = lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1])  # noqa: E731
model = tv.models.resnet18(num_classes=10)
result = epsearch.probe(model, batches, loss_fn, torch.optim.Adam(model.parameters()))


def objective(trial):
    model = tv.models.resnet18(num_classes=10)
    optimizer = torch.optim.Adam(model.parameters(), eps=result.range.suggest(trial, "eps"))
    epsearch.probe(model, batches, loss_fn, optimizer, restore=False)  # one epoch of training
    return loss_fn(model, next(iter(batches))).item()


optuna.create_study().optimize(objective, n_trials=5)
