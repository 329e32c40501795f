"""Training a cell: one loop for the probe and the trials."""
