"""Who may knock, and in which language: gRPC and REST on one port, health and metrics on another."""
