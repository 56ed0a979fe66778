"""Uploads of many facts."""
