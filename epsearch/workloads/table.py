"""What `workload:` can name: kinds of workload, their datasets and models, as `module:attribute` paths.

Nothing here imports torch; the paths are loaded when a study uses them.
"""

from __future__ import annotations

WORKLOADS: dict[str, str] = {
    "vision": "epsearch.workloads.vision:VisionWorkload",
}

DATASETS: dict[str, dict[str, str]] = {
    "vision": {
        "digits": "epsearch.workloads.image_data:digits",
        "fashion_mnist": "epsearch.workloads.image_data:fashion_mnist",
    },
}

MODELS: dict[str, dict[str, str]] = {
    "vision": {
        "mlp": "epsearch.workloads.image_models:mlp",
        "cnn": "epsearch.workloads.image_models:cnn",
    },
}

REPORTED: dict[str, tuple[str, ...]] = {
    "vision": ("accuracy", "loss"),
}
"""The metrics that a workload reports, of which a study names one."""

AUGMENTATIONS: dict[str, str] = {
    "flip": "epsearch.workloads.augmentation:flip",
    "crop": "epsearch.workloads.augmentation:crop",
}

METRICS: dict[str, str] = {
    "accuracy": "maximize",
    "loss": "minimize",
    "perplexity": "minimize",
}
"""Metrics whose better direction is known, so that `metric.goal` need not be given."""
