"""What a node of a cluster does: one class for each role. None of them knows what has placed it."""
