"""Where a report goes: files, JSON, exports, Optuna's dashboard."""
