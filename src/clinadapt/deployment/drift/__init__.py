"""Drift detection: compares new notes with the training data of a bundle.

compare       compares new notes, predictions and labels with the reference of a bundle
messages      results and advice in words
drift_report  the report page and its JSON file

The reference, counts without any text, is `clinadapt.models.bundle.reference`; statistical tests
are in `clinadapt.evaluation.binned_counts`.
"""
