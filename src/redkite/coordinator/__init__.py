"""Who decides? Names, schemas, partitions, aliases, timestamps and ids; segments, indexes and load state."""
