"""How requests reach a Redkite: over gRPC, or in this process."""
