"""Scores stored notes with one or more bundles, each note exactly once.

::

    file_source.py      CSV, TSV, JSONL, Parquet ─┐             ┌─► file_sink.py: Parquet, CSV
    fhir_source.py      DocumentReference         ├─► loop.py ──┤   (output_layouts.py, meds.py)
    database_source.py  a database table         ─┘             └─► database_sink.py: a table
                                                                    (omop_rows.py)

A source yields notes and the position after them. A destination stores scores, notes set aside and
that position in one transaction, so a run that is killed at any moment resumes after the last
committed batch. `job.Prediction` reads the options and connects the two.
"""
