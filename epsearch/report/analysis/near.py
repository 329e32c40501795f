"""Which cells lie near the ridge, where each ε has its best lr. The others say little about what an ε can reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from epsearch.records.trial import Trial
from epsearch.report.analysis.coordinates import Coordinates, Point
from epsearch.report.analysis.surface import Floats

WINDOW = 1.05
"""Cells at most that many decades of lr from the ridge are near the optimum: the next cell of a grid of whole decades
on each side, and rounding."""

NEIGHBORHOOD = 0.25
"""The ridge at an ε is found from cells whose damping is that similar: it bends once over the whole damping."""

ENOUGH = 3
"""Cells near the ridge at one ε below which those beyond the window count too: fewer cannot show a maximum."""

MOST_CELLS = 240
"""Cells that the model learns from, at most: its cost grows with their cube."""


@dataclass(frozen=True)
class Near:
    """The ridge, and the cells near it.

    Attributes:
        reference: The index of the coordinates in which the ridge is sharpest.
        centers: The ridge's δ, by the power of ten of ε, ascending.
        cells: The indices of the trials near it, the best first, by the power of ten of ε.
    """

    reference: int
    centers: Mapping[int, float]
    cells: Mapping[int, Sequence[int]]


def near_the_ridge(trials: Sequence[Trial], short: Floats, coordinates: Coordinates) -> Near:
    """Find the ridge from n complete trials, whose values fall short of the best by `short` (n,)."""
    rows = _rows(trials)
    hypotheses = coordinates.of([point_of(trial) for trial in trials])
    reference = _sharpest(hypotheses, coordinates.doubts, short)
    points = hypotheses[reference]
    centers = _ridge(points, short, rows)
    return Near(reference, centers, _cells(points[:, 0], short, rows, centers))


def moved(
    near: Near, centers: Mapping[int, float], trials: Sequence[Trial], short: Floats, coordinates: Coordinates
) -> Near:
    """The cells near a ridge that lies elsewhere: at `centers` for those powers of ten."""
    points = coordinates.of([point_of(trial) for trial in trials])[near.reference]
    centers = {**near.centers, **centers}
    return Near(near.reference, centers, _cells(points[:, 0], short, _rows(trials), centers))


def among(trials: Sequence[Trial], near: Near, coordinates: Coordinates) -> list[Trial]:
    """Those of other trials, diverged ones, that lie near the ridge too."""
    there = [trial for trial in trials if power_of(trial) in near.centers]
    if not there:
        return []
    distances = coordinates.of([point_of(trial) for trial in there])[near.reference][:, 0]
    close = [
        abs(distance - near.centers[power_of(trial)]) <= WINDOW
        for trial, distance in zip(there, distances, strict=True)
    ]
    return [trial for trial, is_close in zip(there, close, strict=True) if is_close][:MOST_CELLS]


def power_of(trial: Trial) -> int:
    """The power of ten nearest to the ε of a trial."""
    return round(math.log10(trial.eps or 1.0))


def point_of(trial: Trial) -> Point:
    """The cell of a trial."""
    return trial.lr or 1.0, trial.eps or 1.0, trial.beta2


def _rows(trials: Sequence[Trial]) -> dict[int, list[int]]:
    """The indices of the trials by the power of ten of their ε, ascending."""
    rows: dict[int, list[int]] = {}
    for index, trial in enumerate(trials):
        rows.setdefault(power_of(trial), []).append(index)
    return dict(sorted(rows.items()))


def _cells(
    distances: Floats, short: Floats, rows: Mapping[int, Sequence[int]], centers: Mapping[int, float]
) -> dict[int, list[int]]:
    most = max(ENOUGH, MOST_CELLS // len(rows))
    return {power: _window(distances, short, indices, centers[power])[:most] for power, indices in rows.items()}


def _merit(short: Floats) -> Floats:
    """Weights of trials by how good they are: the best quarter counts most."""
    return np.asarray(np.exp(-short / (np.quantile(short, 0.25) + 1e-12)))


def _sharpest(hypotheses: Sequence[Floats], doubts: Sequence[float], short: Floats) -> int:
    """The coordinates in which the good cells have the most similar δ, by much where they are doubtful."""
    merit = _merit(short)

    def width(points: Floats, doubt: float) -> float:
        middle = float(merit @ points[:, 0] / merit.sum())
        return float(merit @ (points[:, 0] - middle) ** 2) * math.exp(-doubt)

    return min(range(len(hypotheses)), key=lambda index: width(hypotheses[index], doubts[index]))


def _ridge(points: Floats, short: Floats, rows: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """δ of the good cells with a similar damping, for each power of ten of ε."""
    merit, centers = _merit(short), {}
    for power, indices in rows.items():
        similar = np.exp(-(((points[:, 1] - np.median(points[list(indices), 1])) / NEIGHBORHOOD) ** 2) / 2)
        weights = merit * similar + 1e-9
        centers[power] = float(weights @ points[:, 0] / weights.sum())
    return centers


def _window(distances: Floats, short: Floats, indices: Sequence[int], center: float) -> list[int]:
    """The cells of one ε near the ridge, and those on both sides of the best of them; the best first."""
    near = {index for index in indices if abs(distances[index] - center) <= WINDOW}
    near = near or {min(indices, key=lambda index: abs(distances[index] - center))}
    best = min(near, key=lambda index: short[index])
    for side in (-1, 1) if len(near) < ENOUGH else ():
        beyond = [index for index in indices if side * (distances[index] - distances[best]) > 0]
        # Without a worse cell on both sides, the best could lie anywhere beyond.
        if near.isdisjoint(beyond):
            near |= {index for index in beyond if abs(distances[index] - distances[best]) <= WINDOW}
    return sorted(near, key=lambda index: short[index])
