"""clinadapt's speed and scores beside what a user would pick instead, measured in one run.

The way of the data::

    notes, split, encoder folder ─► workload: notes.parquet
                                       │
    part ─► entries (who, with which settings) ─► contestants: one script and one process each,
                                       │           in the environment of its libraries
                                       ▼
               raw/PART.json: seconds, marks, memory, versions, scores ─► RESULTS.md

``python -m benchmarks --help`` lists the parts. Contestants share nothing with clinadapt but
files, so that each runs at the versions it wants; they run one at a time.
"""
