"""The report: a study folder as one HTML page that opens from disk, without a network."""
