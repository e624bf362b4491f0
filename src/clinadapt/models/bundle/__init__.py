"""Bundles: fitted classifiers as folders of plain files."""
