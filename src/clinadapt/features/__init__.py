"""Numeric features of notes: tokens, cached encoder features, TF-IDF."""
