"""Image classification: datasets, networks and augmentations."""
