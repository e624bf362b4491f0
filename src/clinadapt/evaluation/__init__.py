"""Metrics, calibration, comparisons and recommendations."""
