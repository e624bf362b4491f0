"""Explanations of decisions by words, and analysis of a study's errors."""
