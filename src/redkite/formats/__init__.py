"""Rows in files: Parquet, JSON, CSV and NumPy, read and written a column at a time."""
