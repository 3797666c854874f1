"""gRPC between nodes, over sockets: unary calls of bytes, as many at a time on one connection as are wanted."""
