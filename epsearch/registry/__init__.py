"""What a study file can name, as plain rows: names, paths and what they take. Imports no torch, Optuna or Ray."""
