"""What does Redkite do with real text? Search over the documentation of Python's standard library, offline."""
