"""Counting models: folds of the log that need no training run."""
