"""Studies from Python: a progress bar, and a result with tables, a chart and the report."""
