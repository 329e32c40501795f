"""Training: one loop for the probe and the trials."""
