"""Models that a study compares."""
