"""Collections of another system, or of another Redkite, carried over: `redkite migrate`, `redkite.migrate()`."""
