"""Open tables of notes: delimited text, JSON, Parquet, Excel workbooks, frames and datasets."""
