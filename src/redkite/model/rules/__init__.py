"""What may a name or a schema be? Pure checks without I/O; each raises the error a client should see."""
