"""What may a request say? Pure checks of indexes, rows and reads; each raises the error a client should see."""
