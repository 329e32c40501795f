"""The search itself: ask and tell, samplers, the storage. All that knows Optuna."""
