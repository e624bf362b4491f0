"""Notes: read from tables, checked, labelled, split by patient."""
