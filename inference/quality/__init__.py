"""Held against published tables: the models on public data, by the protocols of those tables."""
