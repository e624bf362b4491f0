"""Speed and scores of clinadapt and its alternatives, measured on the same machine and notes.

Flow of the data::

    notes, split, encoder folder ─► workload: notes.parquet
                                       │
    part ─► entries (who, with which settings) ─► contestants: one script and one process each,
                                       │           in the environment of its libraries
                                       ▼
               raw/PART.json: seconds, marks, memory, versions, scores ─► RESULTS.md

``python -m benchmarks --help`` lists the parts. Contestants exchange only files with clinadapt, so
each can use its own library versions; they run one at a time.
"""
