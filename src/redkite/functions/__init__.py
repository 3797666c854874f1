"""Functions of a schema: they fill fields from other fields when rows are written, and make vectors of search texts."""
