"""Measures of a model and their intervals."""
