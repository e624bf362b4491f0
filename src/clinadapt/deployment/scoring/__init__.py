"""Stored notes scored with a bundle, wherever they live, each exactly once.

::

    tables.py      CSV, TSV, JSONL, Parquet ─┐                      ┌─► ledger.py: Parquet, CSV
    fhir.py        DocumentReference         ├─► run.py: gather, ───┤   (layouts.py, meds.py)
    note_table.py  a table of a database    ─┘   set aside, score   └─► results_table.py
                                                                        (note_nlp.py)

A source yields notes and the position after them. A destination takes scores, notes set aside and
that position in one transaction: a run that is killed at any moment goes on after the last one.
"""
