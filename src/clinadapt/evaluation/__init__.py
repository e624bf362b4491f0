"""Metrics, comparisons and what may be recommended."""
