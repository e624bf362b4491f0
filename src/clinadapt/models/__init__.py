"""Every classifier that a study compares."""
