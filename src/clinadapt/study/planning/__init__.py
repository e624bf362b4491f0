"""Predict what a study will cost before running it."""
