"""Notes as numbers: tokens, cached encoder features, TF-IDF."""
