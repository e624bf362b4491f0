"""Bundles: a fitted classifier as a folder of plain files."""
