"""Where bytes live: the log, objects, the catalog, the lock on a path."""
